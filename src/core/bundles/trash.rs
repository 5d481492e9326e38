//! The trash: directories that are no longer reachable and wait for their removal.

use std::ffi::OsStr;
use std::io::ErrorKind;
use std::path::Path;

use crate::core::error::{Optional, Result};
use crate::core::sys::trust::Surroundings;
use crate::core::sys::{fault, fs};

use super::layout::Layout;
use super::ownership::may_change;
use super::store::Store;

/// Entries of the trash that a sweep removes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TrashScope {
    /// All entries. Used only when a store is opened, and not by the open that replaced a directory.
    All,
    /// All except the directories that a link replaced, because processes may still use them.
    Generations,
}

/// Prefix of directories in the trash that warmswap created for tools and that a link replaced.
pub(super) const ADOPTED: &str = "adopted-";

/// Renames a directory into the trash. If it cannot be renamed, because it is in a lower layer of overlayfs (EXDEV) or
/// belongs to another user, it is removed in place. Returns `false` if that is not permitted either.
pub(super) fn move_to_trash(directory: &Path, trash: &Path) -> Result<bool> {
    match fs::rename(directory, trash).optional() {
        // A full disk may have no space for the new name.
        Err(error) if error.crosses_devices() || error.is_denied() || error.is_full() => {
            remove_permitted(directory)
        }
        renamed => renamed.map(|_| true),
    }
}

/// Removes a tree. Returns `false` if it belongs to another user, because such a tree must not make a collection fail.
pub(super) fn remove_permitted(directory: &Path) -> Result<bool> {
    match fs::remove_tree(directory) {
        Err(error) if error.is_denied() && !fault::is_seeded("anothers-litter-stops") => Ok(false),
        removed => removed.map(|()| true),
    }
}

/// Moves a stage to the trash. Returns `false` if there was none or it could not be moved.
pub(super) fn move_stage_to_trash(layout: &Layout, id: &OsStr) -> Result<bool> {
    let stage = layout.file("stage").join(id);
    if fs::stat(&stage).optional()?.is_none() {
        return Ok(false);
    }
    move_to_trash(&stage, &layout.trash(&format!("stage-{}", id.to_string_lossy())))
}

impl Store {
    /// Removes what collections have moved to the trash. Needs no lock, because no path in the trash is reused.
    pub fn sweep_trash(&self) -> Result<()> {
        self.empty_trash(TrashScope::Generations)
    }

    pub(super) fn empty_trash(&self, scope: TrashScope) -> Result<()> {
        let directory = self.layout.file("trash");
        let surroundings = Surroundings::of(&directory)?;
        for entry in fs::read_directory(&directory)? {
            if scope == TrashScope::Generations && entry.name.to_string_lossy().starts_with(ADOPTED) {
                continue;
            }
            let path = directory.join(&entry.name);
            if !may_change(&surroundings, &path)? {
                continue;
            }
            match remove_permitted(&path) {
                // Two processes empty it at the same time, and one of them finds a directory that is not empty yet.
                Err(error) if error.kind() == Some(ErrorKind::DirectoryNotEmpty) => {}
                removed => drop(removed?),
            }
        }
        Ok(())
    }
}
