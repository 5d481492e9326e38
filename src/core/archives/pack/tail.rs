//! The end of an archive: entries that need no file to be read. It is compressed as it grows, because a tree can have a
//! million links.

use std::path::Path;

use crate::core::error::Optional as _;
use crate::core::sys::dir::Directory;
use crate::core::sys::name;

use crate::core::archives::codec::{FRAME_BYTES, FrameEncoder};
use crate::core::archives::directory_cache::{DirectoryCache, split_path};
use crate::core::archives::format::BLOCK;
use crate::core::archives::format::header::{self, Fields, flag};
use crate::core::archives::pack::options::WriteOptions;
use crate::core::archives::pack::output::Output;
use crate::core::archives::tree::{self, NodeKind, Tree, as_path};
use crate::core::archives::unpack::leaves_by_text;
use crate::core::failure::{Failure, Result};

/// Writes further hard links, symbolic links, directories and the end marker. Links that were removed in the meantime
/// are marked. Returns how many links lead out of the tree, and how many of them are absolute.
pub(super) fn write(
    directory: &Path,
    tree: &mut Tree,
    hard_links: &[(u32, u32)],
    gone: &mut [bool],
    options: &WriteOptions,
    output: &mut Output<'_>,
) -> Result<(u64, u64)> {
    let mut tail = Tail {
        raw: Vec::new(),
        encoder: FrameEncoder::new(options.format, options.level).map_err(Failure::of_read)?,
        output,
    };
    for (index, first) in hard_links {
        options.cancel.check()?;
        if gone[*first as usize] {
            return Err(Failure::unstable(
                "a file was removed while another hard link to it was being packed",
            ));
        }
        tail.hard_link(tree, *index as usize, *first as usize)?;
    }
    let mut directories = DirectoryCache::new(Directory::open(directory)?);
    let (mut leaving_links, mut absolute_links) = (0, 0);
    for (index, gone) in gone.iter_mut().enumerate() {
        if tree.nodes()[index].kind() == NodeKind::Symlink {
            options.cancel.check()?;
            match tail.link(tree, index, &mut directories)? {
                Some((leaves, is_absolute)) => {
                    leaving_links += u64::from(leaves);
                    absolute_links += u64::from(is_absolute);
                }
                None => *gone = true,
            }
        }
    }
    // A directory comes before its entries, so in reverse order the deepest come first.
    for index in (0..tree.len()).rev() {
        if tree.nodes()[index].kind() == NodeKind::Directory {
            tail.directory(tree, index)?;
        }
    }
    tail.finish()?;
    Ok((leaving_links, absolute_links))
}

struct Tail<'a, 'sink> {
    raw: Vec<u8>,
    encoder: FrameEncoder,
    output: &'a mut Output<'sink>,
}

impl Tail<'_, '_> {
    fn append(&mut self, fields: &Fields<'_>) -> Result<()> {
        header::append(&mut self.raw, fields);
        if self.raw.len() >= FRAME_BYTES {
            let rest = self.raw.split_off(FRAME_BYTES);
            self.frame()?;
            self.raw = rest;
        }
        Ok(())
    }

    fn frame(&mut self) -> Result<()> {
        let frame = self.encoder.encode(&self.raw).map_err(Failure::of_read)?;
        self.output.frame(&frame)
    }

    fn hard_link(&mut self, tree: &mut Tree, index: usize, first: usize) -> Result<()> {
        let (original, facts, hash) = (tree.nodes()[first], tree.facts(first), tree.hash(first));
        tree.set(index, u32::from(original.mode()), original.size);
        tree.set_hash(index, hash);
        tree.set_facts(index, facts);
        self.append(&Fields {
            flag: flag::LINK,
            path: tree.path(&tree.nodes()[index]),
            link: tree.path(&original),
            mode: u32::from(original.mode()),
            size: 0,
            modified_ns: facts.modified_ns,
        })
    }

    /// Whether the link leads out of the tree, and whether it is absolute. `None` if it is no longer a link.
    fn link(
        &mut self,
        tree: &mut Tree,
        index: usize,
        directories: &mut DirectoryCache,
    ) -> Result<Option<(bool, bool)>> {
        let path = tree.path(&tree.nodes()[index]).to_vec();
        let (parent, name) = split_path(&path);
        let Some(target) = directories
            .existing(parent)
            .and_then(|directory| directory.read_link(name::from_bytes(name), as_path(&path)))
            .optional()?
        else {
            return Ok(None);
        };
        tree.set(index, 0o777, target.len() as u64);
        tree.set_hash(index, tree::hash(&target));
        self.append(&Fields {
            flag: flag::SYMLINK,
            path: &path,
            link: &target,
            mode: 0o777,
            size: 0,
            modified_ns: tree.facts(index).modified_ns,
        })?;
        Ok(Some((
            leaves_by_text(&path, &target),
            name::is_absolute_link(&target),
        )))
    }

    fn directory(&mut self, tree: &Tree, index: usize) -> Result<()> {
        let node = &tree.nodes()[index];
        let path = [tree.path(node), b"/"].concat();
        self.append(&Fields {
            flag: flag::DIRECTORY,
            path: &path,
            link: b"",
            mode: u32::from(node.mode()),
            size: 0,
            modified_ns: tree.facts(index).modified_ns,
        })
    }

    fn finish(&mut self) -> Result<()> {
        self.raw.resize(self.raw.len() + 2 * BLOCK, 0);
        while self.raw.len() > FRAME_BYTES {
            let rest = self.raw.split_off(FRAME_BYTES);
            self.frame()?;
            self.raw = rest;
        }
        self.frame()
    }
}
