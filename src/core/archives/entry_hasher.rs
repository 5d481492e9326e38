//! Hashes of entries on disk, without packing them.

use crate::core::sys::dir::{self, Directory};
use crate::core::sys::name;

use crate::core::archives::directory_cache::{DirectoryCache, split_path};
use crate::core::archives::tree::{self, Hash, NodeKind, Tree, as_path};
use crate::core::failure::{Failure, Result};

const CHUNK_BYTES: usize = 256 << 10;

/// Hashes entries of one directory.
pub struct EntryHasher {
    directories: DirectoryCache,
    buffer: Vec<u8>,
}

impl EntryHasher {
    /// Creates a hasher for entries below this directory.
    pub fn new(root: Directory) -> Self {
        Self {
            directories: DirectoryCache::new(root),
            buffer: vec![0; CHUNK_BYTES],
        }
    }

    /// Hashes a file or link of a walk. Fails as 'unstable' if it differs from what the walk saw.
    pub fn hash(&mut self, tree: &Tree, at: usize) -> Result<Hash> {
        let node = tree.nodes()[at];
        let path = tree.path(&node);
        let (parent, name) = split_path(path);
        let (name, shown) = (name::from_bytes(name), as_path(path));
        let directory = self.directories.existing(parent)?;
        if node.kind() == NodeKind::Symlink {
            return Ok(tree::hash(&directory.read_link(name, shown)?));
        }
        let file = directory.open_file(name, shown)?;
        let mut hasher = blake3::Hasher::new();
        let mut offset = 0;
        loop {
            let count = dir::read_at(&file, &mut self.buffer, offset, shown)?;
            hasher.update(&self.buffer[..count]);
            offset += count as u64;
            if count < self.buffer.len() {
                break;
            }
        }
        if offset != node.size {
            return Err(Failure::unstable(format!(
                "'{}' changed while it was read",
                path.escape_ascii()
            )));
        }
        Ok(tree::shorten(&hasher.finalize()))
    }
}
