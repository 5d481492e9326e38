//! Writes an object to a folder: a temporary file, the lock of all writers, the condition, and a rename.

use std::ffi::OsStr;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::entries::{CHUNK_BYTES, Purpose, object_meta, open_below};
use crate::core::archives::shared_directory::SharedDirectory;
use crate::core::caches::store::call_context::CallContext;
use crate::core::caches::store::failure::{InStore as _, StoreResult};
use crate::core::caches::store::interface::{MayShow, unshown};
use crate::core::caches::store::object::{Body, Condition};
use crate::core::error::{Code, Error, Result};
use crate::core::failure::{Cause, Failure};
use crate::core::sys::cancel::Cancel;
use crate::core::sys::deadline::Deadline;
use crate::core::sys::fs;
use crate::core::sys::lock_file::{Attempt, Check, LockOptions, LockedFile, Wait};

const LOCK_NAME: &str = ".warmswap-writers";
const TEMPORARY_DIRECTORY: &str = ".warmswap-tmp";
/// Prefix of temporary files next to an object, if the common directory cannot be used.
const TEMPORARY_PREFIX: &str = ".warmswap-tmp-";

/// Creates and locks a temporary file. First removes those of killed writers, because they are as large as objects.
pub(super) fn temporary(
    root: &SharedDirectory,
    object: &Arc<SharedDirectory>,
    cancel: &Cancel,
) -> Result<Temporary> {
    let name = OsStr::new(TEMPORARY_DIRECTORY);
    let _writers = exclude_writers(root, cancel)?;
    // If the directory for temporary files belongs to another user or is not a directory, the temporary file is created
    // next to the object.
    if let Ok(parent) = open_below(root, name, Purpose::Make)
        && let Ok(temporary) = Temporary::create(Arc::new(parent), "")
    {
        return Ok(temporary);
    }
    Temporary::create(Arc::clone(object), TEMPORARY_PREFIX)
}

pub(super) fn commit(
    root: &SharedDirectory,
    temporary: &Temporary,
    object: &Object<'_>,
    write: &Write,
    cancel: &Cancel,
) -> StoreResult<String> {
    let _writers = exclude_writers(root, cancel).in_store()?;
    let (parent, name, full) = (&object.parent, object.name, object.parent.path.join(object.name));
    let current = match parent.check(name).in_store()? {
        Some(stat) if stat.kind != fs::Kind::File => {
            let message = format!(
                "'{}' is not a regular file. Remove it, or use another key",
                full.display()
            );
            return Err(Failure::new(Cause::Other, message));
        }
        current => current.map(|stat| object_meta(object.path, &stat).etag),
    };
    let holds = match &write.condition {
        Condition::Always => true,
        Condition::Absent => current.is_none(),
        Condition::Version(wanted) => current.as_ref() == Some(wanted),
    };
    if !holds {
        return Err(Failure::new(
            Cause::Changed,
            format!("'{}' has another version", object.path),
        ));
    }
    cancel.check().in_store()?;
    // Sets the time explicitly. The kernel's own time is as old as its last tick, and freed inodes are reused. Two
    // objects of the same size that follow each other within a tick would have the same version.
    fs::touch_exactly(temporary.file.file(), &temporary.path).in_store()?;
    if !(write.may_show)() {
        return Err(unshown());
    }
    let from = &temporary.parent.directory;
    let renamed = from.rename(temporary.name.as_ref(), &parent.directory, name, &full);
    let stat = renamed
        .and_then(|()| parent.directory.stat(name, &full))
        .in_store()?;
    Ok(object_meta(object.path, &stat).etag)
}

/// Kernel lock of all writers on this machine. Dropping it releases the lock. A lock of another user is waited for like
/// one of this user.
fn exclude_writers(root: &SharedDirectory, cancel: &Cancel) -> Result<LockedFile> {
    let (name, path) = (OsStr::new(LOCK_NAME), root.path.join(LOCK_NAME));
    // The lock is held for two system calls, so a short pause costs less than a wake-up protocol.
    let wait = Wait {
        deadline: Deadline::NEVER,
        cancel,
        pause: Duration::from_millis(1),
        longest_pause: Duration::from_millis(1),
    };
    let options = LockOptions::inside(&root.directory, name, &path).or_create(0o666);
    loop {
        match options.lock(wait) {
            Ok(Attempt::Locked(locked)) => return Ok(locked),
            Ok(Attempt::Busy(_) | Attempt::Gone) => {}
            Err(error) if error.kind() == Some(ErrorKind::PermissionDenied) => {
                root.check(name)?;
                return Err(error);
            }
            Err(error) => return Err(error),
        }
    }
}

/// An object to be written.
pub(super) struct Object<'a> {
    pub(super) path: &'a str,
    pub(super) name: &'a OsStr,
    pub(super) parent: Arc<SharedDirectory>,
}

/// What is to be written.
pub(super) struct Write {
    pub(super) body: Body,
    pub(super) condition: Condition,
    pub(super) may_show: MayShow,
}

/// A file that becomes an object or is removed.
pub(super) struct Temporary {
    /// Locked until it is closed.
    file: LockedFile,
    parent: Arc<SharedDirectory>,
    name: String,
    path: PathBuf,
}

impl Temporary {
    fn create(parent: Arc<SharedDirectory>, prefix: &str) -> Result<Self> {
        sweep(&parent, prefix)?;
        let name = format!("{prefix}{}", uuid::Uuid::new_v4().simple());
        let path = parent.path.join(&name);
        let options = LockOptions::inside(&parent.directory, name.as_ref(), &path).create_new(0o644);
        let Attempt::Locked(file) = options.check(Check::None).try_lock()? else {
            let message = format!("'{}' was locked by another process. Try again", path.display());
            return Err(Error::new(Code::Io, message).at(&path));
        };
        Ok(Self {
            file: file.until_closed(),
            parent,
            name,
            path,
        })
    }

    pub(super) fn fill(&mut self, body: &Body, context: &CallContext) -> Result<()> {
        match body {
            Body::Bytes(bytes) => {
                fs::write_all(self.file.file_mut(), bytes, &self.path)?;
                context.sent(bytes.len());
            }
            Body::Spool(spool) => {
                let mut offset = 0;
                while offset < spool.size {
                    context.cancel.check()?;
                    let end = (offset + CHUNK_BYTES).min(spool.size);
                    let bytes = spool.read(offset..end)?;
                    fs::write_all(self.file.file_mut(), &bytes, &self.path)?;
                    context.sent(bytes.len());
                    offset = end;
                }
            }
        }
        Ok(())
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // It no longer exists if it became an object. The next writer sweeps what cannot be removed.
        drop(self.parent.directory.remove_file(self.name.as_ref(), &self.path));
    }
}

/// Removes temporary files that no process has locked. Requires the writers' lock, under which a new one is locked.
fn sweep(parent: &SharedDirectory, prefix: &str) -> Result<()> {
    for entry in parent.directory.entries(&parent.path)? {
        if !entry.name.as_encoded_bytes().starts_with(prefix.as_bytes()) {
            continue;
        }
        let path = parent.path.join(&entry.name);
        let options = LockOptions::inside(&parent.directory, &entry.name, &path).check(Check::None);
        let Ok(Some(file)) = options.open() else { continue };
        // A file of another user may stay, because it disturbs no caller.
        if file.stat(&path).is_ok_and(|stat| parent.trusts(&stat))
            && let Ok(Attempt::Locked(_dead)) = options.attempt(file)
        {
            drop(parent.directory.remove_file(&entry.name, &path));
        }
    }
    Ok(())
}
