//! Copies of trees. They never use hard links: a tool that rewrites a file in place would change it under all its
//! names.

use std::path::{Path, PathBuf};

use crate::core::error::{Error, Result};
use crate::core::sys::cancel::Cancel;
use crate::core::sys::fault;
use crate::core::sys::fs::{self, Kind};

use super::tree::walk;

/// How a tree is copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CopyMethod {
    /// Clones files that can share blocks, and copies them elsewhere.
    Clone,
    /// Copies bytes.
    Copy,
    /// Renames entries. Copies bytes from another filesystem.
    Move,
}

/// Copies the contents of `from` into the directory `to`. Links are copied as text, and files become writable by their
/// owner. `made` receives the path of each entry that did not exist before.
pub(super) fn copy_tree(
    from: &Path,
    to: &Path,
    method: CopyMethod,
    made: &mut Vec<PathBuf>,
    cancel: &Cancel,
) -> Result<()> {
    let mut clone = method == CopyMethod::Clone;
    walk(from, &mut |relative, path, stat| {
        cancel.check()?;
        let target = to.join(relative);
        let result = match stat.kind {
            Kind::Directory => make_directory(&target, stat.mode | 0o700),
            Kind::Symlink => fs::read_link(path)
                .and_then(|text| fs::symlink(&text, &target))
                .map(|()| true),
            Kind::File if fault::is_seeded("hard-link-stage") => fs::link(path, &target).map(|()| true),
            Kind::File => file(path, &target, stat.mode | 0o200, &mut clone).map(|()| true),
            Kind::Other => Err(Error::argument(
                "directory",
                format!("it contains '{relative}', a device, socket or pipe"),
                "only files, directories and links",
            )
            .at(path)),
        };
        let is_made = match &result {
            Ok(is_new) => *is_new,
            // A partial file on a full disk.
            Err(error) => error.path.as_deref() == Some(target.as_path()) && !error.is_exists(),
        };
        if is_made {
            made.push(target);
        }
        result.map(drop)
    })
}

fn file(from: &Path, to: &Path, mode: u32, clone: &mut bool) -> Result<()> {
    // If one file cannot be cloned, the rest of the tree is copied.
    *clone = *clone && fs::clone_file(from, to, mode)?;
    if *clone {
        Ok(())
    } else {
        fs::copy_file(from, to, mode)
    }
}

/// Creates a directory with exactly this mode, independent of the umask. Otherwise a copy of a generation would differ
/// from it. Returns `false` if the directory already existed.
fn make_directory(path: &Path, mode: u32) -> Result<bool> {
    match fs::create_directory(path, mode) {
        Err(error) if error.is_exists() && fs::stat(path)?.kind == Kind::Directory => Ok(false),
        made => made.and_then(|()| fs::set_mode(path, mode)).map(|()| true),
    }
}
