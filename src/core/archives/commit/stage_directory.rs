//! The directory of a stage, `.warmswap-stage-…`: creates it, finds it again after its process died, and removes it.
//!
//! Any user that may write to the parent directory can create such a directory. It is used only if it is exactly what
//! this module creates: a trusted directory that contains only trusted files and directories with the known names. Any
//! other entry with such a name is ignored.

use std::ffi::{OsStr, OsString};
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use crate::core::error::{Code, Error, Optional as _, Result};
use crate::core::sys::fs::{Kind, Stat};
use crate::core::sys::lock_file::{Attempt, Check, LockOptions, LockedFile};
use crate::core::sys::{clock, errno};

use crate::core::archives::shared_directory::SharedDirectory;

const PREFIX: &str = ".warmswap-stage-";
const RANDOM_DIGITS: usize = 12;
const OWNER: &str = "owner";
const KINDS: [(&str, Kind); 5] = [
    (JOURNAL, Kind::File),
    (NEW_JOURNAL, Kind::File),
    (OLD, Kind::Directory),
    (TREE, Kind::Directory),
    (DONE, Kind::File),
];
pub(super) const JOURNAL: &str = "journal";
pub(super) const NEW_JOURNAL: &str = "journal.new";
pub(super) const OLD: &str = "old";
pub(super) const TREE: &str = "tree";
pub(super) const DONE: &str = "done";

/// Age at which a stage counts as left over, on a filesystem without locks.
const LOCKLESS_AFTER: Duration = Duration::from_hours(24);

/// An open stage directory, with its lock.
#[derive(Debug)]
pub(super) struct StageDirectory {
    parent: Arc<SharedDirectory>,
    name: OsString,
    pub(super) opened: SharedDirectory,
    #[expect(dead_code, reason = "held for its lock")]
    owner: LockedFile,
}

impl StageDirectory {
    /// Creates a stage directory in `parent` and locks it. A sweep that sees it before it is locked treats it as left
    /// over and removes it. Then another one is created.
    pub(super) fn create(parent: &Arc<SharedDirectory>, target: &OsStr) -> Result<Self> {
        for _ in 0..10 {
            let id = Uuid::new_v4().simple().to_string();
            let name = OsString::from(format!("{}{}", prefix(target), &id[..RANDOM_DIGITS]));
            let path = parent.path.join(&name);
            match parent.directory.make_directory(&name, 0o700, &path) {
                Err(error) if error.is_exists() => continue,
                made => made?,
            }
            // Without the sticky bit, another user can replace it with a different directory.
            let Some(opened) = parent.open_trusted(&name).optional()? else {
                continue;
            };
            let lock = path.join(OWNER);
            let options = LockOptions::inside(&opened.directory, OWNER.as_ref(), &lock);
            // On a filesystem without locks, stages are swept by age.
            let made = options.create_new(0o600).check(Check::None).even_without_locks();
            let Some(Attempt::Locked(owner)) = made.try_lock().optional()? else {
                continue;
            };
            if opened.stat(OWNER.as_ref())?.is_some() {
                return Ok(Self {
                    parent: Arc::clone(parent),
                    name,
                    opened,
                    owner,
                });
            }
        }
        let message = format!(
            "Stages in '{}' are removed as soon as they are created. Check which program removes them",
            parent.path.display()
        );
        Err(Error::new(Code::Io, message))
    }

    /// Names of a target's stages in `parent`.
    pub(super) fn names(parent: &SharedDirectory, target: &OsStr) -> Result<Vec<OsString>> {
        let prefix = prefix(target);
        let entries = parent.directory.entries(&parent.path)?;
        let names = entries.into_iter().map(|entry| entry.name);
        Ok(names
            .filter(|name| name.to_str().is_some_and(|name| is_name(name, &prefix)))
            .collect())
    }

