//! Decides which entries of a directory may be changed.
//!
//! In a directory that every user may write to (`/tmp`), any entry can belong to another user. Such an entry may be
//! *read*: another user's lock counts. It must not be replayed, removed, renamed into, or trusted without reading it.
//! An entry is trusted if one of these conditions holds:
//!
//! * Its directory is not world-writable. (The group is trusted, because of umask 002, setgid and fsGroup.)
//! * It belongs to the owner of its directory, who can replace it anyway.
//! * It belongs to root.
//! * It belongs to this user.
//!
//! "This user" is the owner of a file that this process creates in that directory, not `geteuid()`. The two differ with
//! root squash, in user namespaces, and on CIFS and 9p. On a filesystem where all entries have the same owner, the
//! second condition makes all of them trusted.
//!
//! On Windows, the access rights of a directory decide whether every user may write to it, and the owner of an entry is
//! its SID. SYSTEM, TrustedInstaller and the group of administrators count as root.
//!
//! In a user namespace, all users that it does not map appear as one uid (65534). In a sticky directory this uid proves
//! nothing, so the second and third conditions do not apply to it there.

use std::path::{Path, PathBuf};
use std::sync::{LazyLock, OnceLock};

use crate::core::error::{Code, Error, Result};
use crate::core::sys::fs::{self, Stat};
use crate::core::sys::identity;
use crate::core::sys::platform::users;

const STICKY: u32 = 0o1000;
const ROOT: u32 = 0;

/// Uid of all users that this user namespace does not map. `None` if all users are mapped.
static UNMAPPED: LazyLock<Option<u32>> = LazyLock::new(users::unmapped);

/// A directory whose entries are judged by their owner.
#[derive(Debug)]
pub struct Surroundings {
    directory: PathBuf,
    stat: Stat,
    this_user: OnceLock<u32>,
}

impl Surroundings {
    /// Reads owner and mode of a directory. Links are followed.
    pub fn of(directory: &Path) -> Result<Self> {
        Ok(Self::new(directory, fs::stat_followed(directory)?))
    }

    /// Uses the stat of an open directory.
    pub fn new(directory: &Path, stat: Stat) -> Self {
        Self {
            directory: directory.to_path_buf(),
            stat,
            this_user: OnceLock::new(),
        }
    }

    /// Uses an earlier result of [`Self::this_user`] for the same directory and process.
    #[must_use]
    pub fn with_this_user(self, uid: u32) -> Self {
        Self {
            this_user: OnceLock::from(uid),
            ..self
        }
    }

    /// Whether every user may write to this directory, so that its entries have to be judged by their owner.
    pub fn anyone_may_write(&self) -> bool {
        self.stat.others_may_write
    }

    /// Whether an entry of this directory may be replayed, removed, renamed into, or trusted without reading it.
    pub fn trusts(&self, entry: &Stat) -> bool {
        if !self.anyone_may_write() {
            return true;
        }
        let proves_owner = self.stat.mode & STICKY == 0 || Some(entry.uid) != *UNMAPPED;
        (proves_owner && (entry.uid == self.stat.uid || entry.uid == ROOT)) || entry.uid == self.this_user()
    }

    /// Fails with the path and its owner if the entry is not trusted.
    pub fn check(&self, entry: &Stat, path: &Path) -> Result<()> {
        if self.trusts(entry) {
            return Ok(());
        }
        Err(Error::new(
            Code::Untrusted,
            format!(
                "'{}' belongs to another user (uid {}) and is in a directory that everybody may write to. Remove it, or use your own directory",
                path.display(),
                entry.uid
            ),
        )
        .at(path))
    }

    /// Owner of a file that this process creates here.
    pub fn this_user(&self) -> u32 {
        *self.this_user.get_or_init(|| {
            fs::anonymous(&self.directory)
                .and_then(|file| fs::stat_file(&file, &self.directory))
                .map_or_else(|_| identity::effective_uid(), |stat| stat.uid)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owned(stat: Stat, uid: u32) -> Stat {
        Stat { uid, ..stat }
    }

    #[test]
    fn an_entry_is_trusted_by_its_owner_or_by_its_directory() {
        let root = tempfile::tempdir().expect("a temporary directory");
        let stat = fs::stat(root.path()).expect("lstat");
        let me = stat.uid;
        let directory = |mode: u32, uid| {
            let others_may_write = mode & 0o002 != 0;
            Surroundings::new(
                root.path(),
                Stat {
                    mode,
                    uid,
                    others_may_write,
                    ..stat
                },
            )
        };
        for mode in [0o755, 0o775, 0o2775, 0o700] {
            assert!(
                directory(mode, 7).trusts(&owned(stat, 12345)),
                "{mode:o} is not world-writable"
            );
        }
        for mode in [0o1777, 0o777] {
            for (uid, trusted) in [(12345, false), (0, true), (7, true), (me, true)] {
                assert_eq!(
                    directory(mode, 7).trusts(&owned(stat, uid)),
                    trusted,
                    "{mode:o} {uid}"
                );
            }
        }
        let error = directory(0o1777, 0)
            .check(&owned(stat, 12345), root.path())
            .expect_err("a stranger's");
        assert_eq!(error.code, Code::Untrusted);
        assert!(error.message.contains("uid 12345"), "{}", error.message);
    }
}
