//! The memory of one part: mapped, so that it goes back to the system the moment the part was read. Allocated, up to
//! twice a part's size stays in the arena of each thread that ever read one (glibc's dynamic trim threshold): 136 MiB
//! over idle were seen where eight parts of 8 MiB lived.

use std::ops::Range;

use bytes::Bytes;

use super::failure::StoreResult;
use crate::core::failure::{Cause, Failure};
use crate::core::sys::memory::Pages;

/// How many bytes a range has.
pub(super) fn length(range: &Range<u64>) -> usize {
    usize::try_from(range.end - range.start).unwrap_or(usize::MAX)
}

/// Room for a part whose size is known.
pub(super) struct PartBuffer {
    memory: Pages,
    filled: usize,
}

impl PartBuffer {
    pub(super) fn new(size: usize) -> StoreResult<Self> {
        let memory = Pages::new(size)
            .map_err(|error| Failure::new(Cause::Other, format!("no memory for {size} bytes: {error}")))?;
        Ok(Self { memory, filled: 0 })
    }

    /// What is not filled yet.
    fn rest(&mut self) -> &mut [u8] {
        &mut self.memory[self.filled..]
    }

    /// Fills all of it at once.
    pub(super) fn fill<E>(mut self, read: impl FnOnce(&mut [u8]) -> Result<(), E>) -> Result<Bytes, E> {
        let rest = self.rest();
        let count = rest.len();
        read(rest)?;
        self.filled += count;
        Ok(self.into_bytes())
    }

    /// Adds bytes; `false` if they do not fit.
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

    /// What was filled.
    pub(super) fn into_bytes(self) -> Bytes {
        Bytes::from_owner(self.memory).slice(..self.filled)
    }
}
