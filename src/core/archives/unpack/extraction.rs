//! The parsing thread's part of an extraction: it makes directories, hands files to the writers, and makes links last.

use std::path::Path;
use std::sync::Arc;

use crate::core::archives::directory_cache::cut;
use crate::core::archives::sizing::LARGE_FILE;
use crate::core::archives::tree::{self, Hash, NodeKind, Tree, as_path};
use crate::core::archives::unpack::directory_tracker::{DirectoryTracker, twice};
use crate::core::archives::unpack::files;
use crate::core::archives::unpack::hard_links::HardLinks;
use crate::core::archives::unpack::links::Links;
use crate::core::archives::unpack::options::{ExtractOptions, Symlinks};
use crate::core::archives::unpack::parse::{self, Entry, EntryKind};
use crate::core::archives::unpack::sparse::Sparse;
use crate::core::archives::unpack::stream::Stream;
use crate::core::archives::unpack::writers::{Batch, Writers};
use crate::core::failure::{Cause, Failure, Result};
use crate::core::sys::dir::{self, Directory};
use crate::core::sys::{errno, fault, flock, fs, name};

/// The disk's free space is asked for again after so many bytes.
const SPACE_EVERY: u64 = 64 << 20;

/// One extraction, on the thread that parses.
pub(super) struct Extraction<'a, 'scope> {
    options: &'a ExtractOptions,
    stage: &'a Path,
    umask: u32,
    directories: DirectoryTracker,
    tree: Tree,
    hard_links: HardLinks,
    links: Links,
    batch: Batch,
    writers: Writers<'scope>,
    files: u64,
    bytes: u64,
    space_checked_at: Option<u64>,
}

impl<'a, 'scope> Extraction<'a, 'scope> {
    /// An extraction into `root`, whose path is `stage`.
    pub(super) fn new(
        options: &'a ExtractOptions,
        stage: &'a Path,
        umask: u32,
        root: Directory,
        writers: Writers<'scope>,
    ) -> Self {
        Self {
            options,
            stage,
            umask,
            directories: DirectoryTracker::new(root),
            tree: Tree::new(),
            hard_links: HardLinks::default(),
            links: Links::default(),
            batch: Batch::default(),
            writers,
            files: 0,
            bytes: 0,
            space_checked_at: None,
        }
    }

    /// Ends the writers. Returns the tree if `result`, the one of [`Self::run`], and all of theirs are good.
    pub(super) fn finish(mut self, result: Result<()>) -> Result<Tree> {
        self.writers.finish(result)?;
        Ok(self.tree)
    }

    /// Extracts everything; the writers may not be done when it fails.
    pub(super) fn run(&mut self, stream: &mut Stream) -> Result<()> {
        self.check_space()?;
        while let Some(entry) = parse::next(stream)? {
            self.options.cancel.check()?;
            self.entry(stream, entry)?;
        }
        // Writers that lack descriptors get these.
        self.directories.clear_cache();
        self.flush()?;
        self.writers.wait()?;
        self.make_hard_links()?;
        self.make_links()?;
        let tree = &mut self.tree;
        self.directories
            .finish(|path, mode| Ok(tree.push(path, NodeKind::Directory, mode, 0, Hash::default())?))
    }

    fn entry(&mut self, stream: &mut Stream, entry: Entry) -> Result<()> {
        let Entry {
            path,
            kind,
            mode,
            modified_ns,
        } = entry;
        if path.is_empty() {
            // The target's own mode and time are not the archive's to set.
            return Ok(());
        }
        self.check_entries()?;
        match kind {
            EntryKind::Directory => self.directories.add(&path, mode, modified_ns),
            EntryKind::File(size) => {
                self.count(size, &path)?;
                if size > LARGE_FILE {
                    self.large_file(stream, &path, mode, modified_ns, size)
                } else {
                    self.small_file(stream, &path, mode, modified_ns, size)
                }
            }
            EntryKind::SparseFile(sparse) => {
                let is_trusting = fault::mutant("trust-header-size");
                self.count(if is_trusting { sparse.stored } else { sparse.size }, &path)?;
                self.sparse_file(stream, &path, mode, modified_ns, &sparse)
            }
            EntryKind::Symlink(target) => {
                let hash = tree::hash(&target);
                let index = self.push(&path, NodeKind::Symlink, 0o777, target.len() as u64, hash)?;
                self.links
                    .add(index, &path, &target, modified_ns, self.options.symlinks)
            }
            EntryKind::HardLink(target) => {
                // Size, mode and hash are those of the file, once all files are known.
                let index = self.push(&path, NodeKind::File, 0, 0, Hash::default())?;
                self.hard_links.add(index, &target)
            }
        }
    }

