//! Moves away and removes lock directories, of this process and of dead holders, and the directory of the records. Only
//! the files that warmswap knows are removed, one by one, and then the empty directory.

use std::path::{Path, PathBuf};

use super::lock_directory::{self, Extra, LockDirectory, MAX_LISTED, OWNER};
use super::neighbours::Neighbours;
use super::path::LockPath;
use super::record::{self, Contents};
use super::record_name::RecordName;
use super::shared;
use crate::core::error::{Code, Error, Optional as _, Result};
use crate::core::sys::dir::Directory;
use crate::core::sys::fs::Entry;
use crate::core::sys::{fault, fs};

/// Moves our directory away, to become the spare. If there already is a spare, returns the path from which it has to be
/// removed after the lock is free.
pub(super) fn withdraw(lock: &LockPath) -> Option<PathBuf> {
    if shared::rename_new(lock.directory(), &lock.spare()).is_ok() {
        return None;
    }
    let tombstone = lock.tombstone();
    fs::rename(lock.directory(), &tombstone).ok().map(|()| tombstone)
}

/// Moves a lock directory away and removes it. If it is no longer the directory that was found, moves it back and
/// returns `false`.
pub(super) fn bury(lock: &LockPath, found: &LockDirectory, neighbours: &Neighbours) -> Result<bool> {
    if fault::is_seeded("lock-check-then-remove") {
        return fs::remove_tree(lock.directory()).map(|()| true);
    }
    found.check(neighbours)?;
    // A separate name for each directory, because a directory that cannot be emptied stays there.
    let tombstone = &*lock.tombstone();
    if fs::rename(lock.directory(), tombstone).optional()?.is_none() {
        return Ok(false);
    }
    let buried = found.is_now_at(tombstone).and_then(|is_it| {
        Ok(is_it
            && ((found.has_record() && shared::rename_new(tombstone, &lock.spare()).is_ok())
                || discard(tombstone)?))
    });
    if !matches!(buried, Ok(true)) {
        put_back(lock, tombstone)?;
    }
    buried
}

/// Moves a directory back. A mkdir lock has removed and created it since it was read, or files have appeared in it. If
/// a third lock exists at the path by now, that is the race of mkdir locks among themselves.
fn put_back(lock: &LockPath, tombstone: &Path) -> Result<()> {
    match shared::rename_new(tombstone, lock.directory()).optional() {
        Err(error) if error.is_exists() && !matches!(discard(tombstone), Ok(true)) => Err(Error::new(
            Code::Io,
            format!(
                "Another program created '{}' while its previous directory was being checked. The files of the previous directory are in '{}'",
                lock.directory().display(),
                tombstone.display()
            ),
        )
        .at(tombstone)),
        Err(error) if !error.is_exists() => Err(error),
        _ => Ok(()),
    }
}

/// Removes a directory of warmswap with the files that warmswap creates in it. Returns `false` and removes nothing if
/// it contains anything else. Files that a filesystem keeps for open handles stay until a sweep.
pub(super) fn discard(path: &Path) -> Result<bool> {
    if fault::is_seeded("lock-remove-any-directory") {
        return fs::remove_tree(path).map(|()| true);
    }
    let Some(directory) = Directory::open(path).optional()? else {
        return Ok(true);
    };
    if Extra::of(&directory, path)? != Extra::Nothing {
        return Ok(false);
    }
    for Entry { name, .. } in directory.some_entries(MAX_LISTED, path)? {
        let removed = directory.remove_file(&name, &path.join(&name)).optional();
        if name == OWNER {
            removed?;
        }
    }
    match fs::remove_directory(path).optional() {
        Ok(_) => Ok(true),
        Err(_) => Ok(Extra::of(&directory, path)? == Extra::Nothing),
    }
}

/// Whether the directory is a lock directory of warmswap and contains nothing else.
pub(super) fn is_spare(path: &Path) -> Result<bool> {
    let Some(found) = lock_directory::read_at(path, None)? else {
        return Ok(false);
    };
    Ok(found.has_record() && found.extra()? == Extra::Nothing)
}

