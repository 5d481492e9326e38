//! The lock directory `K`, for everybody who only knows mkdir locks: it appears finished, with its owner, and
//! leaves in one rename. Among ourselves it decides nothing.
//!
//! The directory of the last holder is kept as `.K.spare` and used again: on a busy ext4 mkdir and rmdir take
//! 2.5 ms of journal, a rename 0.02 ms (bench locks).

use std::ffi::OsStr;
use std::path::Path;

use super::paths::LockPath;
use super::record::{self, Contents};
use super::shared;
use super::written::Written;
use crate::core::error::{Error, Optional as _, Result};
use crate::core::sys::dir::Directory;
use crate::core::sys::{fault, fs};

const OWNER: &str = "owner.json";

/// What is at the path of a lock.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) contents: Option<Contents>,
    /// The owner's bytes and the directory's inode: what must not have changed when it is buried.
    owner: Option<Vec<u8>>,
    inode: u64,
    /// What any sign of life would change.
    pub(super) evidence: Vec<u8>,
}

impl Found {
    /// Of a holder of this library.
    pub(super) fn is_ours(&self) -> bool {
        matches!(self.contents, Some(Contents::Record(_)))
    }
}

/// Looks at the lock directory; `None` where there is none. A file or a link there is an error, not a lock.
pub(super) fn look(lock: &LockPath) -> Result<Option<Found>> {
    let Some(stat) = fs::stat(lock.directory()).optional()? else {
        return Ok(None);
    };
    if stat.kind != fs::Kind::Directory {
        return Err(not_a_directory(lock.directory(), stat.kind));
    }
    let owner = lock.owner();
    // Also of a directory that another user keeps closed: what it says is then unreadable.
    let touched = fs::stat(&owner).map_or(0, |stat| stat.modified_ns);
    let (bytes, contents) = record::read(&owner)?.unzip();
    let mut evidence = format!("{} {} {touched} ", stat.inode, stat.modified_ns).into_bytes();
    evidence.extend(bytes.iter().flatten());
    Ok(Some(Found {
        contents,
        owner: bytes,
        inode: stat.inode,
        evidence,
    }))
}

fn not_a_directory(path: &Path, kind: fs::Kind) -> Error {
    let what = match kind {
        fs::Kind::Symlink => "a symbolic link, which is not followed",
        fs::Kind::File => "a file",
        _ => "not a directory",
    };
    Error::argument(
        "path",
        format!("'{}', which is {what}", path.display()),
        "the path of a lock directory, which need not exist",
    )
    .at(path)
}

/// Makes a directory that is ready to be published.
pub(super) fn prepare(lock: &LockPath, prepared: &Path, owner: &[u8]) -> Result<Written> {
    let directory = if let Some(spare) = take_spare(lock, prepared) {
        spare
    } else {
        shared::make_private_directory(prepared)?;
        Directory::open(prepared)?
    };
    let path = prepared.join(OWNER);
    let mut file = directory.create_new(OsStr::new(OWNER), 0o644, &path)?;
    fs::write_all(&mut file, owner, &path)?;
    let written = Written::new(file, &path)?;
    written.set_mode(0o644, &path)?;
    Ok(written)
}

/// The emptied spare under our own name; `None` where there is none that is a directory and lets itself be emptied.
fn take_spare(lock: &LockPath, prepared: &Path) -> Option<Directory> {
    fs::rename(&lock.spare(), prepared).ok()?;
    let emptied = Directory::open(prepared).and_then(|directory| {
        directory
            .remove_file(OsStr::new(OWNER), &prepared.join(OWNER))
            .optional()?;
        Ok(directory)
    });
    // Another user's, or a link that somebody has planted: out of our way again.
    emptied
        .inspect_err(|_| drop(fs::rename(prepared, &lock.spare())))
        .ok()
}

/// Moves our directory away: to be the next holder's, or where there is a spare already to where it is removed
/// once the lock is free. `true` if it is there.
pub(super) fn withdraw(lock: &LockPath, tombstone: &Path) -> bool {
    fs::rename(lock.directory(), &lock.spare()).is_err() && fs::rename(lock.directory(), tombstone).is_ok()
}

/// Gives a prepared directory its name. `false` where there is something of that name: even an empty
/// directory, which a plain rename would replace, may be a mkdir lock between its two steps.
pub(super) fn publish(lock: &LockPath, prepared: &Path) -> Result<bool> {
    match fs::rename_new(prepared, lock.directory()) {
        Ok(()) => Ok(true),
        Err(error) if error.is_exists() => Ok(false),
        Err(error) if shared::lacks_noreplace(&error) => publish_in_two_steps(lock, prepared),
        Err(error) => Err(error),
    }
}

/// Where the filesystem has no rename that refuses to replace (NFS, some FUSE).
fn publish_in_two_steps(lock: &LockPath, prepared: &Path) -> Result<bool> {
    match fs::create_directory(lock.directory(), 0o777) {
        Ok(()) => {}
        Err(error) if error.is_exists() => return Ok(false),
        Err(error) => return Err(error),
    }
    fs::rename(&prepared.join(OWNER), &lock.owner()).inspect_err(|_| {
        // Without an owner it would keep everybody out for a while.
        drop(fs::remove_directory(lock.directory()));
    })?;
    fs::remove_directory(prepared)?;
    Ok(true)
}

/// Moves what was found out of the way and removes it. `false` where it was no longer what was found: then
/// it is put back.
pub(super) fn bury(lock: &LockPath, found: &Found) -> Result<bool> {
    // A name of its own for each: what cannot be emptied stays there.
    let tombstone = &*lock.tombstone(&uuid::Uuid::new_v4().to_string());
    if fault::mutant("lock-check-then-remove") {
        return fs::remove_tree(lock.directory()).map(|()| true);
    }
    if fs::rename(lock.directory(), tombstone).optional()?.is_none() {
        return Ok(false);
    }
    let Some(inode) = fs::stat(tombstone).optional()?.map(|stat| stat.inode) else {
        // Swept by somebody who took it for litter.
        return Ok(true);
    };
    let owner = record::read(&tombstone.join(OWNER))?.map(|(bytes, _)| bytes);
    if inode == found.inode && owner == found.owner {
        if !found.is_ours() || fs::rename(tombstone, &lock.spare()).is_err() {
            // Out of the way is enough: what another user has made cannot be emptied by us, and is swept later.
            drop(fs::remove_tree(tombstone));
        }
        return Ok(true);
    }
    // A mkdir lock has removed and taken it since we looked. If a third one is in by now, that is the race
    // of mkdir locks among themselves.
    if matches!(publish(lock, tombstone), Ok(false)) {
        drop(fs::remove_tree(tombstone));
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_gets_no_owner_goes_again() {
        let root = tempfile::tempdir().expect("a temporary directory");
        let lock = LockPath::parse(&root.path().join("key.lock").to_string_lossy()).expect("a path");
        let prepared = lock.prepared("token");
        fs::create_directory(&prepared, 0o777).expect("prepared, but for its owner");
        publish_in_two_steps(&lock, &prepared).expect_err("no owner");
        assert!(look(&lock).expect("a look").is_none());
    }
}
