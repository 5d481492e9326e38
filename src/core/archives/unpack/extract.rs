//! From a stream to an empty directory. Three kinds of threads: one decodes, the caller's parses and makes
//! directories, a few write files; links come last.

use std::ffi::OsStr;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};

use crate::core::sys::cancel::Cancel;
use crate::core::sys::dir::{self, Directory};
use crate::core::sys::fault;
use crate::core::sys::flock;
use crate::core::sys::fs;
use crate::core::sys::thread;

use crate::core::archives::codec;
use crate::core::archives::directories::{Made, cut, twice};
use crate::core::archives::format::sparse::Sparse;
use crate::core::archives::sizing::LARGE_FILE;
use crate::core::archives::tree::{self, Hash, NodeKind, Tree, as_path};
use crate::core::archives::unpack::hard_links::HardLinks;
use crate::core::archives::unpack::links::Links;
pub use crate::core::archives::unpack::links::Symlinks;
use crate::core::archives::unpack::parse::{self, Entry, EntryKind, Stream};
use crate::core::archives::unpack::writers::{self, Batch, Writers};
use crate::core::archives::{Limits, Progress};
use crate::core::failure::{Cause, Failure, Result};

/// Decoded bytes that travel together.
const CHUNK_BYTES: usize = 256 << 10;
/// Chunks between decoder and parser.
const CHUNKS: usize = 8;
/// The disk's free space is asked for again after so many bytes.
const SPACE_EVERY: u64 = 64 << 20;

/// How to extract.
#[derive(Debug, Clone, Default)]
pub struct ExtractOptions {
    /// What is accepted at most.
    pub limits: Limits,
    /// Which symbolic links are made.
    pub symlinks: Symlinks,
    /// Whether files are hashed, for [`ExtractSummary::tree`]'s digest.
    pub hash: bool,
    /// What the tree must turn out to be, known from outside the stream.
    pub expected: Option<Expected>,
    /// Size of the archive, if it is known before it is read.
    pub compressed_bytes: Option<u64>,
    /// Raised to stop: no further file is begun.
    pub cancel: Cancel,
    /// Counted while it happens.
    pub progress: Arc<Progress>,
}

/// What a pointer promised of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// Regular files, further hard links included.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// [`Tree::digest`]; needs [`ExtractOptions::hash`].
    pub digest: Option<String>,
}

/// What was extracted.
#[derive(Debug)]
pub struct ExtractSummary {
    /// Regular files, further hard links included.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Bytes read from the source.
    pub compressed_bytes: u64,
    /// Bytes of the tar stream.
    pub decoded_bytes: u64,
    /// All entries; with hashes if they were asked for, without facts of the filesystem.
    pub tree: Tree,
}

/// Extracts into `stage`, an empty directory that nobody else writes to. On an error it holds part of the tree.
///
/// A read of `source` that blocks must end with an error soon after `options.cancel` is raised; one that wraps a
/// [`Failure`] is passed through.
pub fn extract(source: impl Read + Send, stage: &Path, options: &ExtractOptions) -> Result<ExtractSummary> {
    extract_into(source, Directory::open(stage)?, stage, options)
}

/// Extracts into an open directory, as [`extract`] does; `stage` is its path.
pub fn extract_into(
    source: impl Read + Send,
    root: Directory,
    stage: &Path,
    options: &ExtractOptions,
) -> Result<ExtractSummary> {
    let umask = umask(&root, stage)?;
    let compressed = AtomicU64::new(0);
    let decoded = AtomicU64::new(0);
    let counters = (&compressed, &decoded);
    std::thread::scope(|scope| {
        let (sender, chunks) = sync_channel(CHUNKS);
        let (spent, recycled) = channel();
        let writers = Writers::start(scope, umask, &options.progress)?;
        drop(thread::spawn_scoped(scope, "warmswap-decode", move || {
            decode(source, options, counters, &sender, &recycled);
        })?);
        let mut extraction = Extraction {
            options,
            stage,
            umask,
            made: Made::new(root),
            tree: Tree::new(),
            hard_links: HardLinks::default(),
            links: Links::default(),
            batch: Batch::default(),
            writers,
            files: 0,
            bytes: 0,
            space_checked_at: None,
        };
        // The stream ends with this scope, and with it the decoder, which may be waiting to hand over a chunk.
        let mut stream = Stream::new(chunks, spent, options.cancel.clone());
        let result = extraction
            .run(&mut stream)
            .map_err(|failure| damage_or(failure, &mut stream));
        drop(stream);
        let result = extraction.writers.finish(result);
        result?;
        let tree = extraction.tree;
        let (files, bytes) = tree.totals();
        check_expected(options, &tree, files, bytes)?;
        Ok(ExtractSummary {
            files,
            bytes,
            compressed_bytes: compressed.load(Ordering::Relaxed),
            decoded_bytes: decoded.load(Ordering::Relaxed),
            tree,
        })
    })
}

