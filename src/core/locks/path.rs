//! The names of a lock's files. All of them are neighbours of the lock directory, so that a rename never
//! leaves its filesystem and a cleared lock directory takes nothing of the protocol with it.

use std::path::{Path, PathBuf};

use crate::core::error::{Error, Optional as _, Result};
use crate::core::sys::filesystem::{self, Filesystem};
use crate::core::sys::fs;
use crate::core::sys::path::Root;

/// Longest name of a lock: the longest neighbour, `.<name>.<uuid>.next.tmp`, must stay below 255 bytes.
pub(super) const MAX_NAME_BYTES: usize = 200;

/// One lock, by the path of its directory.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LockPath {
    path: PathBuf,
    name: String,
}

impl LockPath {
    /// Checks the path that a user gave.
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
                "the path of a lock directory, which ends in a name",
            ));
        };
        if name.len() > MAX_NAME_BYTES {
            return Err(Error::argument(
                "path",
                format!("'{}', whose name has {} bytes", path.display(), name.len()),
                "a name of at most 200 bytes; hash longer keys",
            ));
        }
        Ok(Self {
            path: path.to_path_buf(),
            name: name.to_owned(),
        })
    }

    /// The lock directory: what other programs look at.
    pub fn directory(&self) -> &Path {
        &self.path
    }

    /// The directory it is in.
    pub fn parent(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("/"))
    }

    /// The filesystem it is on; makes the directory it is in.
    pub(super) fn filesystem(&self) -> Result<Filesystem> {
        if let Some(found) = filesystem::of(self.parent()).optional()? {
            return Ok(found);
        }
        fs::create_directories(self.parent())?;
        filesystem::of(self.parent())
    }

    /// The owner record inside of it.
    pub(super) fn owner(&self) -> PathBuf {
        self.path.join("owner.json")
    }

    pub(super) fn guard(&self) -> PathBuf {
        self.neighbour("guard")
    }

    pub(super) fn records(&self) -> PathBuf {
        self.neighbour("lease")
    }

    pub(super) fn observed(&self) -> PathBuf {
        self.neighbour("observed")
    }

    /// A prepared lock directory.
    pub(super) fn prepared(&self, token: &str) -> PathBuf {
        self.neighbour(&format!("{token}.tmp"))
    }

    /// The directory of the last holder, kept for the next one.
    pub(super) fn spare(&self) -> PathBuf {
        self.neighbour("spare")
    }

    /// A name for a lock directory on its way out, which nobody can foresee.
    pub(super) fn tombstone(&self) -> PathBuf {
        self.neighbour(&format!("{}.tomb", uuid::Uuid::new_v4()))
    }

    /// A name for the next version of a file that is about to be replaced, which nobody can foresee.
    pub(super) fn next(&self) -> PathBuf {
        self.neighbour(&format!("{}.next.tmp", uuid::Uuid::new_v4()))
    }

    fn neighbour(&self, what: &str) -> PathBuf {
        self.parent().join(format!(".{}.{what}", self.name))
    }
}

/// What a file beside lock directories is, told by its name alone.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Neighbour<'name> {
    /// What the lock of this name keeps.
    OfLock(&'name str),
    /// Made by one taking, and not meant to stay.
    Temporary,
}

impl<'name> Neighbour<'name> {
    /// `None` where the name is none of ours.
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

    #[test]
    fn a_lock_path_ends_in_a_name_that_fits() {
        let long = format!("/locks/{}", "k".repeat(300));
        for case in ["", "/", "relative", "/a/..", "/a\0b", long.as_str()] {
            assert!(LockPath::parse(case).is_err(), "{case:?} must be refused");
        }
        let lock = LockPath::parse("/locks/key.lock").expect("a path");
        assert_eq!(lock.guard(), Path::new("/locks/.key.lock.guard"));
    }

    #[test]
    fn a_neighbour_is_told_by_its_name() {
        let token = "ba4c63ce-d572-4434-843e-e874296731e2";
        let lock = LockPath::parse("/locks/a.b").expect("a path");
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
