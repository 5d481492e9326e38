//! How lock directories are moved away and removed: the holder's own, and those of dead holders; and the directory of the
//! records. Only the files that this library knows are ever removed, one by one, and then the empty directory.

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

/// Moves our directory away: to be the next holder's, or where there is a spare already to where it is removed
/// once the lock is free: that path is returned.
pub(super) fn withdraw(lock: &LockPath) -> Option<PathBuf> {
    if shared::rename_new(lock.directory(), &lock.spare()).is_ok() {
        return None;
    }
    let tombstone = lock.tombstone();
    fs::rename(lock.directory(), &tombstone).ok().map(|()| tombstone)
}

/// Moves what was found out of the way and removes it. `false` where it was no longer what was found: then
/// it is put back.
pub(super) fn bury(lock: &LockPath, found: &LockDirectory, neighbours: &Neighbours) -> Result<bool> {
    if fault::is_seeded("lock-check-then-remove") {
        return fs::remove_tree(lock.directory()).map(|()| true);
    }
    found.check(neighbours)?;
    // A name of its own for each: what cannot be emptied stays there.
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

/// A mkdir lock has removed and taken it since the look, or files have appeared in it. If a third one is in by now, that
/// is the race of mkdir locks between themselves.
fn put_back(lock: &LockPath, tombstone: &Path) -> Result<()> {
    match shared::rename_new(tombstone, lock.directory()).optional() {
        Err(error) if error.is_exists() && !matches!(discard(tombstone), Ok(true)) => Err(Error::new(
            Code::Io,
            format!(
                "'{}' was taken by another program while its former directory was looked at; the files of the former one are in '{}'",
                lock.directory().display(),
                tombstone.display()
            ),
        )
        .at(tombstone)),
        Err(error) if !error.is_exists() => Err(error),
        _ => Ok(()),
    }
}

/// Removes a directory of ours with the files that this library puts into one. `false`, and nothing is removed, where it
/// holds anything else. What a filesystem keeps for open files stays until a sweep.
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

/// Whether the directory is a lock directory of this library and holds nothing else.
pub(super) fn is_spare(path: &Path) -> Result<bool> {
    let Some(found) = lock_directory::read_at(path, None)? else {
        return Ok(false);
    };
    Ok(found.is_ours() && found.extra()? == Extra::Nothing)
}

/// Whether the directory holds records of this library, at least one, and nothing else.
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

/// Removes the records in a directory that is no longer at the path of a lock, and then the directory. `false` where it holds
/// anything else, which stays with it.
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

/// Removes the spare. `false` where it is none, or anything else than a directory of this library.
pub(super) fn discard_spare(lock: &LockPath) -> Result<bool> {
    // Out of the way first: a holder may be about to use it.
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
    fn a_directory_is_judged_by_all_that_it_holds() {
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
            assert_eq!(
                discard(root.path()).expect("discarded"),
                expected == "nothing",
                "{names:?}"
            );
            assert_eq!(root.path().exists(), expected != "nothing", "{names:?}");
        }
    }
}
