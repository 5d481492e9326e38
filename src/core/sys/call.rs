//! Helpers for system calls, used by the files of this folder.

use std::io;
use std::path::Path;

use crate::core::error::{At as _, Result};
use crate::core::sys::fault;

/// Runs one system call. It is a fault injection point, is repeated if a signal interrupts it, and its error contains
/// operation and path.
pub(super) fn call<T>(op: &'static str, path: &Path, mut system: impl FnMut() -> io::Result<T>) -> Result<T> {
    loop {
        match fault::point(op, path).and_then(|()| system()) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result.at(op, path),
        }
    }
}

/// Fault injection point before calls that std makes and repeats itself.
pub(super) fn point(op: &'static str, path: &Path) -> Result<()> {
    call(op, path, || Ok(()))
}
