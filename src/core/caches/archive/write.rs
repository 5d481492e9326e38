//! From a directory to a stream. One thread plans and reads large files, a few read small ones and compress,
//! the caller's writes their frames in order.
//!
//! Order of the archive: files above 1 MiB, other files, further hard links, symbolic links, each sorted; then
//! directories, the deepest first. So no entry needs a later one, and a reader that works entry by entry sets a
//! directory's mode and time when nothing will be made in it any more (GNU tar would otherwise set the time of
//! each directory that is not followed by its content too early).

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::ops::Range;
use std::path::Path;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::sync::Arc;

use crate::core::error::Optional as _;
use crate::core::sys::cancel::Cancel;
use crate::core::sys::dir::{self, Directory};
use crate::core::sys::fault;
use crate::core::sys::fs::{self, Kind, Stat};

use super::super::codec::{self, Envelope, FRAME_BYTES, Format, Frame, FrameEncoder};
use super::super::exclude::Excludes;
use super::super::failure::{Failure, Result};
use super::super::tree::{self, Facts, Hash, NodeKind, Tree, as_path};
use super::directories::{Way, cut};
use super::header::{self, Fields, flag};
use super::walk::{self, Skipped, Walk};
use super::{BLOCK, LARGE_FILE, Progress, cores, links, padding};

const MOST_COMPRESSORS: usize = 4;
/// Room for headers of one small entry, its long path included.
const HEADER_ROOM: u64 = 3 * BLOCK as u64;

/// How to pack.
#[derive(Debug, Clone)]
pub struct WriteOptions {
    /// How the archive is compressed.
    pub format: Format,
    /// The codec's level; see [`codec::check_level`].
    pub level: i32,
    /// What is left out.
    pub excludes: Excludes,
    /// Whether files are hashed, for the digest of [`WriteSummary::tree`].
    pub hash: bool,
    /// Raised to stop.
    pub cancel: Cancel,
    /// Counted while it happens.
    pub progress: Arc<Progress>,
}

impl Default for WriteOptions {
    fn default() -> Self {
        Self {
            format: Format::TarZst,
            level: codec::DEFAULT_LEVEL,
            excludes: Excludes::default(),
            hash: true,
            cancel: Cancel::new(),
            progress: Arc::default(),
        }
    }
}

/// What was packed.
#[derive(Debug)]
pub struct WriteSummary {
    /// Regular files, further hard links included.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Bytes handed to the sink.
    pub compressed_bytes: u64,
    /// Compressed frames.
    pub frames: u64,
    /// All entries, with what stat said of them, and with hashes if they were asked for.
    pub tree: Tree,
    /// What is there but is not in the archive: what vanished meanwhile, sockets, live databases.
    pub skipped: Vec<Skipped>,
    /// Symbolic links that leave the tree: a restore with `symlinks: 'contained'` refuses them.
    pub leaving_links: u64,
}

/// Packs a directory. The bytes that a sink was given are only an archive if this returns `Ok`: a file that
/// changes while it is read, twice in a row, ends it with the outcome 'unstable'.
pub fn write(directory: &Path, sink: &mut dyn Write, options: &WriteOptions) -> Result<WriteSummary> {
    let Walk {
        tree,
        hard_links,
        skipped,
    } = walk::walk(directory, &options.excludes, &options.cancel)?;
    let plan = Plan::new(directory, &tree, &hard_links, options)?;
    let mut output = Output {
        sink,
        envelope: Envelope::new(options.format),
        bytes: 0,
    };
    let head = output.envelope.head();
    output.send(head)?;
    let updates = plan.run(&mut output)?;
    finish(directory, tree, &hard_links, skipped, updates, options, output)
}

/// The entries that need no file to be read come last: links, directories, and the end of the archive.
fn finish(
    directory: &Path,
    mut tree: Tree,
    hard_links: &[(u32, u32)],
    mut skipped: Vec<Skipped>,
    updates: Vec<Update>,
    options: &WriteOptions,
    mut output: Output<'_>,
) -> Result<WriteSummary> {
    let mut is_gone = vec![false; tree.len()];
    for update in updates {
        let index = update.index as usize;
        let Some(read) = update.read else {
            skipped.push(Skipped::new(tree.path(&tree.nodes()[index]), "vanished"));
            is_gone[index] = true;
            continue;
        };
        apply(&mut tree, index, &read);
    }
    let mut tail = Vec::new();
    for (index, first) in hard_links {
        if is_gone[*first as usize] {
            return Err(Failure::unstable(
                "a file vanished while another name of it is packed",
            ));
        }
        append_hard_link(&mut tail, &mut tree, *index as usize, *first as usize);
    }
    let mut way = Way::new(Directory::open(directory)?);
    let mut leaving_links = 0;
    for (index, gone) in is_gone.iter_mut().enumerate() {
        if tree.nodes()[index].kind != NodeKind::Symlink {
            continue;
        }
        if let Some(leaves) = append_link(&mut tail, &mut tree, index, &mut way)? {
            leaving_links += u64::from(leaves);
        } else {
            skipped.push(Skipped::new(tree.path(&tree.nodes()[index]), "vanished"));
            *gone = true;
        }
    }
    // A directory stands before what it holds, so the other way round the deepest come first.
    for index in (0..tree.len()).rev() {
        if tree.nodes()[index].kind == NodeKind::Directory {
            append_directory(&mut tail, &tree, index);
        }
    }
    // The end of a tar archive.
    tail.resize(tail.len() + 2 * BLOCK, 0);
    let mut encoder = FrameEncoder::new(options.format, options.level).map_err(Failure::of_read)?;
    for piece in tail.chunks(FRAME_BYTES) {
        output.frame(&encoder.encode(piece).map_err(Failure::of_read)?)?;
    }
    let end = output.envelope.tail();
    output.send(&end)?;
    output.sink.flush().map_err(Failure::of_read)?;
    tree.retain(|index| !is_gone[index]);
    let (files, bytes) = tree.totals();
    Ok(WriteSummary {
        files,
        bytes,
        compressed_bytes: output.bytes,
        frames: output.envelope.frames(),
        tree,
        skipped,
        leaving_links,
    })
}

