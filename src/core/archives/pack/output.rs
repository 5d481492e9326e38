//! Output of an archive.

use std::io::Write;

use crate::core::archives::codec::{Envelope, Frame};
use crate::core::failure::{Failure, Result};

/// The sink, and the number of bytes sent to it.
pub(super) struct Output<'a> {
    pub(super) sink: &'a mut dyn Write,
    pub(super) envelope: Envelope,
    /// Number of bytes sent so far.
    pub(super) bytes: u64,
}

impl Output<'_> {
    pub(super) fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.sink.write_all(bytes).map_err(Failure::of_read)?;
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    pub(super) fn frame(&mut self, frame: &Frame) -> Result<()> {
        self.envelope.add(frame)?;
        self.send(&frame.bytes)
    }
}
