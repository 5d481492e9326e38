//! The formats of archives and their levels.

use crate::core::error::{Error, Result};

/// Decoded bytes of a frame. Measured over a node_modules of 283 MB at level 3: frames of 1 MiB cost 12.4 % in
/// size, 4 MiB 2.0 %, 8 MiB 1.1 %.
pub const FRAME_BYTES: usize = 4 << 20;
/// Level where the caller gives none.
pub const DEFAULT_LEVEL: i32 = 3;

/// How an archive is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// zstd frames of 4 MiB with checksums, and a seek table.
    #[default]
    TarZst,
    /// One gzip member.
    TarGz,
    /// Not at all.
    Tar,
}

impl Format {
    /// The level where the caller gives none.
    pub fn default_level(self) -> i32 {
        match self {
            Self::TarZst | Self::Tar => DEFAULT_LEVEL,
            Self::TarGz => 6,
        }
    }

    /// The name that JavaScript uses.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TarZst => "tar.zst",
            Self::TarGz => "tar.gz",
            Self::Tar => "tar",
        }
    }
}

/// Refuses a level that the format does not have.
pub fn check_level(format: Format, level: i32) -> Result<()> {
    let (least, most) = match format {
        Format::TarZst => (-7, 19),
        Format::TarGz => (0, 9),
        Format::Tar => return Ok(()),
    };
    if (least..=most).contains(&level) {
        return Ok(());
    }
    let accepted = format!("a whole number from {least} to {most} for {}", format.as_str());
    Err(Error::argument("level", level, &accepted))
}
