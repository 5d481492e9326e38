//! Archive formats and their compression levels.

use crate::core::error::{Error, Result};

/// Decoded size of a frame. Measured with a node_modules of 283 MB at level 3: frames of 1 MiB make the archive 12.4 %
/// larger, 4 MiB 2.0 %, 8 MiB 1.1 %.
pub const FRAME_BYTES: usize = 4 << 20;
/// Default level of zstd.
pub const DEFAULT_LEVEL: i32 = 3;

/// Format of an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// tar in zstd frames of 4 MiB with checksums, and a seek table.
    #[default]
    TarZst,
    /// tar in one gzip member.
    TarGz,
    /// tar without compression.
    Tar,
}

impl Format {
    /// Default compression level.
    pub fn default_level(self) -> i32 {
        match self {
            Self::TarZst | Self::Tar => DEFAULT_LEVEL,
            Self::TarGz => 6,
        }
    }

    /// Name of the format in JavaScript.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TarZst => "tar.zst",
            Self::TarGz => "tar.gz",
            Self::Tar => "tar",
        }
    }
}

/// Fails if the format does not support the level.
pub fn check_level(format: Format, level: i32) -> Result<()> {
    let (least, most) = match format {
        Format::TarZst => (-7, 19),
        Format::TarGz => (0, 9),
        Format::Tar => return Ok(()),
    };
    if (least..=most).contains(&level) {
        return Ok(());
    }
    let accepted = format!("an integer from {least} to {most} for {}", format.as_str());
    Err(Error::argument("level", level, &accepted))
}
