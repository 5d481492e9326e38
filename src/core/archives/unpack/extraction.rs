//! The parsing thread of an extraction: it creates directories, sends files to the writers, and creates links last.

use std::path::Path;
use std::sync::Arc;

use crate::core::archives::Skipped;
use crate::core::archives::directory_cache::split_path;
use crate::core::archives::sizing::LARGE_FILE;
use crate::core::archives::tree::{self, Hash, NodeKind, Tree, as_path};
use crate::core::archives::unpack::directory_tracker::{DirectoryTracker, twice};
use crate::core::archives::unpack::files;
use crate::core::archives::unpack::hard_links::{HardLinks, no_target};
use crate::core::archives::unpack::left_out::LeftOut;
use crate::core::archives::unpack::links::Links;
use crate::core::archives::unpack::names::Names;
use crate::core::archives::unpack::options::{Duplicates, ExtractOptions};
use crate::core::archives::unpack::parse::{Entry, EntryKind, Parser};
use crate::core::archives::unpack::sparse::Sparse;
use crate::core::archives::unpack::stream::Stream;
use crate::core::archives::unpack::writers::{Batch, Writers};
use crate::core::failure::{Cause, Failure, Result};
use crate::core::sys::dir::{self, Directory};
use crate::core::sys::{errno, fault, flock, fs, name};

mod late;

/// Number of written bytes after which the free space is checked again.
const SPACE_EVERY: u64 = 64 << 20;

/// One extraction, on the parsing thread.
pub(super) struct Extraction<'a, 'scope> {
    options: &'a ExtractOptions,
    stage: &'a Path,
    /// Path of the tree after the commit.
    home: Option<&'a Path>,
    umask: u32,
    directories: DirectoryTracker,
    tree: Tree,
    names: Names,
    hard_links: HardLinks,
    links: Links,
    left_out: LeftOut,
    batch: Batch,
    writers: Writers<'scope>,
    files: u64,
    bytes: u64,
    space_checked_at: Option<u64>,
}

impl<'a, 'scope> Extraction<'a, 'scope> {
    /// Creates an extraction into `root`, whose path is `stage` now and `home` after the commit.
    pub(super) fn new(
        options: &'a ExtractOptions,
        stage: &'a Path,
        home: Option<&'a Path>,
        umask: u32,
        root: Directory,
        writers: Writers<'scope>,
    ) -> Self {
        Self {
            options,
            stage,
            home,
            umask,
            directories: DirectoryTracker::new(root),
            tree: Tree::new(),
            names: Names::default(),
            hard_links: HardLinks::default(),
            links: Links::default(),
            left_out: LeftOut::default(),
            batch: Batch::default(),
            writers,
            files: 0,
            bytes: 0,
            space_checked_at: None,
        }
    }

    /// Ends the writers. Returns the tree and the skipped entries, if `result` (that of [`Self::run`]) and all results
    /// of the writers are `Ok`.
    pub(super) fn finish(mut self, result: Result<()>) -> Result<(Tree, Vec<Skipped>)> {
        self.writers.finish(result)?;
        Ok((self.tree, self.left_out.into_skipped()))
    }

    /// Extracts all entries. After an error, the writers may still be running.
    pub(super) fn run(&mut self, stream: &mut Stream<'_>) -> Result<()> {
        self.check_space()?;
        let mut parser = Parser::new(self.options.declared_bytes.is_some());
        while let Some(entry) = parser.next(stream)? {
            self.options.cancel.check()?;
            self.entry(stream, entry)?;
        }
        // Releases descriptors that the writers may lack.
        self.directories.clear_cache();
        self.flush()?;
        self.writers.wait()?;
        self.make_hard_links()?;
        self.make_links()?;
        if let Some(path) = self.left_out.paths().find(|path| self.directories.has(path)) {
            return Err(twice(path));
        }
        let names = &self.names;
        if names.has_replaced() {
            self.tree
                .retain(|index| !u32::try_from(index).is_ok_and(|index| names.is_replaced(index)));
        }
        let tree = &mut self.tree;
        self.directories
            .finish(|path, mode| Ok(tree.push(path, NodeKind::Directory, mode, 0, Hash::default())?))
    }

