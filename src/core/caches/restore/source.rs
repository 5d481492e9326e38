//! Reader of an object's bytes that counts and hashes them for the decoder.

use std::io::{self, Read};
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use crate::core::caches::pointer::hex;
use crate::core::caches::run::Run;
use crate::core::caches::store::Chunks;
use crate::core::failure::{Failure, Result, Stage};
use crate::core::sys::fault;

/// Reader of an object's bytes that counts and hashes them.
pub(super) struct Source {
    chunks: Chunks,
    run: Arc<Run>,
    hasher: Sha256,
    count: u64,
    size: u64,
    sha256: Option<String>,
}

impl Source {
    /// Creates a reader for an object of `size` bytes. Its hash must be `sha256`, if that is known.
    pub(super) fn new(chunks: Chunks, size: u64, sha256: Option<String>, run: &Arc<Run>) -> Self {
        Self {
            chunks,
            run: Arc::clone(run),
            hasher: Sha256::new(),
            count: 0,
            size,
            sha256,
        }
    }

    /// Size of the object, which [`Source::verify`] checks.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Verifies that the whole object was read and matches the pointer.
    pub(super) fn verify(mut self) -> Result<()> {
        // Bytes that the decoder has not read are also part of the object.
        let rest = io::copy(&mut self, &mut io::sink());
        rest.map_err(Failure::of_read)?;
        if self.count != self.size {
            return Err(Failure::corrupt(format!(
                "expected an object of {} bytes, got {}",
                self.size, self.count
            )));
        }
        let Some(promised) = self.sha256 else {
            return Ok(());
        };
        if hex(&self.hasher.finalize()) != promised && !fault::is_seeded("trust-the-bytes") {
            return Err(Failure::corrupt(
                "the sha256 of the object does not match the pointer",
            ));
        }
        Ok(())
    }
}

impl Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // Distinguished for the timings, and for the reason of a call that ends here.
        self.run.enter(Stage::Download);
        let read = self.chunks.read(buffer);
        self.run.enter(Stage::Write);
        let count = read?;
        self.hasher.update(&buffer[..count]);
        self.count += count as u64;
        Ok(count)
    }
}
