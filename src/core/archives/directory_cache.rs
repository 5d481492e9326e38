//! The directories of a tree, reached part by part from its root, never through a link.

use std::sync::Arc;

use crate::core::error::Result;
use crate::core::sys::dir::Directory;
use crate::core::sys::name;

use crate::core::archives::tree::as_path;

/// Open directories from the root to where the last call was: entries that stand together share their way.
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

    /// Forgets everything below the root, to give file descriptors back.
    pub(super) fn clear(&mut self) {
        self.path.clear();
        self.open.clear();
    }

    /// The directory at this relative path; `step` opens each part that is not open yet.
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

    /// The directory at this relative path, which is there.
    pub(super) fn existing(&mut self, path: &[u8]) -> Result<Arc<Directory>> {
        self.to(path, |above, name, path| {
            above.open_directory(name::from_bytes(name), as_path(path))
        })
    }
}

/// Directory and name of a relative path.
pub(super) fn split_path(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(at) => (&path[..at], &path[at + 1..]),
        None => (&path[..0], path),
    }
}
