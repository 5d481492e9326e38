//! Memory that returns to the operating system as soon as it is dropped, unlike allocated memory.

use std::io;
use std::ops::{Deref, DerefMut};

use memmap2::MmapMut;

/// Zeroed pages of a fixed size.
#[derive(Debug)]
pub struct Pages(Option<MmapMut>);

impl Pages {
    /// Maps `size` bytes.
    ///
    /// # Errors
    /// Errors of mmap(2), such as a lack of memory.
    pub fn new(size: usize) -> io::Result<Self> {
        // mmap rejects a length of 0.
        (size > 0).then(|| MmapMut::map_anon(size)).transpose().map(Self)
    }
}

impl Deref for Pages {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.0.as_deref().unwrap_or_default()
    }
}

impl DerefMut for Pages {
    fn deref_mut(&mut self) -> &mut [u8] {
        self.0.as_deref_mut().unwrap_or_default()
    }
}

impl AsRef<[u8]> for Pages {
    fn as_ref(&self) -> &[u8] {
        self
    }
}
