//! Directories that other users may write to as well: opened once, and judged before anything in them is changed.
//!
//! The path that the caller gives is followed once, links included. Below it no link is followed, and every call is
//! relative to an open directory. What may be changed there is decided by [`crate::core::sys::trust`].

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::core::error::{Code, Error, Optional as _, Result};
use crate::core::sys::dir::Directory;
use crate::core::sys::fs::{self, Kind, Stat};
use crate::core::sys::trust::Surroundings;

/// As many as the kernel follows.
const MAX_LINKS: usize = 40;

/// The caller's own path, with the links at its end followed. A link that a stranger made is an error.
pub(in crate::core) fn follow(path: &Path) -> Result<PathBuf> {
    let mut path = path.to_path_buf();
    for _ in 0..MAX_LINKS {
        let (Some(parent), Some(_)) = (path.parent(), path.file_name()) else {
            // The root, or the text of a link that ends in `..`.
            return fs::canonicalize(&path);
        };
        match fs::stat(&path).optional()? {
            Some(stat) if stat.kind == Kind::Symlink => {
                Surroundings::of(parent)?.check(&stat, &path)?;
                path = parent.join(fs::read_link(&path)?);
            }
            _ => return Ok(path),
        }
    }
    let message = format!("'{}' leads through more than {MAX_LINKS} links", path.display());
    Err(Error::new(Code::Io, message).at(&path))
}

/// An open directory, and whose entries count in it.
#[derive(Debug)]
pub(in crate::core) struct SharedDirectory {
    pub(in crate::core) directory: Directory,
    /// For messages, and for the calls that only read.
    pub(in crate::core) path: PathBuf,
    /// What it was when it was opened.
    pub(in crate::core) stat: Stat,
    around: Surroundings,
}

impl SharedDirectory {
    fn new(directory: Directory, path: PathBuf) -> Result<Self> {
        let stat = directory.own_stat(&path)?;
        Ok(Self {
            around: Surroundings::new(&path, stat),
            directory,
            path,
            stat,
        })
    }

    /// Opens a directory by the caller's own path.
    pub(in crate::core) fn open_followed(path: &Path) -> Result<Self> {
        Self::new(Directory::open_followed(path)?, path.to_path_buf())
    }

    /// Opens a directory in this one, to read what is in it.
    pub(in crate::core) fn open(&self, name: &OsStr) -> Result<Self> {
        let path = self.path.join(name);
        Self::new(self.directory.open_directory(name, &path)?, path)
    }

    /// Opens a directory in this one, to change what is in it: it must not be a stranger's.
    pub(in crate::core) fn open_trusted(&self, name: &OsStr) -> Result<Self> {
        let opened = self.open(name)?;
        self.expect_trusted(&opened.stat, &opened.path)?;
        Ok(opened)
    }

    /// What an entry is, if there is one.
    pub(in crate::core) fn stat(&self, name: &OsStr) -> Result<Option<Stat>> {
        self.directory.stat(name, &self.path.join(name)).optional()
    }

    /// Whether an entry may be removed, replaced or acted on.
    pub(in crate::core) fn trusts(&self, entry: &Stat) -> bool {
        self.around.trusts(entry) || crate::core::sys::fault::is_seeded("trust-strangers")
    }

    /// Fails with path and owner if a stranger's entry has this name. One that does not exist is fine.
    pub(in crate::core) fn check(&self, name: &OsStr) -> Result<Option<Stat>> {
        let stat = self.stat(name)?;
        if let Some(stat) = &stat {
            self.expect_trusted(stat, &self.path.join(name))?;
        }
        Ok(stat)
    }

    fn expect_trusted(&self, entry: &Stat, path: &Path) -> Result<()> {
        if self.trusts(entry) {
            return Ok(());
        }
        self.around.check(entry, path)
    }
}

/// The directory that a caller restores to or packs: its name in an open directory.
#[derive(Debug, Clone)]
pub(in crate::core) struct Target {
    pub(in crate::core) parent: Arc<SharedDirectory>,
    pub(in crate::core) name: OsString,
    /// The caller's path, with the links at its end followed.
    pub(in crate::core) path: PathBuf,
}

impl Target {
    /// Opens the directory that the target is in. An absent one is made if `makes_parent`, else not found.
    pub(in crate::core) fn open(path: &Path, makes_parent: bool) -> Result<Self> {
        let path = follow(path)?;
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(Error::argument(
                "into",
                format!("'{}'", path.display()),
                "a directory below another one",
            ));
        };
        if makes_parent {
            fs::create_directories(parent)?;
        }
        Ok(Self {
            parent: Arc::new(SharedDirectory::open_followed(parent)?),
            name: name.to_owned(),
            path,
        })
    }

    /// What it is, if it exists.
    pub(in crate::core) fn stat(&self) -> Result<Option<Stat>> {
        self.parent.stat(&self.name)
    }

    /// Opens the target.
    pub(in crate::core) fn open_directory(&self) -> Result<SharedDirectory> {
        self.parent.open(&self.name)
    }

    /// Whether something is mounted at an existing target.
    pub(in crate::core) fn is_mount(&self) -> Result<bool> {
        self.parent.directory.is_mount_root(&self.name, &self.path)
    }
}
