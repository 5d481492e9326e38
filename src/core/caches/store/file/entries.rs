//! Entries of a folder store: the directories that lead to an object, and the object itself.

use std::ffi::OsStr;

use crate::core::archives::shared_directory::SharedDirectory;
use crate::core::caches::store::object::ObjectMeta;
use crate::core::error::{Code, Error, Result};
use crate::core::sys::fs;

/// Size of one read or write: large enough that system calls do not matter, small enough for several in memory.
pub(super) const CHUNK_BYTES: u64 = 1024 * 1024;

/// What an operation does below the root.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Changes nothing.
    Read,
    /// Removes objects. No directory on the path may belong to an untrusted user.
    Change,
    /// Writes objects. Missing directories are created.
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

/// Names a symbolic link in the error, because the kernel only reports that it is not a directory.
pub(super) fn explain(parent: &SharedDirectory, name: &OsStr, error: Error) -> Error {
    let is_link = parent
        .stat(name)
        .is_ok_and(|stat| stat.is_some_and(|stat| stat.kind == fs::Kind::Symlink));
    if !is_link {
        return error;
    }
    let path = parent.path.join(name);
    let message = format!(
        "'{}' is a symbolic link, and links inside a store are not followed. Open the store at the target of the link, or mount that directory here",
        path.display()
    );
    Error::new(Code::Unsupported, message).at(&path)
}

pub(super) fn object_meta(path: &str, stat: &fs::Stat) -> ObjectMeta {
    ObjectMeta {
        path: path.to_owned(),
        size: stat.size,
        // Built like the ETags of web servers. A rename changes the inode, and a rewrite changes the time.
        etag: format!("\"{:x}-{:x}-{:x}\"", stat.inode, stat.modified_ns, stat.size),
        modified_ms: u64::try_from(stat.modified_ns / 1_000_000).unwrap_or(0),
    }
}
