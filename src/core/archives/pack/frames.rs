//! Frames of an archive, made by a few threads and handed out in order.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use crate::core::sys::dir::{self, Directory};
use crate::core::sys::fault;
use crate::core::sys::fs;
use crate::core::sys::thread;

use crate::core::archives::codec::{self, FRAME_BYTES, Frame, FrameEncoder};
use crate::core::archives::directories::Way;
use crate::core::archives::format::{BLOCK, padding};
use crate::core::archives::pack::source::{ReadFile, append_file, changed, open, small_file};
use crate::core::archives::pack::walk::Walk;
use crate::core::archives::pack::write::{Output, WriteOptions};
use crate::core::archives::sizing::{LARGE_FILE, cores};
use crate::core::archives::tree::{self, Hash, NodeKind, Tree, as_path};
use crate::core::failure::{Failure, Result};

const MOST_COMPRESSORS: usize = 4;
/// Room for headers of one small entry, its long path included.
const HEADER_ROOM: u64 = 3 * BLOCK as u64;

/// What was learned by reading the files of a tree. Nearly all are what the walk saw, so only their hashes are new.
pub(in crate::core::archives) struct Learned {
    hashes: Vec<Hash>,
    others: Vec<Update>,
}

impl Learned {
    /// `hashes` has room for one of each entry.
    pub(in crate::core::archives) fn new(hashes: Vec<Hash>) -> Self {
        Self {
            hashes,
            others: Vec::new(),
        }
    }

    fn take(&mut self, tree: &Tree, update: Update) {
        let index = update.index as usize;
        let Some(read) = &update.read else {
            self.others.push(update);
            return;
        };
        self.hashes[index] = read.hash;
        let node = tree.nodes()[index];
        if (node.size, node.mode(), tree.facts(index)) != (read.size, read.mode, read.facts) {
            self.others.push(update);
        }
    }

    /// Brings the tree up to date. Says which entries had vanished.
    pub(in crate::core::archives) fn apply(self, tree: &mut Tree) -> Vec<bool> {
        tree.put_hashes(self.hashes);
        let mut gone = vec![false; tree.len()];
        for Update { index, read } in self.others {
            let index = index as usize;
            match read {
                Some(read) => {
                    tree.set(index, u32::from(read.mode), read.size);
                    tree.set_facts(index, read.facts);
                }
                None => gone[index] = true,
            }
        }
        gone
    }
}

/// What was learned of a file by reading it.
struct Update {
    index: u32,
    /// `None` where it had vanished.
    read: Option<ReadFile>,
}

/// One frame to be made.
enum Job {
    /// Small files, as positions in the plan's order.
    Files(Range<usize>),
    /// Bytes of the tar stream.
    Bytes(Vec<u8>),
}

/// A frame that was made.
struct Done {
    number: usize,
    result: Result<(Frame, Vec<Update>)>,
}

/// What is read, by whom.
pub(in crate::core::archives) struct Plan<'a> {
    directory: &'a Path,
    tree: &'a Tree,
    options: &'a WriteOptions,
    large: Vec<u32>,
    small: Vec<u32>,
}

