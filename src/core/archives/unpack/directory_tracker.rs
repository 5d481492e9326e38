//! Directories that an extraction creates.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::sync::Arc;

use crate::core::archives::directory_cache::{DirectoryCache, split_path};
use crate::core::archives::format::limits::DIRECTORY_BYTES;
use crate::core::archives::tree::as_path;
use crate::core::archives::unpack::options::Duplicates;
use crate::core::failure::{Failure, Result};
use crate::core::sys::dir::Directory;
use crate::core::sys::name;

/// Mode of a directory while it is being filled. Its own mode is set last.
const WHILE_FILLED: u32 = 0o700;
/// Mode of a directory that the archive does not contain as an entry.
const UNNAMED: u32 = 0o755;

/// Mode and time of a directory in the archive.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Named {
    mode: u32,
    modified_ns: i64,
}

/// Directories that this extraction has created.
pub(super) struct DirectoryTracker {
    directories: DirectoryCache,
    table: HashMap<Box<[u8]>, Option<Named>>,
    path_bytes: usize,
}

impl DirectoryTracker {
    pub(super) fn new(root: Directory) -> Self {
        Self {
            directories: DirectoryCache::new(root),
            table: HashMap::new(),
            path_bytes: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    /// Memory of the directories in bytes.
    pub(super) fn memory_bytes(&self) -> usize {
        self.path_bytes + self.table.len() * DIRECTORY_BYTES
    }

    /// Whether there is a directory at this path.
    pub(super) fn has(&self, path: &[u8]) -> bool {
        self.table.contains_key(path)
    }

    pub(super) fn clear_cache(&mut self) {
        self.directories.clear();
    }

    /// Returns the directory at this path. Creates it and its parents if the archive has not contained them yet.
    pub(super) fn enter(&mut self, path: &[u8]) -> Result<Arc<Directory>> {
        let (table, path_bytes) = (&mut self.table, &mut self.path_bytes);
        self.directories.to(path, |above, name, path| {
            let name = name::from_bytes(name);
            if !table.contains_key(path) {
                make(above, name, path)?;
                *path_bytes += path.len();
                table.insert(path.into(), None);
            }
            Ok(above.open_directory(name, as_path(path))?)
        })
    }

    /// Creates a directory of the archive. A repeated entry sets the later mode and time.
    pub(super) fn add(
        &mut self,
        path: &[u8],
        mode: u32,
        modified_ns: i64,
        duplicates: Duplicates,
    ) -> Result<()> {
        let named = Named { mode, modified_ns };
        match self.table.get_mut(path) {
            None => {
                let (parent, name) = split_path(path);
                let parent = self.enter(parent)?;
                make(&parent, name::from_bytes(name), path)?;
                self.path_bytes += path.len();
                self.table.insert(path.into(), Some(named));
            }
            Some(known @ None) => *known = Some(named),
            Some(Some(known)) if *known == named => {}
            Some(known) if duplicates == Duplicates::Replace => *known = Some(named),
            Some(Some(_)) => {
                return Err(Failure::refused(format!(
                    "the archive contains the directory '{}' twice with different attributes",
                    path.escape_ascii()
                )));
            }
        }
        Ok(())
    }

    /// Sets modes and times, the deepest first. Creating an entry in a directory changes its time, and its own mode may
    /// not allow it.
    pub(super) fn finish(&mut self, mut each: impl FnMut(&[u8], u32) -> Result<()>) -> Result<()> {
        let mut all: Vec<_> = self.table.drain().collect();
        all.sort_unstable_by(|one, other| other.0.cmp(&one.0));
        for (path, named) in all {
            let directory = self.directories.existing(&path)?;
            let mode = named.map_or(UNNAMED, |named| named.mode);
            if mode != WHILE_FILLED {
                directory.set_own_mode(mode, as_path(&path))?;
            }
            if let Some(named) = named {
                directory.set_own_modified(i128::from(named.modified_ns), as_path(&path))?;
            }
            each(&path, mode)?;
        }
        Ok(())
    }
}

fn make(above: &Directory, name: &OsStr, path: &[u8]) -> Result<()> {
    match above.make_directory(name, WHILE_FILLED, as_path(path)) {
        Err(error) if error.is_exists() => Err(twice(path)),
        result => Ok(result?),
    }
}

/// Failure for two entries with one name, also if the filesystem treats two names as the same.
pub(super) fn twice(path: &[u8]) -> Failure {
    Failure::refused(format!("the archive contains '{}' twice", path.escape_ascii()))
}