/// Whether the directory contains records of warmswap, at least one, and nothing else.
pub(super) fn holds_records_only(path: &Path) -> Result<bool> {
    let Some(directory) = Directory::open(path).optional()? else {
        return Ok(false);
    };
    let entries = directory.some_entries(MAX_LISTED, path)?;
    for entry in &entries {
        let is_named = entry.name.to_str().and_then(RecordName::parse).is_some();
        let contents = is_named
            .then(|| record::read_in(&directory, &entry.name, &path.join(&entry.name)))
            .transpose()?
            .flatten();
        if !matches!(contents, Some((_, Contents::Record(_)))) {
            return Ok(false);
        }
    }
    Ok(!entries.is_empty() && entries.len() < MAX_LISTED)
}

/// Removes the records in a directory that is no longer at the path of a lock, and then the directory. Returns `false`
/// if it contains anything else, which is kept with it.
pub(super) fn discard_records(path: &Path) -> Result<bool> {
    remove_records(path)?;
    Ok(fs::remove_directory(path).optional().is_ok())
}

/// Removes the records in a directory.
pub(super) fn remove_records(path: &Path) -> Result<()> {
    let Some(directory) = Directory::open(path).optional()? else {
        return Ok(());
    };
    for entry in directory.some_entries(MAX_LISTED, path)? {
        if entry.name.to_str().and_then(RecordName::parse).is_some() {
            directory
                .remove_file(&entry.name, &path.join(&entry.name))
                .optional()?;
        }
    }
    Ok(())
}

/// Removes the spare. Returns `false` if there is none, or if it contains anything that is not from warmswap.
pub(super) fn discard_spare(lock: &LockPath) -> Result<bool> {
    // Renamed first, because a holder may be about to use it.
    let aside = lock.tombstone();
    if fs::rename(&lock.spare(), &aside).optional()?.is_none() {
        return Ok(false);
    }
    let is_removed = is_spare(&aside)? && discard(&aside)?;
    if !is_removed {
        drop(shared::rename_new(&aside, &lock.spare()));
    }
    Ok(is_removed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_classified_by_all_of_its_entries() {
        let cases: [(&[&str], &str); 12] = [
            (&[], "nothing"),
            (&["owner.json"], "nothing"),
            (
                &["owner.json", ".nfs0001", ".DS_Store", "owner.json.17.tmp"],
                "nothing",
            ),
            (&[".fuse_hidden0001"], "nothing"),
            (&[".key.ba4c63ce-d572-4434-843e-e874296731e2.tmp"], "nothing"),
            (&["lock", "pid", "host"], "files"),
            (&["owner.json", "notes"], "files"),
            (&["a", "b", "c", "d"], "folder"),
            (&["owner.json", "a", "b", "c"], "folder"),
            (&["a/"], "folder"),
            (&["owner.json/"], "folder"),
            (&["owner.json", ".DS_Store/"], "folder"),
        ];
        for (names, expected) in cases {
            let root = tempfile::tempdir().expect("a temporary directory");
            for name in names {
                match name.strip_suffix('/') {
                    Some(name) => fs::create_directory(&root.path().join(name), 0o755),
                    None => fs::write_new(&root.path().join(name), b"{}", 0o644),
                }
                .expect("an entry");
            }
            let directory = Directory::open(root.path()).expect("open");
            let found = match Extra::of(&directory, root.path()).expect("a listing") {
                Extra::Nothing => "nothing",
                Extra::Files(_) => "files",
                Extra::Folder(_) => "folder",
            };
            assert_eq!(found, expected, "{names:?}");
            // Wine removes a directory when its last handle is closed.
            drop(directory);
            assert_eq!(
                discard(root.path()).expect("discarded"),
                expected == "nothing",
                "{names:?}"
            );
            assert_eq!(root.path().exists(), expected != "nothing", "{names:?}");
        }
    }
}
