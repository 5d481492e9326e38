//! Copies of trees. Never by hard link: whoever rewrites a file in place would rewrite all its names.

use std::io::ErrorKind;
use std::path::Path;

use crate::core::error::{Error, Result};
use crate::core::sys::cancel::Cancel;
use crate::core::sys::fault;
use crate::core::sys::fs::{self, Kind};

use super::manifest::walk;

/// How a tree becomes another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// Shared blocks where the filesystem has them, bytes elsewhere.
    Clone,
    /// Bytes.
    Copy,
    /// Renames; bytes from another filesystem.
    Move,
}

/// Puts the contents of `from` into the directory `to`, links as text, files writable by their owner.
pub(super) fn contents(from: &Path, to: &Path, how: How, cancel: &Cancel) -> Result<()> {
    if how == How::Move {
        return move_contents(from, to, cancel);
    }
    let mut clone = how == How::Clone;
    walk(from, &mut |relative, path, stat| {
        cancel.check()?;
        let target = to.join(relative);
        match stat.kind {
            Kind::Directory => make_directory(&target, stat.mode | 0o700),
            Kind::Symlink => fs::symlink(&fs::read_link(path)?, &target),
            Kind::File if fault::mutant("hard-link-stage") => fs::link(path, &target),
            Kind::File => {
                // One refusal answers for the whole tree.
                clone = clone && fs::clone_file(path, &target, stat.mode | 0o200)?;
                if clone {
                    Ok(())
                } else {
                    fs::copy_file(path, &target, stat.mode | 0o200)
                }
            }
            Kind::Other => Err(Error::argument(
                "directory",
                format!("holding '{relative}', a device, socket or pipe"),
                "a tree of files, directories and links",
            )
            .at(path)),
        }
    })
}

/// With exactly this mode, whatever the umask: else a copy of a generation would differ from it.
fn make_directory(path: &Path, mode: u32) -> Result<()> {
    match fs::create_directory(path, mode) {
        Err(error) if error.is_exists() && fs::stat(path)?.kind == Kind::Directory => Ok(()),
        made => made.and_then(|()| fs::set_mode(path, mode)),
    }
}

fn move_contents(from: &Path, to: &Path, cancel: &Cancel) -> Result<()> {
    for entry in fs::read_directory(from)? {
        cancel.check()?;
        match fs::rename_new(&from.join(&entry.name), &to.join(&entry.name)) {
            // Another filesystem, or one that knows no flags of rename (ZFS before 2.2).
            Err(error)
                if matches!(
                    error.kind(),
                    Some(ErrorKind::CrossesDevices | ErrorKind::InvalidInput)
                ) =>
            {
                contents(from, to, How::Copy, cancel)?;
                return fs::remove_contents(from);
            }
            moved => moved?,
        }
    }
    Ok(())
}
