//! Directories that other users may also write to. They are opened once, and checked before anything in them is
//! changed.
//!
//! The path that the caller passes is followed once, including its links. Below it no link is followed, and every call
//! is relative to an open directory. [`crate::core::sys::trust`] decides what may be changed there.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::core::error::{Code, Error, Optional as _, Result};
use crate::core::sys::dir::Directory;
use crate::core::sys::fs::{self, Kind, Stat};
use crate::core::sys::trust::Surroundings;

/// Same limit as in the kernel.
const MAX_LINKS: usize = 40;

/// Follows the links at the end of the caller's own path. A link that an untrusted user created is an error.
pub(in crate::core) fn follow(path: &Path) -> Result<PathBuf> {
    let mut path = path.to_path_buf();
    for _ in 0..MAX_LINKS {
        let (Some(parent), Some(_)) = (path.parent(), path.file_name()) else {
            // The root directory, or a link whose text ends in `..`.
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
    let message = format!(
        "'{}' leads through more than {MAX_LINKS} symbolic links",
        path.display()
    );
    Err(Error::new(Code::Io, message).at(&path))
}

/// An open directory, and the check which entries in it are trusted.
#[derive(Debug)]
pub(in crate::core) struct SharedDirectory {
    pub(in crate::core) directory: Directory,
    /// Path, for messages and for calls that only read.
    pub(in crate::core) path: PathBuf,
    /// Stat of the directory when it was opened.
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

    /// Opens a directory in this one, to read its entries.
    pub(in crate::core) fn open(&self, name: &OsStr) -> Result<Self> {
        let path = self.path.join(name);
        Self::new(self.directory.open_directory(name, &path)?, path)
    }

    /// Opens a directory in this one, to change its entries. It must not belong to an untrusted user.
    pub(in crate::core) fn open_trusted(&self, name: &OsStr) -> Result<Self> {
        let opened = self.open(name)?;
        self.expect_trusted(&opened.stat, &opened.path)?;
        Ok(opened)
    }

    /// Stat of an entry, if it exists.
    pub(in crate::core) fn stat(&self, name: &OsStr) -> Result<Option<Stat>> {
        self.directory.stat(name, &self.path.join(name)).optional()
    }

    /// Whether an entry may be removed, replaced or acted on.
    pub(in crate::core) fn trusts(&self, entry: &Stat) -> bool {
        self.around.trusts(entry) || crate::core::sys::fault::is_seeded("trust-strangers")
    }

    /// Fails with path and owner if the entry belongs to an untrusted user. A missing entry is accepted.
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

/// Directory that a caller restores to or packs: its name in an open directory.
#[derive(Debug, Clone)]
pub(in crate::core) struct Target {
    pub(in crate::core) parent: Arc<SharedDirectory>,
    pub(in crate::core) name: OsString,
    /// Path of the caller, after following the links at its end.
    pub(in crate::core) path: PathBuf,
}

impl Target {
    /// Opens the parent directory of the target. A missing one is created if `makes_parent`, otherwise it is an error.
    pub(in crate::core) fn open(path: &Path, makes_parent: bool) -> Result<Self> {
        let path = follow(path)?;
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(Error::argument(
                "into",
                format!("'{}'", path.display()),
                "a directory that has a parent directory",
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

    /// Stat of the target, if it exists.
    pub(in crate::core) fn stat(&self) -> Result<Option<Stat>> {
        self.parent.stat(&self.name)
    }

    /// Opens the target.
    pub(in crate::core) fn open_directory(&self) -> Result<SharedDirectory> {
        self.parent.open(&self.name)
    }

    /// Whether an existing target is a mount point.
    pub(in crate::core) fn is_mount(&self) -> Result<bool> {
        self.parent.directory.is_mount_root(&self.name, &self.path)
    }
}