    fn entry(&mut self, stream: &mut Stream<'_>, entry: Entry) -> Result<()> {
        let Entry {
            path,
            kind,
            mode,
            modified_ns,
        } = entry;
        if path.is_empty() {
            // The archive must not set the mode and time of the target itself.
            return Ok(());
        }
        self.check_entries()?;
        match kind {
            EntryKind::Directory => {
                return self
                    .directories
                    .add(&path, mode, modified_ns, self.options.duplicates);
            }
            EntryKind::LeftOut(why) => {
                if self.names.find(&self.tree, &path).is_some() {
                    return Err(twice(&path));
                }
                self.left_out.add(&path, why);
                return Ok(());
            }
            EntryKind::HardLink(target) => return self.hard_link(&path, &target),
            _ => self.replace_earlier(&path)?,
        }
        match kind {
            EntryKind::File(size) => {
                self.count(size, &path)?;
                if size > LARGE_FILE {
                    self.large_file(stream, &path, mode, modified_ns, size)
                } else {
                    self.small_file(stream, &path, mode, modified_ns, size)
                }
            }
            EntryKind::SparseFile(sparse) => {
                let is_trusting = fault::is_seeded("trust-header-size");
                self.count(if is_trusting { sparse.stored } else { sparse.size }, &path)?;
                self.sparse_file(stream, &path, mode, modified_ns, &sparse)
            }
            EntryKind::Symlink(target) => {
                let hash = tree::hash(&target);
                let index = self.push(&path, NodeKind::Symlink, 0o777, target.len() as u64, hash)?;
                self.links
                    .add(index, &path, &target, modified_ns, self.options.symlinks)
            }
            EntryKind::Directory | EntryKind::HardLink(_) | EntryKind::LeftOut(_) => Ok(()),
        }
    }

    fn hard_link(&mut self, path: &[u8], target: &[u8]) -> Result<()> {
        let Some(named) = self.names.find(&self.tree, target) else {
            return self.left_out_link(path, target);
        };
        // `tar -c a a` writes a file with several hard links like this.
        if path == target && self.options.duplicates == Duplicates::Replace {
            return Ok(());
        }
        self.replace_earlier(path)?;
        let node = self.tree.nodes()[named as usize];
        if node.kind() != NodeKind::Symlink {
            // Size, mode and hash are those of the file, which are known after all files.
            let index = self.push(path, NodeKind::File, 0, 0, Hash::default())?;
            self.hard_links.add(index, named);
            return Ok(());
        }
        // A hard link to a symbolic link: create another symbolic link with the same text.
        let (text, modified_ns) = self.links.get(named).ok_or_else(|| no_target(path, target))?;
        let index = self.push(
            path,
            NodeKind::Symlink,
            0o777,
            node.size,
            self.tree.hash(named as usize),
        )?;
        self.links
            .add(index, path, &text, modified_ns, self.options.symlinks)
    }

    /// A hard link to a pipe or device is skipped too.
    fn left_out_link(&mut self, path: &[u8], target: &[u8]) -> Result<()> {
        let Some(why) = self.left_out.reason(target) else {
            return Err(no_target(path, target));
        };
        if self.names.find(&self.tree, path).is_some() {
            return Err(twice(path));
        }
        self.left_out.add(path, why);
        Ok(())
    }

    /// Removes an earlier entry with the same path, as `tar -r` and `tar -u` write them, so that nothing is written
    /// through it. If the existing entry is a directory, the filesystem reports it.
    fn replace_earlier(&mut self, path: &[u8]) -> Result<()> {
        let is_left_out = self.left_out.remove(path);
        let earlier = self.names.find(&self.tree, path);
        if (is_left_out || earlier.is_some()) && self.options.duplicates == Duplicates::Reject {
            return Err(twice(path));
        }
        let Some(earlier) = earlier else {
            return Ok(());
        };
        let is_on_disk =
            self.tree.nodes()[earlier as usize].kind() == NodeKind::File && !self.hard_links.has(earlier);
        if is_on_disk && !fault::is_seeded("write-through") {
            self.flush()?;
            self.writers.wait()?;
            let (parent, name) = split_path(path);
            let directory = self.directories.enter(parent)?;
            directory.remove_file(name::from_bytes(name), as_path(path))?;
        }
        Ok(())
    }

    /// Counts directories, including those without an entry in the archive, and the names that are kept.
    fn check_entries(&self) -> Result<()> {
        let entries = self.tree.len() + self.directories.len() + self.left_out.len() + 1;
        self.options.limits.check_entries(entries as u64)?;
        let bytes = self.tree.memory_bytes() + self.directories.memory_bytes() + self.left_out.memory_bytes();
        self.options.limits.check_memory(bytes as u64)
    }

    /// Checks a file against the limits before its first byte is written.
    fn count(&mut self, size: u64, path: &[u8]) -> Result<()> {
        self.options.limits.check_file(size, path)?;
        self.files += 1;
        self.bytes = self.bytes.saturating_add(size);
        self.options.limits.check_bytes(self.bytes)?;
        if let Some(expected) = &self.options.expected
            && (self.files > expected.files || self.bytes > expected.bytes)
        {
            return Err(expected.missed(self.files, self.bytes));
        }
        self.check_space()
    }

