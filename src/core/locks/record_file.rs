//! A record as its holder has written it: told by its inode, without being read and parsed again.

use std::fs::File;
use std::path::Path;

use crate::core::error::Result;
use crate::core::sys::fs::{self, Stat};

/// The file of a record. It is kept open: an inode that is in use is not given to another file.
#[derive(Debug)]
pub(super) struct RecordFile {
    file: File,
    stat: Stat,
}

impl RecordFile {
    /// A file that was written to its end.
    pub(super) fn new(file: File, path: &Path) -> Result<Self> {
        let stat = fs::stat_file(&file, path)?;
        Ok(Self { file, stat })
    }

    /// What the file is now.
    pub(super) fn stat_now(&self, path: &Path) -> Result<Stat> {
        fs::stat_file(&self.file, path)
    }

    /// Whatever the umask is.
    pub(super) fn set_mode(&self, mode: u32, path: &Path) -> Result<()> {
        if self.stat.mode == mode {
            return Ok(());
        }
        fs::set_file_mode(&self.file, mode, path)
    }

    /// Whether this file is at that path, with nothing else written to it. `false` says nothing: a heartbeat has replaced
    /// or touched it, or it is another's.
    pub(super) fn is_at(&self, path: &Path) -> bool {
        let what = |stat: &Stat| (stat.device, stat.inode, stat.size, stat.modified_ns);
        fs::stat(path).is_ok_and(|found| what(&found) == what(&self.stat))
    }
}
