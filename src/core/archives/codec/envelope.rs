//! Bytes before and after the frames of an archive.

use flate2::Crc;

use crate::core::archives::codec::encoder::Frame;
use crate::core::archives::codec::format::Format;
use crate::core::error::{Error, Result};

const SEEK_TABLE_MAGIC: u32 = 0x184D_2A5E;
const SEEKABLE_MAGIC: u32 = 0x8F92_EAB1;

/// Bytes before and after the frames of an archive.
pub struct Envelope {
    format: Format,
    frames: Vec<(u32, u32)>,
    crc: Crc,
}

impl Envelope {
    /// Creates the envelope of an archive without frames.
    pub fn new(format: Format) -> Self {
        Self {
            format,
            frames: Vec::new(),
            crc: Crc::new(),
        }
    }

    /// Bytes before the first frame.
    pub fn head(&self) -> &'static [u8] {
        match self.format {
            // No name, no time and an unknown system: the same tree results in the same bytes.
            Format::TarGz => &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff],
            Format::TarZst | Format::Tar => &[],
        }
    }

    /// Records a frame that was sent.
    pub fn add(&mut self, frame: &Frame) -> Result<()> {
        let too_large = |_| Error::argument("frame", "over 4 GiB", "at most 4 MiB");
        let compressed = u32::try_from(frame.bytes.len()).map_err(too_large)?;
        let raw = u32::try_from(frame.raw_bytes).map_err(too_large)?;
        self.frames.push((compressed, raw));
        self.crc.combine(&frame.crc);
        Ok(())
    }

    /// Number of frames.
    pub fn frames(&self) -> u64 {
        self.frames.len() as u64
    }

    /// Number of decoded bytes in all frames.
    pub fn raw_bytes(&self) -> u64 {
        self.frames.iter().map(|(_, raw)| u64::from(*raw)).sum()
    }

    /// Bytes after the last frame: the seek table of zstd, or the trailer of gzip.
    pub fn tail(&self) -> Vec<u8> {
        match self.format {
            Format::TarZst => self.seek_table(),
            Format::TarGz => {
                // An empty last block, because the earlier parts are not marked as last.
                let mut tail = vec![0x03, 0x00];
                tail.extend_from_slice(&self.crc.sum().to_le_bytes());
                tail.extend_from_slice(&self.crc.amount().to_le_bytes());
                tail
            }
            Format::Tar => Vec::new(),
        }
    }

    /// Seek table of facebook/zstd contrib/seekable_format: a skippable frame, which ordinary decoders ignore.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "at most 2^32 bytes / 4 MiB frames"
    )]
    fn seek_table(&self) -> Vec<u8> {
        let payload = self.frames.len() * 8 + 9;
        let mut table = Vec::with_capacity(payload + 8);
        table.extend_from_slice(&SEEK_TABLE_MAGIC.to_le_bytes());
        table.extend_from_slice(&(payload as u32).to_le_bytes());
        for (compressed, raw) in &self.frames {
            table.extend_from_slice(&compressed.to_le_bytes());
            table.extend_from_slice(&raw.to_le_bytes());
        }
        table.extend_from_slice(&(self.frames.len() as u32).to_le_bytes());
        table.push(0);
        table.extend_from_slice(&SEEKABLE_MAGIC.to_le_bytes());
        table
    }
}
