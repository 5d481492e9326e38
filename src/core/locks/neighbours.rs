//! Ownership of the entries next to a lock. In a shared directory such as `/tmp`, every user may create some.
//!
//! Another user's record or lock directory counts when it is read. Only an entry that [`Surroundings`] trusts is moved,
//! removed or reused.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use crate::core::error::{Error, Result};
use crate::core::sys::fs::{self, Kind, Stat};
use crate::core::sys::sync::Mutex;
use crate::core::sys::trust::Surroundings;
use crate::core::sys::{errno, identity};

/// Device and inode of a directory, and the effective user of the caller.
type OwnerKey = (u64, u64, u32);

/// Uid of the entries that this process creates in a directory. Finding it takes three system calls.
static THIS_USER: LazyLock<Mutex<HashMap<OwnerKey, u32>>> = LazyLock::new(Mutex::default);
const MAX_KNOWN: usize = 1024;

/// Directory that contains a lock.
#[derive(Debug)]
pub(super) struct Neighbours {
    directory: PathBuf,
    stat: Stat,
}

impl Neighbours {
    /// `stat` is the stat of the directory, with links followed.
    pub(super) fn new(directory: &Path, stat: Stat) -> Self {
        Self {
            directory: directory.to_path_buf(),
            stat,
        }
    }

    pub(super) fn of(directory: &Path) -> Result<Self> {
        Ok(Self::new(directory, fs::stat_followed(directory)?))
    }

    /// Whether other users may create entries here.
    pub(super) fn anyone_may_write(&self) -> bool {
        Surroundings::new(&self.directory, self.stat).anyone_may_write()
    }

    pub(super) fn trusts(&self, entry: &Stat) -> bool {
        self.surroundings().trusts(entry)
    }

    /// Fails with `ERR_UNTRUSTED`, the path and its owner if the entry is not trusted.
    pub(super) fn check(&self, entry: &Stat, path: &Path) -> Result<()> {
        self.surroundings().check(entry, path)
    }

    fn surroundings(&self) -> Surroundings {
        let surroundings = Surroundings::new(&self.directory, self.stat);
        if !surroundings.anyone_may_write() {
            return surroundings;
        }
        let key = (self.stat.device, self.stat.inode, identity::effective_uid());
        let mut known = THIS_USER.lock();
        if known.len() >= MAX_KNOWN {
            known.clear();
        }
        let uid = *known.entry(key).or_insert_with(|| surroundings.this_user());
        surroundings.with_this_user(uid)
    }
}

/// Replaces the error of an `open` that failed because of the kind of entry at the path. The new error is
/// `ERR_UNTRUSTED` if the entry belongs to another user. Otherwise it names the kind of the entry.
pub(super) fn explain(
    error: Error,
    path: &Path,
    what: &str,
    expected: Kind,
    neighbours: Option<&Neighbours>,
) -> Error {
    let is_of_the_entry = errno::is_wrong_kind(&error)
        || matches!(
            error.kind(),
            Some(ErrorKind::NotADirectory | ErrorKind::PermissionDenied)
        );
    if !is_of_the_entry {
        return error;
    }
    let Ok(stat) = fs::stat(path) else { return error };
    if let Some(Err(untrusted)) = neighbours.map(|neighbours| neighbours.check(&stat, path)) {
        return untrusted;
    }
    if stat.kind == expected {
        return error;
    }
    Error::argument(
        "path",
        format!(
            "its {what} '{}' is {} of uid {}",
            path.display(),
            describe(stat.kind),
            stat.uid
        ),
        &format!(
            "{} or no entry at that path. Remove it, or use another lock path",
            describe(expected)
        ),
    )
    .at(path)
}

pub(super) fn describe(kind: Kind) -> &'static str {
    match kind {
        Kind::File => "a file",
        Kind::Directory => "a directory",
        Kind::Symlink => "a symbolic link",
        Kind::Other => "a pipe, socket or device",
    }
}