fn apply(tree: &mut Tree, index: usize, read: &ReadFile) {
    let node = tree.node_mut(index);
    node.size = read.size;
    node.mode = read.mode;
    node.hash = read.hash;
    *tree.facts_mut(index) = read.facts;
}

fn append_hard_link(tail: &mut Vec<u8>, tree: &mut Tree, index: usize, first: usize) {
    let (original, facts) = (tree.nodes()[first], tree.facts(first));
    let node = tree.node_mut(index);
    (node.size, node.mode, node.hash) = (original.size, original.mode, original.hash);
    *tree.facts_mut(index) = facts;
    header::append(
        tail,
        &Fields {
            flag: flag::LINK,
            path: tree.path(&tree.nodes()[index]),
            link: tree.path(&original),
            mode: u32::from(original.mode),
            size: 0,
            modified_ns: facts.modified_ns,
        },
    );
}

fn append_directory(tail: &mut Vec<u8>, tree: &Tree, index: usize) {
    let node = &tree.nodes()[index];
    let path = [tree.path(node), b"/"].concat();
    let fields = Fields {
        flag: flag::DIRECTORY,
        path: &path,
        link: b"",
        mode: u32::from(node.mode),
        size: 0,
        modified_ns: tree.facts(index).modified_ns,
    };
    header::append(tail, &fields);
}

/// Whether the link leaves the tree; `None` where it is no link any more.
fn append_link(tail: &mut Vec<u8>, tree: &mut Tree, index: usize, way: &mut Way) -> Result<Option<bool>> {
    let path = tree.path(&tree.nodes()[index]).to_vec();
    let (parent, name) = cut(&path);
    let Some(target) = way
        .existing(parent)
        .and_then(|directory| directory.read_link(OsStr::from_bytes(name), as_path(&path)))
        .optional()?
    else {
        return Ok(None);
    };
    let node = tree.node_mut(index);
    node.size = target.len() as u64;
    node.hash = tree::hash(&target);
    header::append(
        tail,
        &Fields {
            flag: flag::SYMLINK,
            path: &path,
            link: &target,
            mode: 0o777,
            size: 0,
            modified_ns: tree.facts(index).modified_ns,
        },
    );
    Ok(Some(links::leaves_by_text(&path, &target)))
}

/// The sink and what was sent to it.
struct Output<'a> {
    sink: &'a mut dyn Write,
    envelope: Envelope,
    bytes: u64,
}

impl Output<'_> {
    fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.sink.write_all(bytes).map_err(Failure::of_read)?;
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    fn frame(&mut self, frame: &Frame) -> Result<()> {
        self.envelope.add(frame)?;
        self.send(&frame.bytes)
    }
}

/// What was learned of a file by reading it.
struct Update {
    index: u32,
    /// `None` where it had vanished.
    read: Option<ReadFile>,
}

struct ReadFile {
    size: u64,
    mode: u16,
    hash: Hash,
    facts: Facts,
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

struct Plan<'a> {
    directory: &'a Path,
    tree: &'a Tree,
    options: &'a WriteOptions,
    large: Vec<u32>,
    small: Vec<u32>,
}

impl<'a> Plan<'a> {
    fn new(
        directory: &'a Path,
        tree: &'a Tree,
        hard_links: &[(u32, u32)],
        options: &'a WriteOptions,
    ) -> Result<Self> {
        codec::check_level(options.format, options.level)?;
        let mut plan = Self {
            directory,
            tree,
            options,
            large: Vec::new(),
            small: Vec::new(),
        };
        let mut links = hard_links.iter().map(|(index, _)| *index).peekable();
        for (index, node) in (0_u32..).zip(tree.nodes()) {
            if links.next_if_eq(&index).is_some() {
                continue;
            }
            match node.kind {
                NodeKind::File if node.size > LARGE_FILE => plan.large.push(index),
                NodeKind::File => plan.small.push(index),
                NodeKind::Directory | NodeKind::Symlink => {}
            }
        }
        Ok(plan)
    }

