//! The lock directory `K`, for programs that only know mkdir locks: it appears finished, with its owner, and
//! leaves in one rename. Between users of this library it decides nothing.
//!
//! The directory of the last holder is kept as `.K.spare` and used again: on a busy ext4 mkdir and rmdir take
//! 2.5 ms of journal, a rename 0.02 ms (bench locks).
//!
//! The path of a lock may be an ordinary folder (proper-lockfile and flock(1) are called with one). So a directory is
//! only taken over if it is empty, or holds an `owner.json` of a dead holder and nothing else. Only the files that
//! this library knows are ever removed from it, one by one, and then the empty directory.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::neighbours::{self, Neighbours};
use super::path::{LockPath, Neighbour};
use super::record::{self, Contents};
use super::record_file::Written;
use super::shared;
use crate::core::error::{Code, Error, Optional as _, Result};
use crate::core::sys::dir::Directory;
use crate::core::sys::fault;
use crate::core::sys::fs::{self, Entry, Kind, Stat};

const OWNER: &str = "owner.json";
/// A directory with more files than these is no lock.
const MAX_FILES: usize = 3;
/// Largest file that another program's lock may have, in bytes.
const SMALL: u64 = 65_536;
/// Entries that are listed: one with more is an ordinary folder.
const MAX_LISTED: usize = 64;

/// What is at the path of a lock.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) contents: Option<Contents>,
    /// The owner's bytes and what stat says: what must not have changed when it is buried.
    owner: Option<Vec<u8>>,
    stat: Stat,
    path: PathBuf,
    /// `None` where this user may not read it.
    directory: Option<Directory>,
    /// What any sign of life would change.
    pub(super) evidence: Vec<u8>,
}

/// What a directory holds next to `owner.json`, leftovers of programs and filesystems ignored.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Extra {
    Nothing,
    /// A few small files: it may be another program's lock.
    Files(Vec<String>),
    /// Anything else: it is no lock.
    Folder(Vec<String>),
}

impl Found {
    /// Of a holder of this library.
    pub(super) fn is_ours(&self) -> bool {
        matches!(self.contents, Some(Contents::Record(_)))
    }

    /// Nobody can say whose it is.
    pub(super) fn is_unreadable(&self) -> bool {
        matches!(self.contents, Some(Contents::Unreadable | Contents::Blank))
    }

    /// `ERR_UNTRUSTED` where it belongs to another user who is not trusted.
    pub(super) fn check(&self, neighbours: &Neighbours) -> Result<()> {
        neighbours.check(&self.stat, &self.path)
    }

    pub(super) fn is_trusted_by(&self, neighbours: &Neighbours) -> bool {
        neighbours.trusts(&self.stat)
    }

    /// What else is in the directory.
    pub(super) fn extra(&self) -> Result<Extra> {
        match &self.directory {
            Some(directory) if !fault::mutant("lock-remove-any-directory") => classify(directory, &self.path),
            _ => Ok(Extra::Nothing),
        }
    }

    /// `ERR_INVALID_ARGUMENT` with the way out if this is an ordinary folder.
    pub(super) fn refuse_folder(&self) -> Result<()> {
        if self.is_ours() {
            return Ok(());
        }
        match self.extra()? {
            Extra::Folder(names) => Err(self.is_a_folder(&names)),
            Extra::Nothing | Extra::Files(_) => Ok(()),
        }
    }

    pub(super) fn is_a_folder(&self, names: &[String]) -> Error {
        Error::argument(
            "path",
            format!(
                "'{}', an ordinary folder (it holds {})",
                self.path.display(),
                listed(names)
            ),
            &format!(
                "the path of a lock, which need not exist: lock '{}.lock' instead",
                self.path.display()
            ),
        )
        .at(&self.path)
    }

    /// What a person should know of a directory that is never taken over.
    pub(super) fn note(&self, names: &[String]) -> String {
        let path = self.path.display();
        let what = if names.is_empty() {
            format!("'{path}/{OWNER}' cannot be read as the owner of a lock")
        } else {
            format!("'{path}' holds {}", listed(names))
        };
        format!(
            "{what}. It may be another program's lock: warmswap waits for its end and never removes it. If nothing uses it, remove it; to lock a folder, lock '{path}.lock' instead"
        )
    }
}

fn listed(names: &[String]) -> String {
    let first: Vec<String> = names
        .iter()
        .take(MAX_FILES)
        .map(|name| format!("'{}'", name.escape_debug()))
        .collect();
    let more = if names.len() > MAX_FILES { " and more" } else { "" };
    format!("{}{more}", first.join(", "))
}

