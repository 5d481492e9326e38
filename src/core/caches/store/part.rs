//! Memory of one part. It is mapped, so that it returns to the system as soon as the part was read. With allocated
//! memory, up to twice a part's size stays in the arena of each thread that ever read one (glibc's dynamic trim
//! threshold). A test with eight parts of 8 MiB used 136 MiB more than the idle process.

use std::ops::Range;

use bytes::Bytes;

use super::failure::StoreResult;
use crate::core::failure::{Cause, Failure};
use crate::core::sys::memory::Pages;

/// Number of bytes in a range.
pub(super) fn length(range: &Range<u64>) -> usize {
    usize::try_from(range.end - range.start).unwrap_or(usize::MAX)
}

/// Buffer for a part of known size.
pub(super) struct PartBuffer {
    memory: Pages,
    filled: usize,
}

impl PartBuffer {
    pub(super) fn new(size: usize) -> StoreResult<Self> {
        let memory = Pages::new(size)
            .map_err(|error| Failure::new(Cause::Other, format!("cannot allocate {size} bytes: {error}")))?;
        Ok(Self { memory, filled: 0 })
    }

    /// Part of the buffer that is not filled yet.
    fn rest(&mut self) -> &mut [u8] {
        &mut self.memory[self.filled..]
    }

    /// Fills the whole buffer with one read.
    pub(super) fn fill<E>(mut self, read: impl FnOnce(&mut [u8]) -> Result<(), E>) -> Result<Bytes, E> {
        let rest = self.rest();
        let count = rest.len();
        read(rest)?;
        self.filled += count;
        Ok(self.into_bytes())
    }

    /// Appends bytes. Returns `false` if they do not fit.
    #[must_use]
    pub(super) fn push(&mut self, bytes: &[u8]) -> bool {
        let rest = self.rest();
        let fits = bytes.len() <= rest.len();
        if fits {
            rest[..bytes.len()].copy_from_slice(bytes);
            self.filled += bytes.len();
        }
        fits
    }

    /// Returns the filled bytes.
    pub(super) fn into_bytes(self) -> Bytes {
        Bytes::from_owner(self.memory).slice(..self.filled)
    }
}
