//! Small numbers as bits: whoever has something at the drives, found without looking at all the others.
//!
//! Beside reads and writes this is a word that stays in the nearest cache; a look at everybody's own memory would not.

/// A set of numbers below a bound.
#[derive(Debug, Default)]
pub(crate) struct Bits {
    words: Vec<u64>,
}

impl Bits {
    /// Makes room for numbers below `bound`; never shrinks.
    pub(crate) fn grow(&mut self, bound: usize) {
        self.words.resize(bound.div_ceil(64).max(self.words.len()), 0);
    }

    /// # Panics
    /// If the number is not below the bound.
    pub(crate) fn insert(&mut self, number: usize) {
        self.words[number / 64] |= 1 << (number % 64);
    }

    /// # Panics
    /// If the number is not below the bound.
    pub(crate) fn remove(&mut self, number: usize) {
        self.words[number / 64] &= !(1 << (number % 64));
    }

    /// Ascending.
    pub(crate) fn iter(&self) -> impl Iterator<Item = usize> {
        let firsts = (0..).step_by(64);
        self.words.iter().zip(firsts).flat_map(|(word, first)| {
            let mut left = *word;
            core::iter::from_fn(move || {
                if left == 0 {
                    return None;
                }
                let bit = left.trailing_zeros() as usize;
                left &= left - 1;
                Some(first + bit)
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: what was put in and not taken out is there, once, in order, also at the ends of words.
    #[test]
    fn members_in_order() {
        let mut bits = Bits::default();
        bits.grow(200);
        for number in [199, 0, 63, 64, 65, 127, 128, 0] {
            bits.insert(number);
        }
        bits.remove(65);
        bits.remove(66);
        bits.grow(10);
        assert_eq!(bits.iter().collect::<Vec<_>>(), [0, 63, 64, 127, 128, 199]);
    }
}
