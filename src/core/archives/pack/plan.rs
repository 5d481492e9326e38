//! Distribution of files to frames: large files in parts, small ones in batches.

use std::ops::Range;
use std::path::Path;
use std::sync::mpsc::SyncSender;

use crate::core::archives::codec::{self, FRAME_BYTES};
use crate::core::archives::directory_cache::DirectoryCache;
use crate::core::archives::format::{BLOCK, padding};
use crate::core::archives::pack::options::WriteOptions;
use crate::core::archives::pack::scan_result::Update;
use crate::core::archives::pack::source::{ReadFile, append_file, changed, open};
use crate::core::archives::pack::walk::Walk;
use crate::core::archives::sizing::LARGE_FILE;
use crate::core::archives::tree::as_path;
use crate::core::archives::tree::{self, NodeKind, Tree};
use crate::core::failure::Result;
use crate::core::sys::dir::{self, Directory};
use crate::core::sys::{fault, fs};

/// Space for the headers of one small entry, including a long path.
const HEADER_BYTES: u64 = 3 * BLOCK as u64;

/// One frame to be compressed.
pub(super) enum Job {
    /// Small files, as positions in the order of the plan.
    Files(Range<usize>),
    /// Bytes of the tar stream.
    Bytes(Vec<u8>),
}

/// Order of the files, and which thread reads them.
pub(super) struct Plan<'a> {
    pub(super) directory: &'a Path,
    pub(super) tree: &'a Tree,
    pub(super) options: &'a WriteOptions,
    large: Vec<u32>,
    /// Files that are read in batches, as entry numbers.
    pub(super) small: Vec<u32>,
}

impl<'a> Plan<'a> {
    pub(super) fn new(directory: &'a Path, walk: &'a Walk, options: &'a WriteOptions) -> Result<Self> {
        codec::check_level(options.format, options.level)?;
        let tree = &walk.tree;
        let mut plan = Self {
            directory,
            tree,
            options,
            large: Vec::new(),
            small: Vec::new(),
        };
        let mut links = walk.hard_links.iter().map(|(index, _)| *index).peekable();
        for (index, node) in (0_u32..).zip(tree.nodes()) {
            if links.next_if_eq(&index).is_some() {
                continue;
            }
            match node.kind() {
                NodeKind::File if node.size > LARGE_FILE => plan.large.push(index),
                NodeKind::File => plan.small.push(index),
                NodeKind::Directory | NodeKind::Symlink => {}
            }
        }
        Ok(plan)
    }

    /// Sends all frames of files to the workers, and reads the large files itself.
    pub(super) fn plan(&self, jobs: &Jobs) -> Result<Vec<Update>> {
        let mut pieces = Pieces {
            jobs,
            buffer: Vec::with_capacity(FRAME_BYTES),
        };
        let mut updates = Vec::new();
        let mut directories = DirectoryCache::new(Directory::open(self.directory)?);
        for index in &self.large {
            let read = self.large_file(*index, &mut directories, &mut pieces)?;
            updates.push(Update { index: *index, read });
        }
        if !pieces.finish() {
            return Ok(updates);
        }
        let mut start = 0;
        let mut size = 0;
        for (position, index) in self.small.iter().enumerate() {
            let node = &self.tree.nodes()[*index as usize];
            let entry = HEADER_BYTES + node.size.next_multiple_of(BLOCK as u64);
            if size + entry > FRAME_BYTES as u64 {
                if !jobs.send(Job::Files(start..position)) {
                    return Ok(updates);
                }
                (start, size) = (position, 0);
            }
            size += entry;
        }
        if start < self.small.len() {
            jobs.send(Job::Files(start..self.small.len()));
        }
        Ok(updates)
    }

    /// Streams a file of more than 1 MiB. Bytes that were sent cannot be taken back, so there is no second attempt.
    fn large_file(
        &self,
        index: u32,
        directories: &mut DirectoryCache,
        pieces: &mut Pieces<'_>,
    ) -> Result<Option<ReadFile>> {
        let path = self.tree.path_at(index);
        let Some((file, stat)) = open(directories, path)? else {
            return Ok(None);
        };
        append_file(&mut pieces.buffer, path, &stat);
        let mut hasher = blake3::Hasher::new();
        let mut offset = 0;
        while offset < stat.size {
            self.options.cancel.check()?;
            let start = pieces.buffer.len();
            let space = (FRAME_BYTES - start.min(FRAME_BYTES)).max(BLOCK) as u64;
            let length = usize::try_from(space.min(stat.size - offset)).unwrap_or(FRAME_BYTES);
            pieces.buffer.resize(start + length, 0);
            let count = dir::read_at(&file, &mut pieces.buffer[start..], offset, as_path(path))?;
            if count < length {
                return Err(changed(path));
            }
            if self.options.hash {
                hasher.update(&pieces.buffer[start..]);
            }
            offset += count as u64;
            if !pieces.cut() {
                break;
            }
        }
        if fs::stat_file(&file, as_path(path))? != stat && !fault::is_seeded("pack-torn-files") {
            return Err(changed(path));
        }
        pieces.buffer.resize(pieces.buffer.len() + padding(stat.size), 0);
        self.options.progress.add(1, stat.size);
        Ok(Some(ReadFile::of(&stat, tree::shorten(&hasher.finalize()))))
    }
}

/// Queue of jobs, with one permit for each.
pub(super) struct Jobs {
    sender: SyncSender<(usize, Job)>,
    permits: SyncSender<()>,
    next: std::cell::Cell<usize>,
}

impl Jobs {
    pub(super) fn new(sender: SyncSender<(usize, Job)>, permits: SyncSender<()>) -> Self {
        Self {
            sender,
            permits,
            next: 0.into(),
        }
    }

    /// Returns `false` if no worker accepts jobs any more.
    fn send(&self, job: Job) -> bool {
        let number = self.next.replace(self.next.get() + 1);
        self.permits.send(()).is_ok() && self.sender.send((number, job)).is_ok()
    }
}

/// Bytes of the tar stream, split into frames.
struct Pieces<'a> {
    jobs: &'a Jobs,
    buffer: Vec<u8>,
}

impl Pieces<'_> {
    /// Sends a full frame. Returns `false` if no worker accepts it.
    fn cut(&mut self) -> bool {
        if self.buffer.len() < FRAME_BYTES {
            return true;
        }
        let rest = self.buffer.split_off(FRAME_BYTES);
        let mut next = Vec::with_capacity(FRAME_BYTES);
        next.extend_from_slice(&rest);
        self.jobs
            .send(Job::Bytes(std::mem::replace(&mut self.buffer, next)))
    }

    fn finish(&mut self) -> bool {
        if self.buffer.is_empty() {
            return true;
        }
        self.jobs.send(Job::Bytes(std::mem::take(&mut self.buffer)))
    }
}
