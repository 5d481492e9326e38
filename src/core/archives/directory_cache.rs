//! Directories of a tree, opened component by component from its root, never through a link.

use std::sync::Arc;

use crate::core::error::Result;
use crate::core::sys::dir::Directory;
use crate::core::sys::name;

use crate::core::archives::tree::as_path;

/// Open directories from the root to the path of the last call, because entries that follow each other share
/// directories.
pub(super) struct DirectoryCache {
    root: Arc<Directory>,
    path: Vec<u8>,
    open: Vec<(usize, Arc<Directory>)>,
}

impl DirectoryCache {
    pub(super) fn new(root: Directory) -> Self {
        Self {
            root: Arc::new(root),
            path: Vec::new(),
            open: Vec::new(),
        }
    }

    /// Closes all directories except the root, to release file descriptors.
    pub(super) fn clear(&mut self) {
        self.path.clear();
        self.open.clear();
    }

    /// Returns the directory at this relative path. `step` opens each component that is not open yet.
    pub(super) fn to<E>(
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

    /// Returns the existing directory at this relative path.
    pub(super) fn existing(&mut self, path: &[u8]) -> Result<Arc<Directory>> {
        self.to(path, |above, name, path| {
            above.open_directory(name::from_bytes(name), as_path(path))
        })
    }
}

/// Splits a relative path into directory and name.
pub(super) fn split_path(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(at) => (&path[..at], &path[at + 1..]),
        None => (&path[..0], path),
    }
}