/// What makes no sense was written so, or is what a flipped bit made of it: the checksum that tells stands at the end of
/// the frame. No further than one frame of ours is read for it.
fn damage_or(failure: Failure, stream: &mut Stream) -> Failure {
    if !matches!(failure.cause, Cause::Refused | Cause::TooLarge) {
        return failure;
    }
    stream.damage_within(codec::FRAME_BYTES).unwrap_or(failure)
}

/// The bits that the process's umask, or the directory's default ACL, takes away.
fn umask(root: &Directory, stage: &Path) -> Result<u32> {
    let name = OsStr::new(".warmswap-umask");
    root.make_directory(name, 0o777, stage)?;
    let mode = root.stat(name, stage)?.mode & 0o777;
    root.remove_directory(name, stage)?;
    Ok(0o777 & !mode)
}

fn decode(
    source: impl Read,
    options: &ExtractOptions,
    (compressed, decoded): (&AtomicU64, &AtomicU64),
    chunks: &SyncSender<io::Result<Vec<u8>>>,
    recycled: &Receiver<Vec<u8>>,
) {
    let limits = &options.limits;
    let whole = options.compressed_bytes.unwrap_or(0);
    let declared = options.expected.as_ref().map_or(0, |expected| expected.bytes);
    let result: Result<()> = (|| {
        let source = Counted {
            source,
            count: compressed,
        };
        let (_, mut reader) = codec::decoder(source, limits.max_window_log())?;
        loop {
            let mut chunk = recycled.try_recv().unwrap_or_default();
            let count = fill(&mut reader, &mut chunk).map_err(Failure::of_read)?;
            let total = decoded.fetch_add(count as u64, Ordering::Relaxed) + count as u64;
            limits.check_ratio(total, compressed.load(Ordering::Relaxed).max(whole), declared)?;
            if count == 0 || chunks.send(Ok(chunk)).is_err() {
                return Ok(());
            }
        }
    })();
    if let Err(failure) = result {
        // Nobody listens after a failure of the parser itself.
        drop(chunks.send(Err(io::Error::from(failure))));
    }
}

