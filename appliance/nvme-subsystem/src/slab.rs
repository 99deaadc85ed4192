//! Things under small keys that are never mistaken for their successors.

/// Index and generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key {
    index: u32,
    generation: u32,
}

#[derive(Debug)]
struct Entry<T> {
    generation: u32,
    value: Option<T>,
}

/// A slab with at most `max` values.
#[derive(Debug)]
pub(crate) struct Slab<T> {
    entries: Vec<Entry<T>>,
    free: Vec<u32>,
    max: usize,
}

impl<T> Slab<T> {
    pub(crate) fn new(max: usize) -> Self {
        Self { entries: Vec::new(), free: Vec::new(), max }
    }

    /// `None` if the slab is full.
    pub(crate) fn insert(&mut self, value: T) -> Option<Key> {
        let index = match self.free.pop() {
            Some(index) => index,
            None if self.entries.len() < self.max => {
                self.entries.push(Entry { generation: 0, value: None });
                u32::try_from(self.entries.len()).ok()?.checked_sub(1)?
            }
            None => return None,
        };
        let entry = self.entries.get_mut(usize::try_from(index).ok()?)?;
        entry.value = Some(value);
        Some(Key { index, generation: entry.generation })
    }

    pub(crate) fn remove(&mut self, key: Key) -> Option<T> {
        let entry = self.entries.get_mut(usize::try_from(key.index).ok()?)?;
        if entry.generation != key.generation {
            return None;
        }
        let value = entry.value.take()?;
        entry.generation = entry.generation.wrapping_add(1);
        self.free.push(key.index);
        Some(value)
    }

    pub(crate) fn get(&self, key: Key) -> Option<&T> {
        let entry = self.entries.get(usize::try_from(key.index).ok()?)?;
        if entry.generation == key.generation { entry.value.as_ref() } else { None }
    }

    pub(crate) fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let entry = self.entries.get_mut(usize::try_from(key.index).ok()?)?;
        if entry.generation == key.generation { entry.value.as_mut() } else { None }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Key, &T)> {
        (0u32..).zip(&self.entries).filter_map(|(index, entry)| {
            entry.value.as_ref().map(|value| (Key { index, generation: entry.generation }, value))
        })
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (Key, &mut T)> {
        (0u32..).zip(&mut self.entries).filter_map(|(index, entry)| {
            let generation = entry.generation;
            entry.value.as_mut().map(|value| (Key { index, generation }, value))
        })
    }
}
