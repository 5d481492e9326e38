//! The lock directory `K`, for programs that only know mkdir locks: it appears finished, with its owner, and
//! leaves in one rename. Between users of this library it decides nothing.
//!
//! The path of a lock may be an ordinary folder (proper-lockfile and flock(1) are called with one). So a directory is
//! only taken over if it is empty, or holds an `owner.json` of a dead holder and nothing else.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::neighbours::{self, Neighbours};
use super::path::{LockPath, Neighbour};
use super::record::{self, Contents};
use crate::core::error::{Error, Optional as _, Result};
use crate::core::sys::dir::Directory;
use crate::core::sys::fault;
use crate::core::sys::fs::{self, Kind, Stat};

pub(super) const OWNER: &str = "owner.json";
/// A directory with more files than these is no lock.
const MAX_FILES: usize = 3;
/// Largest file that another program's lock may have, in bytes.
const SMALL: u64 = 65_536;
/// Entries that are listed: one with more is an ordinary folder.
pub(super) const MAX_LISTED: usize = 64;

/// What is at the path of a lock.
#[derive(Debug)]
pub(super) struct LockDirectory {
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

impl LockDirectory {
    /// Of a holder of this library.
    pub(super) fn has_record(&self) -> bool {
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
            Some(directory) if !fault::is_seeded("lock-remove-any-directory") => {
                Extra::of(directory, &self.path)
            }
            _ => Ok(Extra::Nothing),
        }
    }

    /// `ERR_INVALID_ARGUMENT` with the way out if this is an ordinary folder.
    pub(super) fn refuse_folder(&self) -> Result<()> {
        if self.has_record() {
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

    /// Whether this directory is now at another path, with nothing changed or added.
    pub(super) fn is_now_at(&self, path: &Path) -> Result<bool> {
        let directory = Directory::open(path)?;
        let owner = record::read_in(&directory, OsStr::new(OWNER), &path.join(OWNER))?;
        let is_it =
            directory.own_stat(path)?.inode == self.stat.inode && owner.map(|(bytes, _)| bytes) == self.owner;
        Ok(is_it
            && (fault::is_seeded("lock-remove-any-directory")
                || Extra::of(&directory, path)? == Extra::Nothing))
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

impl Extra {
    /// What an open directory holds.
    pub(super) fn of(directory: &Directory, path: &Path) -> Result<Self> {
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
            Self::Folder(names)
        } else if names.is_empty() {
            Self::Nothing
        } else {
            Self::Files(names)
        })
    }
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

/// Reads the lock directory; `None` if there is none. A file or a link at its path is an error, not a lock.
pub(super) fn read(lock: &LockPath, neighbours: Option<&Neighbours>) -> Result<Option<LockDirectory>> {
    read_at(lock.directory(), neighbours)
}

/// As [`read`], for a directory that may have another name.
pub(super) fn read_at(path: &Path, neighbours: Option<&Neighbours>) -> Result<Option<LockDirectory>> {
    let directory = match Directory::open(path) {
        Ok(directory) => directory,
        Err(error) if error.is_not_found() => return Ok(None),
        Err(error) => return read_closed(path, neighbours, error),
    };
    let stat = directory.own_stat(path)?;
    let owner = path.join(OWNER);
    let touched = directory
        .stat(OsStr::new(OWNER), &owner)
        .map_or(0, |stat| stat.modified_ns);
    let (bytes, contents) = record::read_in(&directory, OsStr::new(OWNER), &owner)?.unzip();
    let mut evidence = format!("{} {} {touched} ", stat.inode, stat.modified_ns).into_bytes();
    evidence.extend(bytes.iter().flatten());
    Ok(Some(LockDirectory {
        contents,
        owner: bytes,
        stat,
        path: path.to_path_buf(),
        directory: Some(directory),
        evidence,
    }))
}

/// At what cannot be opened as a directory.
fn read_closed(path: &Path, neighbours: Option<&Neighbours>, error: Error) -> Result<Option<LockDirectory>> {
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
    Ok(Some(LockDirectory {
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

/// Gives the directory and its owner fresh times, for those who go by them.
pub(super) fn touch(lock: &LockPath) -> Result<()> {
    let directory = Directory::open(lock.directory())?;
    directory.touch(OsStr::new(OWNER), &lock.owner())?;
    directory.touch_own(lock.directory())
}