fn classify(directory: &Directory, path: &Path) -> Result<Extra> {
    let entries = directory.some_entries(MAX_LISTED + 1, path)?;
    let mut is_folder = entries.len() > MAX_LISTED;
    let (mut files, mut names) = (0, Vec::new());
    for entry in &entries {
        let Some(stat) = directory.stat(&entry.name, &path.join(&entry.name)).optional()? else {
            continue;
        };
        let is_file = stat.kind == Kind::File;
        if is_file && is_ignored(&entry.name) {
            continue;
        }
        files += 1;
        if entry.name == OWNER && is_file {
            continue;
        }
        names.push(entry.name.to_string_lossy().into_owned());
        let is_small = stat.kind == Kind::Symlink || (is_file && stat.size <= SMALL);
        is_folder |= entry.name == OWNER || !is_small;
    }
    names.sort();
    Ok(if is_folder || files > MAX_FILES {
        Extra::Folder(names)
    } else if names.is_empty() {
        Extra::Nothing
    } else {
        Extra::Files(names)
    })
}

/// Files that appear in a directory without being part of it.
fn is_ignored(name: &OsStr) -> bool {
    let Some(name) = name.to_str() else { return false };
    name == ".DS_Store"
        || [".nfs", ".fuse_hidden", ".warmswap-spool-"]
            .iter()
            .any(|prefix| name.starts_with(prefix))
        || (name.starts_with("owner.json.") && name.ends_with("tmp"))
        || Neighbour::parse(name) == Some(Neighbour::Temporary)
}

/// Looks at the lock directory; `None` where there is none. A file or a link there is an error, not a lock.
pub(super) fn look(lock: &LockPath, neighbours: Option<&Neighbours>) -> Result<Option<Found>> {
    look_at(lock.directory(), neighbours)
}

/// As [`look`], at a directory that may have another name.
pub(super) fn look_at(path: &Path, neighbours: Option<&Neighbours>) -> Result<Option<Found>> {
    let directory = match Directory::open(path) {
        Ok(directory) => directory,
        Err(error) if error.is_not_found() => return Ok(None),
        Err(error) => return look_from_outside(path, neighbours, error),
    };
    let stat = directory.own_stat(path)?;
    let owner = path.join(OWNER);
    let touched = directory
        .stat(OsStr::new(OWNER), &owner)
        .map_or(0, |stat| stat.modified_ns);
    let (bytes, contents) = record::read_in(&directory, OsStr::new(OWNER), &owner)?.unzip();
    let mut evidence = format!("{} {} {touched} ", stat.inode, stat.modified_ns).into_bytes();
    evidence.extend(bytes.iter().flatten());
    Ok(Some(Found {
        contents,
        owner: bytes,
        stat,
        path: path.to_path_buf(),
        directory: Some(directory),
        evidence,
    }))
}

/// At what cannot be opened as a directory.
fn look_from_outside(path: &Path, neighbours: Option<&Neighbours>, error: Error) -> Result<Option<Found>> {
    let Some(stat) = fs::stat(path).optional()? else {
        return Ok(None);
    };
    if stat.kind != Kind::Directory {
        if let Some(neighbours) = neighbours {
            neighbours.check(&stat, path)?;
        }
        return Err(not_a_directory(path, &stat));
    }
    if error.kind() != Some(std::io::ErrorKind::PermissionDenied) {
        return Err(error);
    }
    // Another user keeps it closed: what it says cannot be read.
    Ok(Some(Found {
        contents: Some(Contents::Unreadable),
        owner: None,
        stat,
        path: path.to_path_buf(),
        directory: None,
        evidence: format!("{} {} ", stat.inode, stat.modified_ns).into_bytes(),
    }))
}

fn not_a_directory(path: &Path, stat: &Stat) -> Error {
    let followed = if stat.kind == Kind::Symlink {
        ", which is not followed"
    } else {
        ""
    };
    Error::argument(
        "path",
        format!(
            "'{}', which is {} of uid {}{followed}",
            path.display(),
            neighbours::describe(stat.kind),
            stat.uid
        ),
        &format!(
            "the path of a lock, which need not exist: lock '{}.lock' instead",
            path.display()
        ),
    )
    .at(path)
}

/// A directory that is ready to be published, and its owner record.
pub(super) struct Prepared {
    pub(super) path: PathBuf,
    pub(super) written: Written,
    directory: Directory,
}

impl Prepared {
    /// Gives the owner record a further name in the directory of the records.
    pub(super) fn link_owner(&self, records: &Directory, name: &OsStr, path: &Path) -> Result<()> {
        records.link(&self.directory, OsStr::new(OWNER), name, path)
    }
}