impl<'a> Plan<'a> {
    pub(in crate::core::archives) fn new(
        directory: &'a Path,
        walk: &'a Walk,
        options: &'a WriteOptions,
    ) -> Result<Self> {
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

    /// Sends all frames of files to the output.
    pub(in crate::core::archives) fn run(
        &self,
        output: &mut Output<'_>,
        learned: &mut Learned,
    ) -> Result<()> {
        let workers = cores().min(MOST_COMPRESSORS);
        // Frames that are on their way at once: the bound on memory.
        let (permits, taken) = sync_channel::<()>(2 * workers + 1);
        let (jobs, waiting) = sync_channel::<(usize, Job)>(workers);
        let (finished, done) = sync_channel::<Done>(workers);
        // Owned by the workers together: when the last one ends the planner learns that nobody takes jobs.
        let waiting = Arc::new(Mutex::new(waiting));
        std::thread::scope(|scope| {
            thread::spawn_some(scope, "warmswap-frame", workers, || {
                let (finished, waiting) = (finished.clone(), Arc::clone(&waiting));
                move || self.work(&waiting, &finished)
            })?;
            drop((finished, waiting));
            let planner = thread::spawn_scoped(scope, "warmswap-plan", move || {
                self.plan(&Jobs {
                    sender: jobs,
                    permits,
                    next: 0.into(),
                })
            })?;
            let collected = self.collect(output, learned, &done, &taken);
            // Whoever still wants to hand something over learns that nobody takes it any more.
            drop((done, taken));
            let planned = planner
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            collected?;
            for update in planned? {
                learned.take(self.tree, update);
            }
            Ok(())
        })
    }

    /// Writes the frames in order.
    fn collect(
        &self,
        output: &mut Output<'_>,
        learned: &mut Learned,
        done: &Receiver<Done>,
        taken: &Receiver<()>,
    ) -> Result<()> {
        let mut early = BTreeMap::new();
        let mut next = 0;
        for Done { number, result } in done {
            self.options.cancel.check()?;
            early.insert(number, result?);
            while let Some((frame, read)) = early.remove(&next) {
                output.frame(&frame)?;
                for update in read {
                    learned.take(self.tree, update);
                }
                next += 1;
                if taken.recv().is_err() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn plan(&self, jobs: &Jobs) -> Result<Vec<Update>> {
        let mut pieces = Pieces {
            jobs,
            buffer: Vec::with_capacity(FRAME_BYTES),
        };
        let mut updates = Vec::new();
        let mut way = Way::new(Directory::open(self.directory)?);
        for index in &self.large {
            let read = self.large_file(*index, &mut way, &mut pieces)?;
            updates.push(Update { index: *index, read });
        }
        if !pieces.end() {
            return Ok(updates);
        }
        let mut start = 0;
        let mut size = 0;
        for (position, index) in self.small.iter().enumerate() {
            let node = &self.tree.nodes()[*index as usize];
            let entry = HEADER_ROOM + node.size.next_multiple_of(BLOCK as u64);
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

    /// Streams a file of more than 1 MiB. What was sent of it cannot be taken back, so there is no second try.
    fn large_file(&self, index: u32, way: &mut Way, pieces: &mut Pieces<'_>) -> Result<Option<ReadFile>> {
        let path = self.tree.path_at(index);
        let Some((file, stat)) = open(way, path)? else {
            return Ok(None);
        };
        append_file(&mut pieces.buffer, path, &stat);
        let mut hasher = blake3::Hasher::new();
        let mut offset = 0;
        while offset < stat.size {
            self.options.cancel.check()?;
            let start = pieces.buffer.len();
            let room = (FRAME_BYTES - start.min(FRAME_BYTES)).max(BLOCK) as u64;
            let wanted = usize::try_from(room.min(stat.size - offset)).unwrap_or(FRAME_BYTES);
            pieces.buffer.resize(start + wanted, 0);
            let count = dir::read_at(&file, &mut pieces.buffer[start..], offset, as_path(path))?;
            if count < wanted {
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
        if fs::stat_file(&file, as_path(path))? != stat && !fault::mutant("pack-torn-files") {
            return Err(changed(path));
        }
        pieces.buffer.resize(pieces.buffer.len() + padding(stat.size), 0);
        self.options.progress.add(1, stat.size);
        Ok(Some(ReadFile::of(&stat, tree::shorten(&hasher.finalize()))))
    }

    fn work(&self, waiting: &Mutex<Receiver<(usize, Job)>>, finished: &SyncSender<Done>) {
        let mut worker = match Worker::new(self) {
            Ok(worker) => worker,
            Err(failure) => {
                drop(finished.send(Done {
                    number: 0,
                    result: Err(failure),
                }));
                return;
            }
        };
        loop {
            let next = waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let Ok((number, job)) = next else {
                return;
            };
            let result = worker.frame(job);
            let is_over = result.is_err();
            if finished.send(Done { number, result }).is_err() || is_over {
                return;
            }
        }
    }
}

/// Where jobs are handed over, one permit each.
struct Jobs {
    sender: SyncSender<(usize, Job)>,
    permits: SyncSender<()>,
    next: std::cell::Cell<usize>,
}

impl Jobs {
    /// False once nobody takes jobs any more.
    fn send(&self, job: Job) -> bool {
        let number = self.next.replace(self.next.get() + 1);
        self.permits.send(()).is_ok() && self.sender.send((number, job)).is_ok()
    }
}

/// Bytes of the tar stream, cut into frames.
struct Pieces<'a> {
    jobs: &'a Jobs,
    buffer: Vec<u8>,
}

impl Pieces<'_> {
    /// Hands a full frame over; false once nobody takes it.
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

    fn end(&mut self) -> bool {
        if self.buffer.is_empty() {
            return true;
        }
        self.jobs.send(Job::Bytes(std::mem::take(&mut self.buffer)))
    }
}

/// One thread that reads small files and compresses frames.
struct Worker<'a> {
    plan: &'a Plan<'a>,
    way: Way,
    encoder: FrameEncoder,
    /// The files of one frame. Kept: a new one would be 4 MiB of page faults for each frame.
    raw: Vec<u8>,
}

impl<'a> Worker<'a> {
    fn new(plan: &'a Plan<'a>) -> Result<Self> {
        let options = plan.options;
        Ok(Self {
            plan,
            way: Way::new(Directory::open(plan.directory)?),
            encoder: FrameEncoder::new(options.format, options.level).map_err(Failure::of_read)?,
            raw: Vec::with_capacity(FRAME_BYTES),
        })
    }

    fn frame(&mut self, job: Job) -> Result<(Frame, Vec<Update>)> {
        let range = match job {
            Job::Bytes(raw) => return Ok((self.encode(&raw)?, Vec::new())),
            Job::Files(range) => range,
        };
        let mut updates = Vec::with_capacity(range.len());
        let mut raw = std::mem::take(&mut self.raw);
        raw.clear();
        for index in &self.plan.small[range] {
            self.plan.options.cancel.check()?;
            updates.push(Update {
                index: *index,
                read: small_file(
                    self.plan.tree.path_at(*index),
                    &mut self.way,
                    self.plan.options,
                    &mut raw,
                )?,
            });
        }
        let frame = self.encode(&raw)?;
        self.raw = raw;
        Ok((frame, updates))
    }

    fn encode(&mut self, raw: &[u8]) -> Result<Frame> {
        self.encoder.encode(raw).map_err(Failure::of_read)
    }
}
