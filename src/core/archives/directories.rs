//! The directories of a tree, reached part by part from its root, never through a link.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::sync::Arc;

use crate::core::error::Result as CoreResult;
use crate::core::sys::dir::Directory;

use crate::core::archives::tree::as_path;
use crate::core::failure::{Failure, Result};

/// Mode of a directory while it is filled; its own comes last.
const WHILE_FILLED: u32 = 0o700;
/// Mode of a directory that the archive does not name.
const UNNAMED: u32 = 0o755;

/// Open directories from the root to where the last call was: entries that stand together share their way.
pub(in crate::core::archives) struct Way {
    root: Arc<Directory>,
    path: Vec<u8>,
    open: Vec<(usize, Arc<Directory>)>,
}

impl Way {
    pub(in crate::core::archives) fn new(root: Directory) -> Self {
        Self {
            root: Arc::new(root),
            path: Vec::new(),
            open: Vec::new(),
        }
    }

    /// Forgets everything below the root, to give file descriptors back.
    pub(in crate::core::archives) fn clear(&mut self) {
        self.path.clear();
        self.open.clear();
    }

    /// The directory at this relative path; `step` opens each part that is not open yet.
    pub(in crate::core::archives) fn to<E>(
        &mut self,
        path: &[u8],
        mut step: impl FnMut(&Directory, &[u8], &[u8]) -> std::result::Result<Directory, E>,
    ) -> std::result::Result<Arc<Directory>, E> {
        let is_above = |at: usize, open: &[u8]| {
            path.get(..at) == Some(&open[..at]) && matches!(path.get(at), None | Some(b'/'))
        };
        while let Some((end, _)) = self.open.last()
            && !is_above(*end, &self.path)
        {
            self.open.pop();
        }
        let mut start = self.open.last().map_or(0, |(end, _)| end + 1);
        self.path.clear();
        self.path.extend_from_slice(path);
        while start < path.len() {
            let end = path[start..]
                .iter()
                .position(|byte| *byte == b'/')
                .map_or(path.len(), |at| start + at);
            let above = self.open.last().map_or(&self.root, |(_, directory)| directory);
            let directory = step(above, &path[start..end], &path[..end])?;
            self.open.push((end, Arc::new(directory)));
            start = end + 1;
        }
        Ok(Arc::clone(
            self.open.last().map_or(&self.root, |(_, directory)| directory),
        ))
    }

    /// The directory at this relative path, which is there.
    pub(in crate::core::archives) fn existing(&mut self, path: &[u8]) -> CoreResult<Arc<Directory>> {
        self.to(path, |above, name, path| {
            above.open_directory(OsStr::from_bytes(name), as_path(path))
        })
    }
}

/// Directory and name of a relative path.
pub(in crate::core::archives) fn cut(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(at) => (&path[..at], &path[at + 1..]),
        None => (&path[..0], path),
    }
}

/// What the archive says of a directory.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Named {
    mode: u32,
    modified_ns: i64,
}

/// What a directory takes in [`Made`] besides its path: its place in the table and the allocation.
pub(in crate::core::archives) const TABLE_BYTES: usize = 96;

/// The directories that this extraction made.
pub(in crate::core::archives) struct Made {
    way: Way,
    table: HashMap<Box<[u8]>, Option<Named>>,
    path_bytes: usize,
}

impl Made {
    pub(in crate::core::archives) fn new(root: Directory) -> Self {
        Self {
            way: Way::new(root),
            table: HashMap::new(),
            path_bytes: 0,
        }
    }

    pub(in crate::core::archives) fn len(&self) -> usize {
        self.table.len()
    }

    /// What the directories take.
    pub(in crate::core::archives) fn memory_bytes(&self) -> usize {
        self.path_bytes + self.table.len() * TABLE_BYTES
    }

    pub(in crate::core::archives) fn clear_way(&mut self) {
        self.way.clear();
    }

    /// The directory at this path; it and what is above it is made if the archive has not named it yet.
    pub(in crate::core::archives) fn enter(&mut self, path: &[u8]) -> Result<Arc<Directory>> {
        let (table, path_bytes) = (&mut self.table, &mut self.path_bytes);
        self.way.to(path, |above, name, path| {
            let name = OsStr::from_bytes(name);
            if !table.contains_key(path) {
                make(above, name, path)?;
                *path_bytes += path.len();
                table.insert(path.into(), None);
            }
            Ok(above.open_directory(name, as_path(path))?)
        })
    }

    /// Makes a directory that the archive names.
    pub(in crate::core::archives) fn add(&mut self, path: &[u8], mode: u32, modified_ns: i64) -> Result<()> {
        let named = Named { mode, modified_ns };
        match self.table.get_mut(path) {
            None => {
                let (parent, name) = cut(path);
                let parent = self.enter(parent)?;
                make(&parent, OsStr::from_bytes(name), path)?;
                self.path_bytes += path.len();
                self.table.insert(path.into(), Some(named));
            }
            Some(known @ None) => *known = Some(named),
            Some(Some(known)) if *known == named => {}
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
    pub(in crate::core::archives) fn finish(
        &mut self,
        mut each: impl FnMut(&[u8], u32) -> Result<()>,
    ) -> Result<()> {
        let mut all: Vec<_> = self.table.drain().collect();
        all.sort_unstable_by(|one, other| other.0.cmp(&one.0));
        for (path, named) in all {
            let directory = self.way.existing(&path)?;
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
pub(in crate::core::archives) fn twice(path: &[u8]) -> Failure {
    Failure::refused(format!("the archive has '{}' twice", path.escape_ascii()))
}
