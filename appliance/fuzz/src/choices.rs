//! An input as a sequence of choices: short inputs make short conversations, and a changed byte changes one choice.

/// What is left of an input. Behind its end everything is zero.
#[derive(Debug)]
pub(crate) struct Choices<'a>(&'a [u8]);

impl<'a> Choices<'a> {
    pub(crate) fn new(input: &'a [u8]) -> Self {
        Self(input)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// At most `len` bytes.
    pub(crate) fn bytes(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        taken
    }

    fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut array = [0; N];
        let taken = self.bytes(N);
        array[..taken.len()].copy_from_slice(taken);
        array
    }

    pub(crate) fn u8(&mut self) -> u8 {
        self.array::<1>()[0]
    }

    pub(crate) fn u16(&mut self) -> u16 {
        u16::from_le_bytes(self.array())
    }

    pub(crate) fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.array())
    }

    pub(crate) fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.array())
    }

    pub(crate) fn is_set(&mut self) -> bool {
        self.u8() & 1 != 0
    }

    /// Less than `end`, which is not zero.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::from(self.u8()) % end
    }

    pub(crate) fn one_of<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    /// A length: often one at a boundary of something, sometimes any.
    pub(crate) fn len(&mut self) -> u32 {
        const LENGTHS: [u32; 14] =
            [0, 4, 16, 512, 1024, 4096, 8192, 8196, 16384, 16388, 131_072, 262_144, 1 << 20, (1 << 20) + 4];
        match self.u8() {
            255 => self.u32(),
            small @ 128..255 => u32::from(small) - 127,
            other => LENGTHS[usize::from(other) % LENGTHS.len()],
        }
    }
}
