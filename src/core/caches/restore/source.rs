//! The bytes of an object, counted and hashed on their way to the decoder.

use std::io::{self, Read};
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use crate::core::caches::pointer::hex;
use crate::core::caches::run::Run;
use crate::core::caches::store::Chunks;
use crate::core::failure::{Failure, Result, Stage};
use crate::core::sys::fault;

/// The bytes of an object on their way to the decoder, counted and hashed.
pub(super) struct Source {
    chunks: Chunks,
    run: Arc<Run>,
    hasher: Sha256,
    count: u64,
    size: u64,
    sha256: Option<String>,
}

impl Source {
    /// An object of `size` bytes whose hash must be `sha256`, if one is known.
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

    /// The size of the object, which [`Source::verify`] proves.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Proves that the whole object went by and is the one that the pointer means.
    pub(super) fn verify(mut self) -> Result<()> {
        // Whatever the decoder left unread is part of the object too.
        let rest = io::copy(&mut self, &mut io::sink());
        rest.map_err(Failure::of_read)?;
        if self.count != self.size {
            return Err(Failure::corrupt(format!(
                "the object has {} bytes, promised were {}",
                self.count, self.size
            )));
        }
        let Some(promised) = self.sha256 else {
            return Ok(());
        };
        if hex(&self.hasher.finalize()) != promised && !fault::is_seeded("trust-the-bytes") {
            return Err(Failure::corrupt(
                "the sha256 of the object is not the one that was promised",
            ));
        }
        Ok(())
    }
}

impl Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // Told apart for timings, and for the reason of a call that ends here.
        self.run.enter(Stage::Download);
        let read = self.chunks.read(buffer);
        self.run.enter(Stage::Write);
        let count = read?;
        self.hasher.update(&buffer[..count]);
        self.count += count as u64;
        Ok(count)
    }
}
