//! The names of a lock's files. All of them are neighbours of the lock directory, so that a rename never
//! leaves its filesystem and a cleared lock directory takes nothing of the protocol with it.

use std::path::{Path, PathBuf};

use crate::core::error::{Error, Result};
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

    /// A lock directory on its way out.
    pub(super) fn tombstone(&self, token: &str) -> PathBuf {
        self.neighbour(&format!("{token}.tomb"))
    }

    /// The next version of a file that is about to be replaced.
    pub(super) fn next(&self, token: &str) -> PathBuf {
        self.neighbour(&format!("{token}.next.tmp"))
    }

    fn neighbour(&self, what: &str) -> PathBuf {
        self.parent().join(format!(".{}.{what}", self.name))
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
}