    fn check_space(&mut self) -> Result<()> {
        if self
            .space_checked_at
            .is_some_and(|at| self.bytes < at + SPACE_EVERY)
        {
            return Ok(());
        }
        self.space_checked_at = Some(self.bytes);
        let free = flock::available_space(self.stage)?;
        if free < self.options.limits.min_free_bytes {
            let failure = Failure::over_limit(format!(
                "only {free} bytes are free on the disk. Expected at least {} (limits.minFreeBytes)",
                self.options.limits.min_free_bytes
            ));
            return Err(Failure {
                cause: Cause::NoSpace,
                ..failure
            });
        }
        Ok(())
    }

    /// Adds an entry to the tree and returns its number.
    fn push(&mut self, path: &[u8], kind: NodeKind, mode: u32, size: u64, hash: Hash) -> Result<u32> {
        let index =
            u32::try_from(self.tree.len()).map_err(|_| Failure::over_limit("more than 2^32 entries"))?;
        self.tree.push(path, kind, mode, size, hash)?;
        self.names.add(&self.tree, index);
        Ok(index)
    }

    fn remember(&mut self, path: &[u8], mode: u32, size: u64, hash: Hash) -> Result<()> {
        self.push(path, NodeKind::File, mode, size, hash).map(drop)
    }

    /// Returns the directory of a file. If descriptors are exhausted, first releases those of waiting batches.
    fn directory_of(&mut self, path: &[u8]) -> Result<Arc<Directory>> {
        let (parent, _) = split_path(path);
        match self.directories.enter(parent) {
            Err(failure) if errno::is_out_of_descriptors(&failure.error) => {
                self.directories.clear_cache();
                self.flush()?;
                self.writers.wait()?;
                self.directories.enter(parent)
            }
            result => result,
        }
    }

    fn small_file(
        &mut self,
        stream: &mut Stream<'_>,
        path: &[u8],
        mode: u32,
        modified_ns: i64,
        size: u64,
    ) -> Result<()> {
        let directory = self.directory_of(path)?;
        let start = self.batch.data.len();
        let data = &mut self.batch.data;
        stream.read(size, |bytes| {
            data.extend_from_slice(bytes);
            Ok(())
        })?;
        stream.skip_padding(size)?;
        let hash = if self.options.hash {
            tree::hash(&self.batch.data[start..])
        } else {
            Hash::default()
        };
        self.remember(path, mode, size, hash)?;
        self.batch.add(directory, path, mode, modified_ns, start);
        if self.batch.is_full() {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let next = self.writers.spent_batch();
        self.writers.send(std::mem::replace(&mut self.batch, next))
    }

    fn large_file(
        &mut self,
        stream: &mut Stream<'_>,
        path: &[u8],
        mode: u32,
        modified_ns: i64,
        size: u64,
    ) -> Result<()> {
        let directory = self.directory_of(path)?;
        let mut file = files::create(&directory, path, mode)?;
        let mut hasher = blake3::Hasher::new();
        let options = self.options;
        stream.read(size, |bytes| {
            options.cancel.check()?;
            if options.hash {
                hasher.update(bytes);
            }
            fs::write_all(&mut file, bytes, as_path(path))?;
            options.progress.add(0, bytes.len() as u64);
            Ok(())
        })?;
        stream.skip_padding(size)?;
        files::seal(&file, path, mode, self.umask, modified_ns)?;
        options.progress.add(1, 0);
        self.remember(path, mode, size, tree::shorten(&hasher.finalize()))
    }

    fn sparse_file(
        &mut self,
        stream: &mut Stream<'_>,
        path: &[u8],
        mode: u32,
        modified_ns: i64,
        sparse: &Sparse,
    ) -> Result<()> {
        let directory = self.directory_of(path)?;
        let file = files::create(&directory, path, mode)?;
        let mut hasher = files::HoleHasher::new(self.options.hash);
        dir::set_size(&file, sparse.size, as_path(path))?;
        for (offset, length) in &sparse.pieces {
            let mut at = *offset;
            hasher.hole_to(at, &self.options.cancel)?;
            stream.read(*length, |bytes| {
                self.options.cancel.check()?;
                hasher.bytes(bytes);
                dir::write_at(&file, bytes, at, as_path(path))?;
                at += bytes.len() as u64;
                Ok(())
            })?;
        }
        hasher.hole_to(sparse.size, &self.options.cancel)?;
        stream.skip_padding(sparse.stored)?;
        files::seal(&file, path, mode, self.umask, modified_ns)?;
        self.options.progress.add(1, sparse.size);
        self.remember(path, mode, sparse.size, hasher.finish())
    }
}
