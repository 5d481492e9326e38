//! A lock directory under a temporary name, before it is published at the path of the lock.
//!
//! The directory of the last holder is kept as `.K.spare` and reused. On a busy ext4, mkdir and rmdir cost 2.5 ms of
//! journal writes, a rename 0.02 ms (bench locks).

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::lock_directory::OWNER;
use super::neighbours::Neighbours;
use super::path::LockPath;
use super::record_file::RecordFile;
use super::shared;
use crate::core::error::Result;
use crate::core::sys::dir::Directory;
use crate::core::sys::errno;
use crate::core::sys::fs::{self, Kind};

/// A directory that is ready to be published, and its owner record.
pub(super) struct PreparedDirectory {
    pub(super) path: PathBuf,
    pub(super) record_file: RecordFile,
    directory: Directory,
}

impl PreparedDirectory {
    /// Creates a directory that is ready to be published.
    pub(super) fn make(
        lock: &LockPath,
        prepared: &Path,
        owner: &[u8],
        neighbours: &Neighbours,
    ) -> Result<Self> {
        let directory = match reuse_spare(lock, prepared, neighbours) {
            Some(spare) => spare,
            None => shared::make_private_directory(prepared)?,
        };
        let path = prepared.join(OWNER);
        let mut file = directory.create_new(OsStr::new(OWNER), 0o644, &path)?;
        fs::write_all(&mut file, owner, &path)?;
        let record_file = RecordFile::new(file, &path)?;
        record_file.set_mode(0o644, &path)?;
        Ok(Self {
            path: prepared.to_path_buf(),
            record_file,
            directory,
        })
    }

    /// Links the owner record into the directory of the records.
    pub(super) fn link_owner(&self, records: &Directory, name: &OsStr, path: &Path) -> Result<()> {
        records.link(&self.directory, OsStr::new(OWNER), name, path)
    }
}

/// Renames a prepared directory to the lock's path. Returns `false` if the path exists. Even an empty directory, which
/// a plain rename would replace, may be a mkdir lock between its two steps.
pub(super) fn publish(lock: &LockPath, prepared: &Path) -> Result<bool> {
    match fs::rename_new(prepared, lock.directory()) {
        Ok(()) => Ok(true),
        Err(error) if error.is_exists() => Ok(false),
        Err(error) if errno::is_unsupported(&error) => publish_in_two_steps(lock, prepared),
        Err(error) => Err(error),
    }
}

/// Publishes on filesystems without a rename that refuses to replace (NFS, some FUSE).
fn publish_in_two_steps(lock: &LockPath, prepared: &Path) -> Result<bool> {
    match fs::create_directory(lock.directory(), 0o777) {
        Ok(()) => {}
        Err(error) if error.is_exists() => return Ok(false),
        Err(error) => return Err(error),
    }
    Directory::open(lock.directory())
        .and_then(|directory| directory.rename_into(&prepared.join(OWNER), OsStr::new(OWNER), &lock.owner()))
        .inspect_err(|_| {
            // Without an owner file it would block all others for a while.
            drop(fs::remove_directory(lock.directory()));
        })?;
    fs::remove_directory(prepared)?;
    Ok(true)
}

/// Empties the spare and renames it to the temporary name. Returns `None` if there is no spare of a holder, or if it
/// cannot be emptied.
fn reuse_spare(lock: &LockPath, prepared: &Path, neighbours: &Neighbours) -> Option<Directory> {
    let anyone_may_write = neighbours.anyone_may_write();
    if anyone_may_write {
        let stat = fs::stat(&lock.spare()).ok()?;
        if stat.kind != Kind::Directory || !neighbours.trusts(&stat) {
            return None;
        }
    }
    fs::rename(&lock.spare(), prepared).ok()?;
    let emptied = Directory::open(prepared).and_then(|directory| {
        if anyone_may_write {
            neighbours.check(&directory.own_stat(prepared)?, prepared)?;
        }
        // A directory without an owner file is not a spare.
        directory.remove_file(OsStr::new(OWNER), &prepared.join(OWNER))?;
        Ok(directory)
    });
    // A link, or a directory that is not ours: move it back.
    emptied
        .inspect_err(|_| drop(shared::rename_new(prepared, &lock.spare())))
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::locks::lock_directory;

    #[test]
    fn a_directory_without_an_owner_file_is_removed() {
        let root = tempfile::tempdir().expect("a temporary directory");
        let lock = LockPath::parse(&root.path().join("key.lock").to_string_lossy()).expect("a path");
        let prepared = lock.prepared("token");
        fs::create_directory(&prepared, 0o777).expect("prepared, except for its owner file");
        publish_in_two_steps(&lock, &prepared).expect_err("no owner");
        assert!(lock_directory::read(&lock, None).expect("a look").is_none());
    }
}
