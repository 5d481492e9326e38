//! A record that this process has written. Its inode identifies it, so it does not have to be read and parsed again.

use std::fs::File;
use std::path::Path;

use crate::core::error::Result;
use crate::core::sys::fs::{self, Stat};

/// The file of a record. It is kept open, because an inode in use is not assigned to another file.
#[derive(Debug)]
pub(super) struct RecordFile {
    file: File,
    stat: Stat,
}

impl RecordFile {
    /// Wraps a completely written file.
    pub(super) fn new(file: File, path: &Path) -> Result<Self> {
        let stat = fs::stat_file(&file, path)?;
        Ok(Self { file, stat })
    }

    /// Current stat of the file.
    pub(super) fn stat_now(&self, path: &Path) -> Result<Stat> {
        fs::stat_file(&self.file, path)
    }

    /// Sets the mode, independent of the umask.
    pub(super) fn set_mode(&self, mode: u32, path: &Path) -> Result<()> {
        if self.stat.mode == mode {
            return Ok(());
        }
        fs::set_file_mode(&self.file, mode, path)
    }

    /// Whether this file is at that path with unchanged content. `false` proves nothing: a heartbeat may have replaced
    /// or touched the file, or it belongs to another holder.
    pub(super) fn is_at(&self, path: &Path) -> bool {
        let what = |stat: &Stat| (stat.device, stat.inode, stat.size, stat.modified_ns);
        fs::stat(path).is_ok_and(|found| what(&found) == what(&self.stat))
    }
}
