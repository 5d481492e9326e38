//! Stream of decoded bytes from the decoder thread.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender};

use crate::core::archives::format::limits::{MAX_META_BYTES, MAX_TRAILING_ZEROS};
use crate::core::archives::format::{BLOCK, padding};
use crate::core::failure::{Cause, Failure, Result};
use crate::core::sys::cancel::Cancel;

/// Stream of decoded bytes from the decoder thread.
pub(super) struct Stream<'a> {
    chunks: Receiver<std::io::Result<Vec<u8>>>,
    is_complete: &'a AtomicBool,
    spent: Sender<Vec<u8>>,
    cancel: Cancel,
    current: Vec<u8>,
    at: usize,
}

impl<'a> Stream<'a> {
    /// Creates a stream. `spent` receives used buffers, and `is_complete` is set before the chunks end. Reading fails
    /// soon after `cancel` is raised, even while bytes are skipped.
    pub(super) fn new(
        chunks: Receiver<std::io::Result<Vec<u8>>>,
        spent: Sender<Vec<u8>>,
        cancel: Cancel,
        is_complete: &'a AtomicBool,
    ) -> Self {
        Self {
            chunks,
            is_complete,
            spent,
            cancel,
            current: Vec::new(),
            at: 0,
        }
    }

    /// Returns at least one byte, or none at the end.
    fn available(&mut self) -> Result<&[u8]> {
        if self.at == self.current.len() {
            self.cancel.check()?;
            let next = match self.chunks.recv() {
                Ok(chunk) => chunk.map_err(Failure::of_read)?,
                Err(_) => Vec::new(),
            };
            let old = std::mem::replace(&mut self.current, next);
            // Sending fails if the decoder has ended.
            drop(self.spent.send(old));
            self.at = 0;
        }
        Ok(&self.current[self.at..])
    }

    /// Damage that the decoder finds in the next `size` bytes.
    pub(super) fn damage_within(&mut self, size: usize) -> Option<Failure> {
        let mut left = size;
        while left > 0 {
            let count = match self.available() {
                Ok([]) => return None,
                Ok(available) => available.len(),
                Err(failure) => return (failure.cause == Cause::Corrupt).then_some(failure),
            };
            self.at += count;
            left = left.saturating_sub(count);
        }
        None
    }

    /// Passes the next `size` bytes to `each`, piece by piece.
    pub(super) fn read(&mut self, size: u64, mut each: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let mut left = size;
        while left > 0 {
            let available = self.available()?;
            if available.is_empty() {
                return Err(Failure::corrupt("the archive is cut off"));
            }
            let count = available.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            each(&available[..count])?;
            self.at += count;
            left -= count as u64;
        }
        Ok(())
    }

    /// Skips the padding in the last block of an entry.
    pub(super) fn skip_padding(&mut self, size: u64) -> Result<()> {
        self.read(padding(size) as u64, |_| Ok(()))
    }

    /// Returns the next block, or `None` at the end of the stream.
    pub(super) fn block(&mut self) -> Result<Option<[u8; BLOCK]>> {
        if self.available()?.is_empty() {
            return Ok(None);
        }
        let mut block = [0; BLOCK];
        let mut filled = 0;
        while filled < BLOCK {
            let available = self.available()?;
            // A last block of zeros may be truncated: only zeros can be missing after it.
            if available.is_empty() && block == [0; BLOCK] {
                break;
            }
            if available.is_empty() {
                return Err(Failure::corrupt("the archive is cut off"));
            }
            let count = available.len().min(BLOCK - filled);
            block[filled..filled + count].copy_from_slice(&available[..count]);
            self.at += count;
            filled += count;
        }
        Ok(Some(block))
    }

    /// Returns the content of an extension header.
    pub(super) fn meta(&mut self, size: u64) -> Result<Vec<u8>> {
        if size > MAX_META_BYTES {
            return Err(Failure::over_limit(format!(
                "an extension header of {size} bytes is larger than {MAX_META_BYTES}"
            )));
        }
        let mut bytes = Vec::new();
        self.read(size, |piece| {
            bytes.extend_from_slice(piece);
            Ok(())
        })?;
        self.skip_padding(size)?;
        Ok(bytes)
    }

    /// Whether the compressed data, which has ended, proves that nothing is missing.
    pub(super) fn is_complete(&self) -> bool {
        self.is_complete.load(Ordering::Acquire)
    }

    /// Reads to the end and accepts only zeros. This also checks the checksums after the last entry. An endless source
    /// of zeros would keep the call running forever, so their number is limited.
    pub(super) fn drain(&mut self) -> Result<()> {
        let mut zeros = 0;
        loop {
            if zeros > MAX_TRAILING_ZEROS {
                return Err(Failure::refused(format!(
                    "there are more than {MAX_TRAILING_ZEROS} zero bytes at the end of the archive"
                )));
            }
            let available = self.available()?;
            if available.is_empty() {
                return Ok(());
            }
            if available.iter().any(|byte| *byte != 0) {
                return Err(Failure::corrupt("there are bytes after the end of the archive"));
            }
            zeros += available.len();
            self.at = self.current.len();
        }
    }
}
