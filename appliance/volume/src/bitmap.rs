//! A set of small numbers in which the next member is found without looking at all that are not.
//!
//! ```text
//!  summary   …0100        bit n: some bit of word n is set
//!  words     0…0 │ 0…0 │ 0110 │ 0…0      bit b of word w: the number 64 w + b is a member
//! ```
//!
//! Finding looks at one word of members, and at one of the summary for each 4096 numbers that are passed over.

/// Numbers below a bound that is known from the start.
#[derive(Debug)]
pub(crate) struct Bitmap {
    words: Box<[u64]>,
    summary: Box<[u64]>,
    count: usize,
}

/// The first set bit at or behind a place; `None` if there is none.
fn first_set(word: u64, from: usize) -> Option<usize> {
    let left = word & u64::MAX.checked_shl(u32::try_from(from).ok()?).unwrap_or(0);
    (left != 0).then_some(left.trailing_zeros() as usize)
}

impl Bitmap {
    /// The empty set of numbers below `len`.
    pub(crate) fn new(len: usize) -> Self {
        let words = len.div_ceil(64);
        let zeroes = |words| vec![0; words].into_boxed_slice();
        Self { words: zeroes(words), summary: zeroes(words.div_ceil(64)), count: 0 }
    }

    /// Members.
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    pub(crate) fn contains(&self, number: usize) -> bool {
        self.words[number / 64] >> (number % 64) & 1 == 1
    }

    /// Adds a number; says whether it is new.
    pub(crate) fn insert(&mut self, number: usize) -> bool {
        let is_new = !self.contains(number);
        let word = number / 64;
        self.words[word] |= 1 << (number % 64);
        self.summary[word / 64] |= 1 << (word % 64);
        self.count += usize::from(is_new);
        is_new
    }

    /// Takes a number out; says whether it was there.
    pub(crate) fn remove(&mut self, number: usize) -> bool {
        let was_there = self.contains(number);
        let word = number / 64;
        self.words[word] &= !(1 << (number % 64));
        if self.words[word] == 0 {
            self.summary[word / 64] &= !(1 << (word % 64));
        }
        self.count -= usize::from(was_there);
        was_there
    }

    /// The first member at or behind a number; else the first of all.
    pub(crate) fn next(&self, from: usize) -> Option<usize> {
        self.behind(from).or_else(|| self.behind(0))
    }

    fn behind(&self, from: usize) -> Option<usize> {
        let word = from / 64;
        if let Some(bit) = first_set(*self.words.get(word)?, from % 64) {
            return Some(word * 64 + bit);
        }
        let next = word + 1;
        let mut from = next % 64;
        for at in next / 64..self.summary.len() {
            if let Some(bit) = first_set(self.summary[at], from) {
                let word = at * 64 + bit;
                return first_set(self.words[word], 0).map(|bit| word * 64 + bit);
            }
            from = 0;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::Bitmap;
    use sim::Random;
    use std::collections::BTreeSet;

    /// Goal: it is the set that it says it is, sparse or dense, at every edge of its words. Method: random changes of it and of an
    /// ordered set, and every answer of both compared.
    #[test]
    fn it_is_a_set() {
        for seed in 0..60 {
            let mut random = Random(seed);
            let len = [1, 63, 64, 65, 4095, 4096, 4097, 9000][random.index(8)];
            let (mut bitmap, mut set) = (Bitmap::new(len), BTreeSet::new());
            let density = random.below(5);
            for _ in 0..400 {
                let number = random.index(len);
                if random.chance(density, 4) {
                    assert_eq!(bitmap.insert(number), set.insert(number));
                } else {
                    assert_eq!(bitmap.remove(number), set.remove(&number));
                }
                let from = random.index(len);
                let expected = set.range(from..).next().or_else(|| set.first()).copied();
                assert_eq!(bitmap.next(from), expected, "seed {seed}: {len} numbers, from {from}");
                assert_eq!((bitmap.len(), bitmap.contains(number)), (set.len(), set.contains(&number)));
            }
        }
    }

    /// Goal: a search that begins behind the last number begins again at the first one.
    #[test]
    fn a_search_goes_round() {
        let mut bitmap = Bitmap::new(128);
        bitmap.insert(3);
        assert_eq!((bitmap.next(4), bitmap.next(128), bitmap.next(0)), (Some(3), Some(3), Some(3)));
    }
}