/// Fills a chunk unless the stream ends. One that is used again is not zeroed again, as `read_to_end` would do.
fn fill(reader: &mut dyn Read, chunk: &mut Vec<u8>) -> io::Result<usize> {
    chunk.resize(CHUNK_BYTES, 0);
    let mut filled = 0;
    while filled < CHUNK_BYTES {
        match reader.read(&mut chunk[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    chunk.truncate(filled);
    Ok(filled)
}

struct Counted<'a, R> {
    source: R,
    count: &'a AtomicU64,
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.source.read(buffer)?;
        self.count.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

fn check_expected(options: &ExtractOptions, tree: &Tree, files: u64, bytes: u64) -> Result<()> {
    let Some(expected) = &options.expected else {
        return Ok(());
    };
    if (files, bytes) != (expected.files, expected.bytes) {
        return Err(unexpected(files, bytes, expected));
    }
    if expected
        .digest
        .as_ref()
        .is_some_and(|digest| *digest != tree.digest())
    {
        return Err(Failure::corrupt(
            "the tree's digest is not the one that was promised",
        ));
    }
    Ok(())
}

fn unexpected(files: u64, bytes: u64, expected: &Expected) -> Failure {
    Failure::corrupt(format!(
        "expected {} files with {} bytes, got {files} with {bytes}",
        expected.files, expected.bytes
    ))
}

struct Extraction<'a, 'scope> {
    options: &'a ExtractOptions,
    stage: &'a Path,
    umask: u32,
    made: Made,
    tree: Tree,
    hard_links: HardLinks,
    links: Links,
    batch: Batch,
    writers: Writers<'scope>,
    files: u64,
    bytes: u64,
    space_checked_at: Option<u64>,
}

impl Extraction<'_, '_> {
    fn run(&mut self, stream: &mut Stream) -> Result<()> {
        self.check_space()?;
        while let Some(entry) = parse::next(stream)? {
            self.options.cancel.check()?;
            self.entry(stream, entry)?;
        }
        // Writers that lack descriptors get these.
        self.made.clear_way();
        self.flush()?;
        self.writers.wait()?;
        self.make_hard_links()?;
        self.make_links()?;
        let tree = &mut self.tree;
        self.made
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
            EntryKind::Directory => self.made.add(&path, mode, modified_ns),
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
        let entries = self.tree.len() + self.made.len() + 1;
        self.options.limits.check_entries(entries as u64)?;
        self.options
            .limits
            .check_memory((self.tree.memory_bytes() + self.made.memory_bytes()) as u64)
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
            return Err(unexpected(self.files, self.bytes, expected));
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
            let mut failure = Failure::over_limit(format!(
                "{free} bytes are free, fewer than {} (limits.minFreeBytes)",
                self.options.limits.min_free_bytes
            ));
            failure.cause = Cause::NoSpace;
            return Err(failure);
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
        match self.made.enter(parent) {
            Err(failure) if writers::is_out_of_descriptors(&failure.error) => {
                self.made.clear_way();
                self.flush()?;
                self.writers.wait()?;
                self.made.enter(parent)
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
        stream.take(size, |bytes| {
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
        let mut file = writers::create(&directory, path, mode)?;
        let mut hasher = blake3::Hasher::new();
        let options = self.options;
        stream.take(size, |bytes| {
            options.cancel.check()?;
            if options.hash {
                hasher.update(bytes);
            }
            fs::write_all(&mut file, bytes, as_path(path))?;
            options.progress.add(0, bytes.len() as u64);
            Ok(())
        })?;
        stream.skip_padding(size)?;
        writers::seal(&file, path, mode, self.umask, modified_ns)?;
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
        let file = writers::create(&directory, path, mode)?;
        let mut hasher = writers::HoleHasher::new(self.options.hash);
        dir::set_size(&file, sparse.size, as_path(path))?;
        for (offset, length) in &sparse.pieces {
            let mut at = *offset;
            hasher.hole_to(at, &self.options.cancel)?;
            stream.take(*length, |bytes| {
                self.options.cancel.check()?;
                hasher.bytes(bytes);
                dir::write_at(&file, bytes, at, as_path(path))?;
                at += bytes.len() as u64;
                Ok(())
            })?;
        }
        hasher.hole_to(sparse.size, &self.options.cancel)?;
        stream.skip_padding(sparse.stored)?;
        writers::seal(&file, path, mode, self.umask, modified_ns)?;
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
        let from = self.made.enter(target_parent)?;
        let to = self.made.enter(parent)?;
        let (existing, new) = (OsStr::from_bytes(target_name), OsStr::from_bytes(name));
        match to.link(&from, existing, new, as_path(path)) {
            Ok(()) => Ok(()),
            Err(error) if error.is_exists() => Err(twice(path)),
            // Filesystems without hard links, and files with as many as they can have.
            Err(_) => writers::copy(&from, target_name, &to, name, path, &self.options.cancel),
        }
    }

    fn make_links(&mut self) -> Result<()> {
        if self.options.symlinks == Symlinks::Contained {
            self.links.check_contained(&self.tree, &self.options.cancel)?;
        }
        for link in self.links.all(&self.tree) {
            self.options.cancel.check()?;
            let (parent, name) = cut(link.path);
            let directory = self.made.enter(parent)?;
            let name = OsStr::from_bytes(name);
            match directory.symlink(OsStr::from_bytes(link.target), name, as_path(link.path)) {
                Err(error) if error.is_exists() => return Err(twice(link.path)),
                result => result?,
            }
            directory.set_modified(name, i128::from(link.modified_ns), as_path(link.path))?;
        }
        Ok(())
    }
}
