//! Encoder for independent frames, which several threads can compress at the same time.

use std::io;

use flate2::{Compress, Compression, Crc, FlushCompress};
use zstd::zstd_safe::CParameter;

use crate::core::archives::codec::format::Format;
use crate::core::sys::fault;

/// Compresses independent frames, so that several threads can work at the same time.
pub struct FrameEncoder(Encoder);

enum Encoder {
    Zstd(zstd::bulk::Compressor<'static>),
    Gzip(Compression),
    Plain,
}

impl FrameEncoder {
    /// Creates an encoder for one thread.
    pub fn new(format: Format, level: i32) -> io::Result<Self> {
        Ok(Self(match format {
            Format::TarZst => {
                let mut compressor = zstd::bulk::Compressor::new(level)?;
                // Without a checksum, 56 % of single bit flips decoded to wrong bytes without an error.
                let checksum = !fault::is_seeded("no-checksum");
                compressor.set_parameter(CParameter::ChecksumFlag(checksum))?;
                compressor.set_parameter(CParameter::ContentSizeFlag(true))?;
                Encoder::Zstd(compressor)
            }
            Format::TarGz => Encoder::Gzip(Compression::new(level.unsigned_abs())),
            Format::Tar => Encoder::Plain,
        }))
    }

    /// Encodes one frame.
    pub fn encode(&mut self, raw: &[u8]) -> io::Result<Frame> {
        let raw_bytes = raw.len();
        let mut crc = Crc::new();
        let bytes = match &mut self.0 {
            Encoder::Zstd(compressor) => compressor.compress(raw)?,
            Encoder::Gzip(level) => {
                crc.update(raw);
                deflate(raw, *level)?
            }
            Encoder::Plain => raw.to_vec(),
        };
        Ok(Frame {
            bytes,
            raw_bytes,
            crc,
        })
    }
}

/// One compressed part of an archive.
pub struct Frame {
    /// Encoded bytes.
    pub bytes: Vec<u8>,
    /// Number of bytes after decoding.
    pub raw_bytes: usize,
    pub(super) crc: Crc,
}

/// Compresses to deflate blocks that end at a byte boundary, so that the parts of several threads can be joined (like
/// pigz).
fn deflate(raw: &[u8], level: Compression) -> io::Result<Vec<u8>> {
    let mut compress = Compress::new(level, false);
    let mut out = Vec::with_capacity(raw.len() / 3 + 64);
    loop {
        let consumed = usize::try_from(compress.total_in()).unwrap_or(usize::MAX);
        out.reserve(64 << 10);
        compress
            .compress_vec(&raw[consumed..], &mut out, FlushCompress::Sync)
            .map_err(io::Error::other)?;
        // Unused space in the buffer means that no output is pending.
        if compress.total_in() == raw.len() as u64 && out.len() < out.capacity() {
            return Ok(out);
        }
    }
}
