//! Entries of a folder store: directories on the way to an object, and the object itself.

use std::ffi::OsStr;

use crate::core::archives::shared_directory::SharedDirectory;
use crate::core::caches::store::object::ObjectMeta;
use crate::core::error::{Code, Error, Result};
use crate::core::sys::fs;

/// Large enough that system calls do not count, small enough for several in memory.
pub(super) const CHUNK_BYTES: u64 = 1024 * 1024;

/// What is to be done below the root.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Nothing is changed.
    Read,
    /// Objects are removed: no directory on the way may be a stranger's.
    Change,
    /// Objects are written; directories that are missing are made.
    Make,
}

pub(super) fn open_below(
    parent: &SharedDirectory,
    name: &OsStr,
    purpose: Purpose,
) -> Result<SharedDirectory> {
    if purpose == Purpose::Make {
        match parent
            .directory
            .make_directory(name, 0o777, &parent.path.join(name))
        {
            Err(error) if error.is_exists() => {}
            made => made?,
        }
    }
    match purpose {
        Purpose::Read => parent.open(name),
        Purpose::Change | Purpose::Make => parent.open_trusted(name),
    }
}

/// Says that a link is not followed, where the kernel only says that it is no directory.
pub(super) fn explain(parent: &SharedDirectory, name: &OsStr, error: Error) -> Error {
    let is_link = parent
        .stat(name)
        .is_ok_and(|stat| stat.is_some_and(|stat| stat.kind == fs::Kind::Symlink));
    if !is_link {
        return error;
    }
    let path = parent.path.join(name);
    let message = format!(
        "'{}' is a symbolic link, and links inside a store are not followed. Open the store at the directory that it leads to, or mount that directory here",
        path.display()
    );
    Error::new(Code::Unsupported, message).at(&path)
}

pub(super) fn object_meta(path: &str, stat: &fs::Stat) -> ObjectMeta {
    ObjectMeta {
        path: path.to_owned(),
        size: stat.size,
        // As web servers make them: a rename brings a new inode, a rewrite a new time.
        etag: format!("\"{:x}-{:x}-{:x}\"", stat.inode, stat.modified_ns, stat.size),
        modified_ms: u64::try_from(stat.modified_ns / 1_000_000).unwrap_or(0),
    }
}
