//! One system call as the files of this folder make it.

use std::io;
use std::path::Path;

use crate::core::error::{At as _, Result};
use crate::core::sys::fault;

/// Runs one system call: a fault point first, repeated if a signal interrupts it, with operation and path in the error.
pub(super) fn call<T>(op: &'static str, path: &Path, mut system: impl FnMut() -> io::Result<T>) -> Result<T> {
    loop {
        match fault::point(op, path).and_then(|()| system()) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result.at(op, path),
        }
    }
}

/// A fault point before calls that std makes and repeats itself.
pub(super) fn point(op: &'static str, path: &Path) -> Result<()> {
    call(op, path, || Ok(()))
}
