//! Commit file by file. Existing entries of the target are not changed.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::core::error::{Error, Result};
use crate::core::sys::dir::Directory;
use crate::core::sys::fs::Kind;

use crate::core::archives::commit::moves::rename_new;
use crate::core::failure;

/// Moves entries that the target does not have. Returns the number of entries that already existed. On an error, moved
/// entries are moved back.
pub(super) fn merge(from: &Directory, to: &Directory) -> failure::Result<u64> {
    let mut merger = Merger {
        moved: Vec::new(),
        kept: 0,
    };
    match merger.directory(from, to, &mut PathBuf::new()) {
        Ok(()) => Ok(merger.kept),
        Err(error) => {
            merger.roll_back(from, to)?;
            Err(error.into())
        }
    }
}

/// Names the directory of the target that this user has no access to.
fn explain_denied(mut error: Error, directory: &Path) -> Error {
    if error.is_denied() {
        error.message = format!(
            "this user cannot read and write the directory '{}' of the target ({}). Change its mode or owner, or restore to another directory",
            directory.display(),
            error.message
        );
    }
    error
}

struct Merger {
    /// Relative paths, in the order of the moves.
    moved: Vec<PathBuf>,
    kept: u64,
}

impl Merger {
    fn directory(&mut self, from: &Directory, to: &Directory, path: &mut PathBuf) -> Result<()> {
        for entry in from.entries(path)? {
            path.push(&entry.name);
            match rename_new(from, to, &entry.name, path) {
                Ok(()) => self.moved.push(path.clone()),
                Err(error) if error.is_exists() => self.existing(from, to, &entry.name, path)?,
                Err(error) => return Err(explain_denied(error, path.parent().unwrap_or(path))),
            }
            path.pop();
        }
        Ok(())
    }

    fn existing(
        &mut self,
        from: &Directory,
        to: &Directory,
        name: &OsString,
        path: &mut PathBuf,
    ) -> Result<()> {
        let are_directories =
            from.stat(name, path)?.kind == Kind::Directory && to.stat(name, path)?.kind == Kind::Directory;
        if !are_directories {
            self.kept += 1;
            return Ok(());
        }
        // The stage belongs to this user, so its modes may be changed. Modes in the target are not.
        let from = from.open_own_directory(name, path)?;
        let to = to
            .open_directory(name, path)
            .map_err(|error| explain_denied(error, path))?;
        self.directory(&from, &to, path)
    }

    fn roll_back(&self, from: &Directory, to: &Directory) -> Result<()> {
        for path in self.moved.iter().rev() {
            let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
                continue;
            };
            let mut back = None;
            let mut here = None;
            for part in parent.components() {
                let name = part.as_os_str();
                back = Some(back.as_ref().unwrap_or(from).open_directory(name, path)?);
                here = Some(here.as_ref().unwrap_or(to).open_directory(name, path)?);
            }
            rename_new(
                here.as_ref().unwrap_or(to),
                back.as_ref().unwrap_or(from),
                name,
                path,
            )?;
        }
        Ok(())
    }
}