    /// Opens and locks a stage whose process is dead. Returns `None` if the process is alive, or if an untrusted user
    /// or another program created the directory.
    pub(super) fn open_dead(parent: &Arc<SharedDirectory>, name: OsString) -> Result<Option<Self>> {
        let Some(opened) = ignore_foreign(parent.open(&name))? else {
            return Ok(None);
        };
        if !parent.trusts(&opened.stat) {
            return Ok(None);
        }
        let lock = opened.path.join(OWNER);
        let options = LockOptions::inside(&opened.directory, OWNER.as_ref(), &lock);
        let options = options.writable().check(Check::None).even_without_locks();
        let owner = match opened.stat(OWNER.as_ref())? {
            Some(owner) if owner.kind == Kind::File && opened.trusts(&owner) => {
                ignore_foreign(options.open())?.flatten()
            }
            Some(_) => None,
            None => {
                // That file is created first and removed last, so an empty directory has no owner.
                drop(parent.directory.remove_directory(&name, &opened.path));
                None
            }
        };
        let Some(owner) = owner else {
            return Ok(None);
        };
        let Attempt::Locked(owner) = options.attempt(owner)? else {
            return Ok(None);
        };
        let is_dead = owner.has_lock() || is_older(&opened.stat, LOCKLESS_AFTER);
        let stage_directory = Self {
            parent: Arc::clone(parent),
            name,
            opened,
            owner,
        };
        Ok((is_dead && stage_directory.is_as_made()?).then_some(stage_directory))
    }

    /// Whether it contains only known and trusted entries.
    fn is_as_made(&self) -> Result<bool> {
        for (name, kind) in KINDS {
            if let Some(stat) = self.opened.stat(name.as_ref())?
                && (stat.kind != kind || !self.opened.trusts(&stat))
            {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Path of an entry, for messages.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.opened.path.join(name)
    }

    /// Directory that contains the stage: the parent of the target, or the target itself.
    pub(super) fn parent(&self) -> &SharedDirectory {
        &self.parent
    }

    /// Whether it has an entry with this name.
    pub(super) fn has(&self, name: &str) -> Result<bool> {
        Ok(self.opened.stat(name.as_ref())?.is_some())
    }

    /// Removes the journal. Without it, nothing is rolled back.
    pub(super) fn forget_journal(&self) -> Result<()> {
        for name in [JOURNAL, NEW_JOURNAL] {
            self.remove_file(name)?;
        }
        Ok(())
    }

    /// Removes the stage in an order that can be interrupted anywhere. The journal is removed first. The owner file is
    /// removed last, because it marks the stage as left over.
    pub(super) fn remove(&self) -> Result<()> {
        self.forget_journal()?;
        for name in [OLD, TREE] {
            self.opened
                .directory
                .remove_tree(name.as_ref(), &self.path(name))?;
        }
        for name in [DONE, OWNER] {
            self.remove_file(name)?;
        }
        let removed = self
            .parent
            .directory
            .remove_directory(&self.name, &self.opened.path);
        removed.optional().map(drop)
    }

    fn remove_file(&self, name: &str) -> Result<()> {
        let removed = self.opened.directory.remove_file(name.as_ref(), &self.path(name));
        removed.optional().map(drop)
    }
}

/// Converts the error for a directory of another program or user to `None`.
fn ignore_foreign<T>(opened: Result<T>) -> Result<Option<T>> {
    match opened {
        Err(error)
            if error.is_not_found()
                || errno::is_wrong_kind(&error)
                || matches!(
                    error.kind(),
                    Some(
                        ErrorKind::NotADirectory
                            | ErrorKind::PermissionDenied
                            | ErrorKind::ReadOnlyFilesystem
                    )
                ) =>
        {
            Ok(None)
        }
        opened => opened.map(Some),
    }
}

fn is_older(stat: &Stat, age: Duration) -> bool {
    i128::try_from(age.as_nanos()).is_ok_and(|age| stat.changed_ns < i128::from(clock::wall_nanos()) - age)
}

/// Prefix of the names of this target's stages, independent of the length of the target's name.
fn prefix(target: &OsStr) -> String {
    let hash = blake3::hash(target.as_encoded_bytes()).to_hex();
    format!("{PREFIX}{}-", &hash[..16])
}

fn is_name(name: &str, prefix: &str) -> bool {
    name.strip_prefix(prefix).is_some_and(|random| {
        random.len() == RANDOM_DIGITS && random.bytes().all(|byte| byte.is_ascii_hexdigit())
    })
}
