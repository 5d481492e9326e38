//! The lock directory `K`, for programs that only know mkdir locks. It appears complete, with its owner file, and is
//! removed by one rename. Between processes that use warmswap it decides nothing.
//!
//! The path of a lock may be an ordinary directory (proper-lockfile and flock(1) are called with one). A directory is
//! therefore only taken over if it is empty, or contains an `owner.json` of a dead holder and nothing else.

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
/// A directory with more files is not a lock.
const MAX_FILES: usize = 3;
/// Largest file that another program's lock may contain, in bytes.
const SMALL: u64 = 65_536;
/// Entries that are listed. A directory with more is an ordinary directory.
pub(super) const MAX_LISTED: usize = 64;

#[derive(Debug)]
pub(super) struct LockDirectory {
    pub(super) contents: Option<Contents>,
    /// Content of the owner file and stat of the directory. Neither may have changed when the directory is moved away.
    owner: Option<Vec<u8>>,
    stat: Stat,
    path: PathBuf,
    /// `None` if this user has no read permission.
    directory: Option<Directory>,
    /// Bytes that change with any activity of the holder.
    pub(super) evidence: Vec<u8>,
}

/// Entries besides `owner.json`. Leftovers of programs and filesystems are ignored.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Extra {
    Nothing,
    /// A few small files. It may be another program's lock.
    Files(Vec<String>),
    /// Any other content. It is not a lock.
    Folder(Vec<String>),
}

impl LockDirectory {
    /// Whether its owner is a holder that uses warmswap.
    pub(super) fn has_record(&self) -> bool {
        matches!(self.contents, Some(Contents::Record(_)))
    }

    /// Whether its owner cannot be determined.
    pub(super) fn is_unreadable(&self) -> bool {
        matches!(self.contents, Some(Contents::Unreadable | Contents::Blank))
    }

    /// Fails with `ERR_UNTRUSTED` if it belongs to an untrusted user.
    pub(super) fn check(&self, neighbours: &Neighbours) -> Result<()> {
        neighbours.check(&self.stat, &self.path)
    }

    pub(super) fn is_trusted_by(&self, neighbours: &Neighbours) -> bool {
        neighbours.trusts(&self.stat)
    }

    /// Other entries of the directory.
    pub(super) fn extra(&self) -> Result<Extra> {
        match &self.directory {
            Some(directory) if !fault::is_seeded("lock-remove-any-directory") => {
                Extra::of(directory, &self.path)
            }
            _ => Ok(Extra::Nothing),
        }
    }

    /// Fails with `ERR_INVALID_ARGUMENT` if this is an ordinary directory.
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
                "'{}' is an ordinary directory (it contains {})",
                self.path.display(),
                listed(names)
            ),
            &format!(
                "a lock path, which does not have to exist. Use '{}.lock' instead",
                self.path.display()
            ),
        )
        .at(&self.path)
    }

    /// Human-readable explanation of why a directory is never taken over.
    pub(super) fn note(&self, names: &[String]) -> String {
        let path = self.path.display();
        let what = if names.is_empty() {
            format!("'{path}/{OWNER}' cannot be read as the owner of a lock")
        } else {
            format!("'{path}' contains {}", listed(names))
        };
        format!(
            "{what}. It may be another program's lock, so warmswap waits until it is removed and never removes it. If no program uses it, remove it. To lock a directory, use the lock path '{path}.lock'"
        )
    }

    /// Whether this directory is now at another path, unchanged and without additional entries.
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
    /// Reads the entries of an open directory.
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

/// Files that appear in a directory without belonging to it.
fn is_ignored(name: &OsStr) -> bool {
    let Some(name) = name.to_str() else { return false };
    name == ".DS_Store"
        || [".nfs", ".fuse_hidden", ".warmswap-spool-"]
            .iter()
            .any(|prefix| name.starts_with(prefix))
        || (name.starts_with("owner.json.") && name.ends_with("tmp"))
        || Neighbour::parse(name) == Some(Neighbour::Temporary)
}

/// Reads the lock directory. Returns `None` if there is none. A file or a link at its path is an error.
pub(super) fn read(lock: &LockPath, neighbours: Option<&Neighbours>) -> Result<Option<LockDirectory>> {
    read_at(lock.directory(), neighbours)
}

/// Like [`read`], for a directory at another path.
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

/// Handles a path that cannot be opened as a directory.
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
    // Another user has removed the read permission, so its content is unknown.
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
            "'{}' is {} of uid {}{followed}",
            path.display(),
            neighbours::describe(stat.kind),
            stat.uid
        ),
        &format!(
            "a lock path, which does not have to exist. Use '{}.lock' instead",
            path.display()
        ),
    )
    .at(path)
}

/// Updates the times of the directory and its owner file, for programs that use them.
pub(super) fn touch(lock: &LockPath) -> Result<()> {
    let directory = Directory::open(lock.directory())?;
    directory.touch(OsStr::new(OWNER), &lock.owner())?;
    directory.touch_own(lock.directory())
}
