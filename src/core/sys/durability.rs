//! What survives power loss: fsync of files and directories, and of a whole filesystem.

use std::path::Path;

use rustix::fs::OFlags;

use crate::core::error::{At, Result};
use crate::core::sys::{fault, fs};

/// Flushes one file's or directory's data and metadata.
pub fn sync(path: &Path) -> Result<()> {
    fault::point("fsync", path).at("fsync", path)?;
    let file = fs::open(path, OFlags::RDONLY)?;
    rustix::fs::fsync(&file).at("fsync", path)
}

/// Flushes the whole filesystem of `path`, including what strangers wrote to it.
#[cfg(target_os = "linux")]
pub fn sync_filesystem(path: &Path) -> Result<()> {
    fault::point("syncfs", path).at("syncfs", path)?;
    let file = fs::open(path, OFlags::RDONLY)?;
    rustix::fs::syncfs(&file).at("syncfs", path)
}