    /// Directories count too, also those that the archive does not name; and so do the names that are kept.
    fn check_entries(&self) -> Result<()> {
        let entries = self.tree.len() + self.directories.len() + 1;
        self.options.limits.check_entries(entries as u64)?;
        self.options
            .limits
            .check_memory((self.tree.memory_bytes() + self.directories.memory_bytes()) as u64)
    }

    /// Counts a file against the limits before the first byte of it is written.
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
                "{free} bytes are free, fewer than {} (limits.minFreeBytes)",
                self.options.limits.min_free_bytes
            ));
            return Err(Failure {
                cause: Cause::NoSpace,
                ..failure
            });
        }
        Ok(())
    }

    /// Takes note of an entry and returns its number.
    fn push(&mut self, path: &[u8], kind: NodeKind, mode: u32, size: u64, hash: Hash) -> Result<u32> {
        let index =
            u32::try_from(self.tree.len()).map_err(|_| Failure::over_limit("more than 2^32 entries"))?;
        self.tree.push(path, kind, mode, size, hash)?;
        Ok(index)
    }

    fn remember(&mut self, path: &[u8], mode: u32, size: u64, hash: Hash) -> Result<()> {
        self.push(path, NodeKind::File, mode, size, hash).map(drop)
    }

    /// The directory of a file. If descriptors have run out, those of waiting batches are given back first.
    fn directory_of(&mut self, path: &[u8]) -> Result<Arc<Directory>> {
        let (parent, _) = cut(path);
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
        stream: &mut Stream,
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
        stream: &mut Stream,
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
        stream: &mut Stream,
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

    /// In the archive's order, so that a link to a link works. The target is found in our own table and opened
    /// part by part below the stage; there is no symbolic link there yet.
    fn make_hard_links(&mut self) -> Result<()> {
        for (index, first) in std::mem::take(&mut self.hard_links).resolve(&self.tree)? {
            self.options.cancel.check()?;
            let first = first as usize;
            let (file, hash) = (self.tree.nodes()[first], self.tree.hash(first));
            let path = self.tree.path_at(index).to_vec();
            // Where it cannot be linked it is a copy, so it counts like one.
            self.count(file.size, &path)?;
            self.tree.set(index as usize, u32::from(file.mode()), file.size);
            self.tree.set_hash(index as usize, hash);
            let target = self.tree.path(&file).to_vec();
            self.make_hard_link(&path, &target)?;
            self.options.progress.add(1, 0);
        }
        Ok(())
    }

    fn make_hard_link(&mut self, path: &[u8], target: &[u8]) -> Result<()> {
        let (target_parent, target_name) = cut(target);
        let (parent, name) = cut(path);
        let from = self.directories.enter(target_parent)?;
        let to = self.directories.enter(parent)?;
        let (existing, new) = (name::from_bytes(target_name), name::from_bytes(name));
        match to.link(&from, existing, new, as_path(path)) {
            Ok(()) => Ok(()),
            Err(error) if error.is_exists() => Err(twice(path)),
            // Filesystems without hard links, and files with as many as they can have.
            Err(_) => files::copy(&from, target_name, &to, name, path, &self.options.cancel),
        }
    }

    fn make_links(&mut self) -> Result<()> {
        if self.options.symlinks == Symlinks::Contained {
            self.links.check_contained(&self.tree, &self.options.cancel)?;
        }
        for link in self.links.all(&self.tree) {
            self.options.cancel.check()?;
            let (parent, name) = cut(link.path);
            let directory = self.directories.enter(parent)?;
            let name = name::from_bytes(name);
            match directory.symlink(name::from_bytes(link.target), name, as_path(link.path)) {
                Err(error) if error.is_exists() => return Err(twice(link.path)),
                result => result?,
            }
            directory.set_modified(name, i128::from(link.modified_ns), as_path(link.path))?;
        }
        Ok(())
    }
}
