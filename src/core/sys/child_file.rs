//! Files that children inherit so that a lock is kept while one of them runs, on systems where a lock ends with the process
//! that has acquired it.

use std::path::Path;

use crate::core::error::{At as _, Code, Error, Result};
use crate::core::sys::call::call;
use crate::core::sys::platform::child_file;

pub use crate::core::sys::platform::ChildFile;

/// Whether a lock needs such a file. Where it does not, a child keeps the lock through the descriptor of the locked file.
pub fn is_needed() -> bool {
    child_file::IS_NEEDED
}

/// Creates such a file, which exists as long as it is open.
pub fn create(path: &Path) -> Result<ChildFile> {
    call("open", path, || child_file::create(path))
}

/// Whether a process has this file open.
pub fn is_open(path: &Path) -> Result<bool> {
    call("open", path, || child_file::is_open(path))
}

/// The descriptor that a child inherits. `ERR_UNSUPPORTED` in a program that does not export the functions of libuv.
pub fn descriptor(file: &ChildFile, path: &Path) -> Result<i32> {
    match file.descriptor() {
        Err(error) if error.kind() == std::io::ErrorKind::Unsupported => Err(Error::new(
            Code::Unsupported,
            "lock.childFd() needs a program that exports the functions of libuv, as node.exe does. Leave coverChildren out and keep this process running as long as its children",
        )),
        descriptor => descriptor.at("open", path),
    }
}