/// Makes a directory that is ready to be published.
pub(super) fn prepare(
    lock: &LockPath,
    prepared: &Path,
    owner: &[u8],
    neighbours: &Neighbours,
) -> Result<Prepared> {
    let directory = match take_spare(lock, prepared, neighbours) {
        Some(spare) => spare,
        None => shared::make_private_directory(prepared)?,
    };
    let path = prepared.join(OWNER);
    let mut file = directory.create_new(OsStr::new(OWNER), 0o644, &path)?;
    fs::write_all(&mut file, owner, &path)?;
    let written = Written::new(file, &path)?;
    written.set_mode(0o644, &path)?;
    Ok(Prepared {
        path: prepared.to_path_buf(),
        written,
        directory,
    })
}

/// The emptied spare under our own name; `None` where there is none that is a holder's and lets itself be emptied.
fn take_spare(lock: &LockPath, prepared: &Path, neighbours: &Neighbours) -> Option<Directory> {
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
        // One without an owner is nobody's spare.
        directory.remove_file(OsStr::new(OWNER), &prepared.join(OWNER))?;
        Ok(directory)
    });
    // A link, or a directory that is not ours: back to its place.
    emptied
        .inspect_err(|_| drop(shared::rename_new(prepared, &lock.spare())))
        .ok()
}

/// Gives the directory and its owner fresh times, for those who go by them.
pub(super) fn touch(lock: &LockPath) -> Result<()> {
    let directory = Directory::open(lock.directory())?;
    directory.touch(OsStr::new(OWNER), &lock.owner())?;
    directory.touch_own(lock.directory())
}

/// Moves our directory away: to be the next holder's, or where there is a spare already to where it is removed
/// once the lock is free: that path is returned.
pub(super) fn withdraw(lock: &LockPath) -> Option<PathBuf> {
    if shared::rename_new(lock.directory(), &lock.spare()).is_ok() {
        return None;
    }
    let tombstone = lock.tombstone();
    fs::rename(lock.directory(), &tombstone).ok().map(|()| tombstone)
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
    Directory::open(lock.directory())
        .and_then(|directory| directory.rename_into(&prepared.join(OWNER), OsStr::new(OWNER), &lock.owner()))
        .inspect_err(|_| {
            // Without an owner it would keep everybody out for a while.
            drop(fs::remove_directory(lock.directory()));
        })?;
    fs::remove_directory(prepared)?;
    Ok(true)
}

/// Moves what was found out of the way and removes it. `false` where it was no longer what was found: then
/// it is put back.
pub(super) fn bury(lock: &LockPath, found: &Found, neighbours: &Neighbours) -> Result<bool> {
    if fault::mutant("lock-check-then-remove") {
        return fs::remove_tree(lock.directory()).map(|()| true);
    }
    neighbours.check(&found.stat, lock.directory())?;
    // A name of its own for each: what cannot be emptied stays there.
    let tombstone = &*lock.tombstone();
    if fs::rename(lock.directory(), tombstone).optional()?.is_none() {
        return Ok(false);
    }
    let buried = is_what_was_found(found, tombstone).and_then(|is_it| {
        Ok(is_it
            && ((found.is_ours() && shared::rename_new(tombstone, &lock.spare()).is_ok())
                || discard(tombstone)?))
    });
    if !matches!(buried, Ok(true)) {
        put_back(lock, tombstone)?;
    }
    buried
}

fn is_what_was_found(found: &Found, tombstone: &Path) -> Result<bool> {
    let directory = Directory::open(tombstone)?;
    let owner = record::read_in(&directory, OsStr::new(OWNER), &tombstone.join(OWNER))?;
    let is_it = directory.own_stat(tombstone)?.inode == found.stat.inode
        && owner.map(|(bytes, _)| bytes) == found.owner;
    Ok(is_it
        && (fault::mutant("lock-remove-any-directory") || classify(&directory, tombstone)? == Extra::Nothing))
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
    if fault::mutant("lock-remove-any-directory") {
        return fs::remove_tree(path).map(|()| true);
    }
    let Some(directory) = Directory::open(path).optional()? else {
        return Ok(true);
    };
    if classify(&directory, path)? != Extra::Nothing {
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
        Err(_) => Ok(classify(&directory, path)? == Extra::Nothing),
    }
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
        assert!(look(&lock, None).expect("a look").is_none());
    }

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
            let found = match classify(&directory, root.path()).expect("a listing") {
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
