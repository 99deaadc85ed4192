//! Places with a generation: a key to something that is gone finds nothing, even if its place is taken again.

/// Names a value in a [`Slab`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    index: u32,
    generation: u32,
}

impl Key {
    /// The key as a number, for a tag.
    #[must_use]
    pub fn to_bits(self) -> u64 {
        (u64::from(self.generation) << 32) | u64::from(self.index)
    }

    /// The key that became this number.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "the two halves of the number")]
    pub fn from_bits(bits: u64) -> Self {
        Self { index: bits as u32, generation: (bits >> 32) as u32 }
    }

    /// The place, smaller than the slab's capacity.
    #[must_use]
    pub fn index(self) -> usize {
        self.index as usize
    }
}

#[derive(Debug)]
struct Place<T> {
    generation: u32,
    value: Option<T>,
}

/// A table with a fixed number of places. It allocates once.
#[derive(Debug)]
pub struct Slab<T> {
    places: Vec<Place<T>>,
    free: Vec<u32>,
}

/// Generations stay below this, so that 8 bits of a tag remain for its owner.
const GENERATION_MASK: u32 = 0x00FF_FFFF;

impl<T> Slab<T> {
    /// A table with `capacity` places.
    ///
    /// # Panics
    /// If `capacity` does not fit 32 bits.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        let count = u32::try_from(capacity).expect("a slab has fewer than 2^32 places");
        Self {
            places: (0..capacity).map(|_| Place { generation: 0, value: None }).collect(),
            free: (0..count).rev().collect(),
        }
    }

    /// Takes a place.
    ///
    /// # Errors
    /// The value itself when all places are taken.
    pub fn insert(&mut self, value: T) -> Result<Key, T> {
        let Some(index) = self.free.pop() else { return Err(value) };
        let place = &mut self.places[index as usize];
        place.value = Some(value);
        Ok(Key { index, generation: place.generation })
    }

    /// The value, if it is still there.
    #[must_use]
    pub fn get(&self, key: Key) -> Option<&T> {
        let place = self.places.get(key.index())?;
        (place.generation == key.generation).then_some(place.value.as_ref()).flatten()
    }

    /// The value, if it is still there.
    pub fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let place = self.places.get_mut(key.index())?;
        (place.generation == key.generation).then_some(place.value.as_mut()).flatten()
    }

    /// Takes the value out; its place can be taken again.
    pub fn remove(&mut self, key: Key) -> Option<T> {
        let place = self.places.get_mut(key.index())?;
        if place.generation != key.generation {
            return None;
        }
        let value = place.value.take()?;
        place.generation = (place.generation + 1) & GENERATION_MASK;
        self.free.push(key.index);
        Some(value)
    }

    /// Keys of all values.
    #[must_use]
    pub fn keys(&self) -> Vec<Key> {
        self.iter().map(|(key, _)| key).collect()
    }

    /// All values with their keys.
    pub fn iter(&self) -> impl Iterator<Item = (Key, &T)> {
        (0u32..).zip(&self.places).filter_map(|(index, place)| {
            Some((Key { index, generation: place.generation }, place.value.as_ref()?))
        })
    }

    /// How many values there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    /// No values.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All places are taken.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.free.is_empty()
    }
}