    fn run(&self, output: &mut Output<'_>) -> Result<Vec<Update>> {
        let workers = cores().min(MOST_COMPRESSORS);
        // Frames that are on their way at once: the bound on memory.
        let (permits, taken) = sync_channel::<()>(2 * workers + 1);
        let (jobs, waiting) = sync_channel::<(usize, Job)>(workers);
        let (finished, done) = sync_channel::<Done>(workers);
        // Owned by the workers together: when the last one ends the planner learns that nobody takes jobs.
        let waiting = Arc::new(Mutex::new(waiting));
        std::thread::scope(|scope| {
            for _ in 0..workers {
                let (finished, waiting) = (finished.clone(), Arc::clone(&waiting));
                scope.spawn(move || self.work(&waiting, &finished));
            }
            drop((finished, waiting));
            let planner = scope.spawn(move || {
                self.plan(&Jobs {
                    sender: jobs,
                    permits,
                    next: 0.into(),
                })
            });
            let collected = self.collect(output, &done, &taken);
            // Whoever still wants to hand something over learns that nobody takes it any more.
            drop((done, taken));
            let planned = planner
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            let mut updates = collected?;
            updates.extend(planned?);
            Ok(updates)
        })
    }

    /// Writes the frames in order.
    fn collect(
        &self,
        output: &mut Output<'_>,
        done: &Receiver<Done>,
        taken: &Receiver<()>,
    ) -> Result<Vec<Update>> {
        let mut early = BTreeMap::new();
        let mut next = 0;
        let mut updates = Vec::new();
        for Done { number, result } in done {
            self.options.cancel.check()?;
            early.insert(number, result?);
            while let Some((frame, read)) = early.remove(&next) {
                output.frame(&frame)?;
                updates.extend(read);
                next += 1;
                if taken.recv().is_err() {
                    return Ok(updates);
                }
            }
        }
        Ok(updates)
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
        let path = self.tree.path(&self.tree.nodes()[index as usize]);
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

impl ReadFile {
    fn of(stat: &Stat, hash: Hash) -> Self {
        Self {
            size: stat.size,
            mode: (stat.mode & 0o777) as u16,
            hash,
            facts: walk::facts(stat),
        }
    }
}

fn changed(path: &[u8]) -> Failure {
    Failure::unstable(format!("'{}' changed while it was read", path.escape_ascii()))
}

/// A file and what it is now; `None` where there is no such file any more.
fn open(way: &mut Way, path: &[u8]) -> Result<Option<(File, Stat)>> {
    let (parent, name) = cut(path);
    let opened = way
        .existing(parent)
        .and_then(|directory| directory.open_file(OsStr::from_bytes(name), as_path(path)))
        .optional()?;
    let Some(file) = opened else {
        return Ok(None);
    };
    let stat = fs::stat_file(&file, as_path(path))?;
    if stat.kind != Kind::File {
        return Err(changed(path));
    }
    Ok(Some((file, stat)))
}

fn append_file(out: &mut Vec<u8>, path: &[u8], stat: &Stat) {
    let fields = Fields {
        flag: flag::FILE,
        path,
        link: b"",
        mode: stat.mode & 0o777,
        size: stat.size,
        modified_ns: walk::facts(stat).modified_ns,
    };
    header::append(out, &fields);
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
                read: self.small_file(*index, &mut raw)?,
            });
        }
        let frame = self.encode(&raw)?;
        self.raw = raw;
        Ok((frame, updates))
    }

    fn encode(&mut self, raw: &[u8]) -> Result<Frame> {
        self.encoder.encode(raw).map_err(Failure::of_read)
    }

    /// Appends a file. One that changes while it is read is read once more.
    fn small_file(&mut self, index: u32, raw: &mut Vec<u8>) -> Result<Option<ReadFile>> {
        let path = self.plan.tree.path(&self.plan.tree.nodes()[index as usize]);
        let start = raw.len();
        for _ in 0..2 {
            raw.truncate(start);
            let Some((file, stat)) = open(&mut self.way, path)? else {
                return Ok(None);
            };
            append_file(raw, path, &stat);
            let data = raw.len();
            // A file that grew beyond what a batch holds is torn: the walk saw it below 1 MiB.
            let size = usize::try_from(stat.size).unwrap_or(usize::MAX);
            if size > FRAME_BYTES {
                continue;
            }
            let count = dir::append_from(&file, raw, size, as_path(path))?;
            let is_whole = count == size && fs::stat_file(&file, as_path(path))? == stat;
            if is_whole || fault::mutant("pack-torn-files") {
                // What the header promised, also where the seeded bug takes other bytes for whole.
                raw.resize(data + size, 0);
                let hash = if self.plan.options.hash {
                    tree::hash(&raw[data..])
                } else {
                    Hash::default()
                };
                raw.resize(raw.len() + padding(stat.size), 0);
                self.plan.options.progress.add(1, stat.size);
                return Ok(Some(ReadFile::of(&stat, hash)));
            }
        }
        Err(changed(path))
    }
}
