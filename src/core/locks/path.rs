//! Names of a lock's files. All of them are next to the lock directory. A rename then stays on one filesystem, and
//! deleting the lock directory removes no other file of the protocol.

use std::path::{Path, PathBuf};

use crate::core::error::{Error, Optional as _, Result};
use crate::core::sys::filesystem::{self, Filesystem};
use crate::core::sys::fs;
use crate::core::sys::path::Root;

/// Longest name of a lock. The longest file name, `.<name>.<uuid>.next.tmp`, must stay below 255 bytes.
pub(super) const MAX_NAME_BYTES: usize = 200;

/// A lock, identified by the path of its directory.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LockPath {
    path: PathBuf,
    name: String,
}

impl LockPath {
    /// Parses and checks the path of a lock.
    pub fn parse(text: &str) -> Result<Self> {
        let root = Root::parse("path", text)?;
        Self::from_path(root.as_path())
    }

    pub(super) fn from_path(path: &Path) -> Result<Self> {
        let name = path.file_name().and_then(|name| name.to_str());
        let (Some(name), Some(_)) = (name, path.parent()) else {
            return Err(Error::argument(
                "path",
                format!("'{}'", path.display()),
                "a path that ends in a name",
            ));
        };
        if name.len() > MAX_NAME_BYTES {
            return Err(Error::argument(
                "path",
                format!("the name in '{}' has {} bytes", path.display(), name.len()),
                "a name of at most 200 bytes. Hash longer keys",
            ));
        }
        Ok(Self {
            path: path.to_path_buf(),
            name: name.to_owned(),
        })
    }

    /// The lock directory, which other programs check.
    pub fn directory(&self) -> &Path {
        &self.path
    }

    /// Directory that contains it.
    pub fn parent(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("/"))
    }

    /// Filesystem of the lock. Creates the parent directory if it is missing.
    pub(super) fn filesystem(&self) -> Result<Filesystem> {
        if let Some(found) = filesystem::of(self.parent()).optional()? {
            return Ok(found);
        }
        fs::create_directories(self.parent())?;
        filesystem::of(self.parent())
    }

    /// Owner file in the lock directory.
    pub(super) fn owner(&self) -> PathBuf {
        self.path.join("owner.json")
    }

    pub(super) fn guard(&self) -> PathBuf {
        self.neighbour("guard")
    }

    pub(super) fn records(&self) -> PathBuf {
        self.neighbour("lease")
    }

    /// What the children of one holder keep open, where they cannot keep its lock.
    pub(super) fn children(&self, token: &str) -> PathBuf {
        self.records().join(format!("{token}.children"))
    }

    pub(super) fn observed(&self) -> PathBuf {
        self.neighbour("observed")
    }

    /// A prepared lock directory.
    pub(super) fn prepared(&self, token: &str) -> PathBuf {
        self.neighbour(&format!("{token}.tmp"))
    }

    /// Directory of the last holder, kept for the next one.
    pub(super) fn spare(&self) -> PathBuf {
        self.neighbour("spare")
    }

    /// Unpredictable name for a lock directory that is being removed.
    pub(super) fn tombstone(&self) -> PathBuf {
        self.neighbour(&format!("{}.tomb", uuid::Uuid::new_v4()))
    }

    /// Unpredictable name for the next version of a file that is about to be replaced.
    pub(super) fn next(&self) -> PathBuf {
        self.neighbour(&format!("{}.next.tmp", uuid::Uuid::new_v4()))
    }

    fn neighbour(&self, what: &str) -> PathBuf {
        self.parent().join(format!(".{}.{what}", self.name))
    }
}

/// Kind of a file next to lock directories, derived from its name alone.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Neighbour<'name> {
    /// A permanent file of the lock with this name.
    OfLock(&'name str),
    /// A temporary file of one acquisition.
    Temporary,
}

impl<'name> Neighbour<'name> {
    /// Parses a name. Returns `None` if it does not belong to a lock.
    pub(super) fn parse(name: &'name str) -> Option<Self> {
        let name = name.strip_prefix('.')?;
        let kept = [".guard", ".lease", ".spare"];
        if let Some(lock) = kept.iter().find_map(|ending| name.strip_suffix(ending)) {
            return Some(Self::OfLock(lock));
        }
        let stem = name.strip_suffix(".tomb").or_else(|| name.strip_suffix(".tmp"))?;
        let stem = stem.strip_suffix(".next").unwrap_or(stem);
        let (_, token) = stem.rsplit_once('.')?;
        uuid::Uuid::try_parse(token).ok().map(|_| Self::Temporary)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: &str = if cfg!(windows) { "C:/" } else { "/" };

    #[test]
    fn a_lock_path_ends_in_a_name_of_limited_length() {
        let long = "k".repeat(300);
        for case in ["", "a/..", "a\0b", long.as_str()].map(|case| format!("{ROOT}{case}")) {
            assert!(LockPath::parse(&case).is_err(), "{case:?} must be refused");
        }
        for case in ["", "relative"] {
            assert!(LockPath::parse(case).is_err(), "{case:?} must be refused");
        }
        let lock = LockPath::parse(&format!("{ROOT}locks/key.lock")).expect("a path");
        assert_eq!(lock.guard(), Path::new(ROOT).join("locks/.key.lock.guard"));
    }

    #[test]
    fn the_kind_of_a_neighbour_follows_from_its_name() {
        let token = "ba4c63ce-d572-4434-843e-e874296731e2";
        let lock = LockPath::parse(&format!("{ROOT}locks/a.b")).expect("a path");
        let name = |path: PathBuf| path.file_name().expect("a name").to_string_lossy().into_owned();
        for path in [lock.prepared(token), lock.tombstone(), lock.next()] {
            assert_eq!(Neighbour::parse(&name(path)), Some(Neighbour::Temporary));
        }
        assert_eq!(
            Neighbour::parse(&name(lock.records())),
            Some(Neighbour::OfLock("a.b"))
        );
        for foreign in ["a.b", ".notes.tmp", ".gitignore", "x.guard"] {
            assert_eq!(Neighbour::parse(foreign), None, "{foreign}");
        }
    }
}
