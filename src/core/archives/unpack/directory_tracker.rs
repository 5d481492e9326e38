//! The directories that an extraction makes.

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

/// Mode of a directory while it is filled; its own comes last.
const WHILE_FILLED: u32 = 0o700;
/// Mode of a directory that the archive does not name.
const UNNAMED: u32 = 0o755;

/// What the archive says of a directory.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Named {
    mode: u32,
    modified_ns: i64,
}

/// The directories that this extraction made.
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

    /// What the directories take.
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

    /// The directory at this path; it and what is above it is made if the archive has not named it yet.
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

    /// Makes a directory that the archive names. Named again, it gets the later mode and time.
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
                    "the directory '{}' is there twice and differs",
                    path.escape_ascii()
                )));
            }
        }
        Ok(())
    }

    /// Sets modes and times, the deepest first: whatever is made in a directory changes its time, and its own
    /// mode may forbid it.
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

/// Two entries of one name (also where the filesystem takes two names for one).
pub(super) fn twice(path: &[u8]) -> Failure {
    Failure::refused(format!("the archive has '{}' twice", path.escape_ascii()))
}
