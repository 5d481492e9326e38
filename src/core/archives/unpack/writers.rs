//! Files on their way to the disk: small ones in batches on a few threads, at most four system calls each.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::Scope;
use std::time::Duration;

use crate::core::error::Error;
use crate::core::sys::cancel::Cancel;
use crate::core::sys::dir::Directory;
use crate::core::sys::{dir, fs, thread};

use crate::core::archives::Progress;
use crate::core::archives::directories::{cut, twice};
use crate::core::archives::sizing::cores;
use crate::core::archives::tree::{self, Hash, as_path};
use crate::core::failure::{Failure, Result};

/// Files of one batch. utoo measured batches of 32 best: one by one loses to the scheduler.
const BATCH_FILES: usize = 32;
/// Bytes after which a batch is full.
const BATCH_BYTES: usize = 4 << 20;
const MOST_WRITERS: usize = 4;
/// Waits for a file descriptor, doubling from 2 ms to 200 ms: 5 s together (pnpm does the same).
const DESCRIPTOR_TRIES: u32 = 32;

/// Whether this process or machine has no file descriptor left.
pub(in crate::core::archives) fn is_out_of_descriptors(error: &Error) -> bool {
    const EMFILE: i32 = 24;
    const ENFILE: i32 = 23;
    matches!(error.errno(), Some(EMFILE | ENFILE))
}

/// Makes a new file of the archive.
pub(in crate::core::archives) fn create(directory: &Directory, path: &[u8], mode: u32) -> Result<File> {
    let name = OsStr::from_bytes(cut(path).1);
    let mut pause = Duration::from_millis(2);
    for _ in 1..DESCRIPTOR_TRIES {
        match directory.create_new(name, mode, as_path(path)) {
            Err(error) if is_out_of_descriptors(&error) => {
                std::thread::sleep(pause);
                pause = (pause * 2).min(Duration::from_millis(200));
            }
            Err(error) if error.is_exists() => return Err(twice(path)),
            result => return Ok(result?),
        }
    }
    Ok(directory.create_new(name, mode, as_path(path))?)
}

/// Sets what creation and writing could not: mode bits that the umask took, and the time.
pub(in crate::core::archives) fn seal(
    file: &File,
    path: &[u8],
    mode: u32,
    umask: u32,
    modified_ns: i64,
) -> Result<()> {
    if mode & umask != 0 {
        fs::set_file_mode(file, mode, as_path(path))?;
    }
    Ok(dir::set_file_modified(
        file,
        i128::from(modified_ns),
        as_path(path),
    )?)
}

/// Copies a file of the stage, where it cannot be linked.
pub(in crate::core::archives) fn copy(
    from: &Directory,
    existing: &[u8],
    to: &Directory,
    name: &[u8],
    path: &[u8],
    cancel: &Cancel,
) -> Result<()> {
    let mut source = from.open_file(OsStr::from_bytes(existing), as_path(path))?;
    let stat = fs::stat_file(&source, as_path(path))?;
    let mut file = create(to, name, stat.mode & 0o777)?;
    let mut buffer = vec![0; 1 << 20];
    loop {
        cancel.check()?;
        let count = source.read(&mut buffer).map_err(Failure::of_read)?;
        if count == 0 {
            break;
        }
        fs::write_all(&mut file, &buffer[..count], as_path(path))?;
    }
    fs::set_file_mode(&file, stat.mode & 0o777, as_path(path))?;
    Ok(dir::set_file_modified(&file, stat.modified_ns, as_path(path))?)
}

/// Hashes a file with holes as if it had none.
pub(in crate::core::archives) struct HoleHasher {
    hasher: Option<blake3::Hasher>,
    at: u64,
}

impl HoleHasher {
    pub(in crate::core::archives) fn new(is_wanted: bool) -> Self {
        Self {
            hasher: is_wanted.then(blake3::Hasher::new),
            at: 0,
        }
    }

    pub(in crate::core::archives) fn bytes(&mut self, bytes: &[u8]) {
        if let Some(hasher) = &mut self.hasher {
            hasher.update(bytes);
        }
        self.at += bytes.len() as u64;
    }

    pub(in crate::core::archives) fn hole_to(&mut self, offset: u64, cancel: &Cancel) -> Result<()> {
        static ZEROS: [u8; 64 << 10] = [0; 64 << 10];
        while self.hasher.is_some() && self.at < offset {
            cancel.check()?;
            let count = usize::try_from(offset - self.at)
                .unwrap_or(ZEROS.len())
                .min(ZEROS.len());
            self.bytes(&ZEROS[..count]);
        }
        self.at = offset;
        Ok(())
    }

    pub(in crate::core::archives) fn finish(self) -> Hash {
        self.hasher
            .map_or(Hash::default(), |hasher| tree::shorten(&hasher.finalize()))
    }
}

/// Small files that go to one writer together.
#[derive(Default)]
pub(in crate::core::archives) struct Batch {
    pub(in crate::core::archives) data: Vec<u8>,
    paths: Vec<u8>,
    files: Vec<SmallFile>,
}

struct SmallFile {
    directory: Arc<Directory>,
    path: std::ops::Range<usize>,
    data: std::ops::Range<usize>,
    mode: u32,
    modified_ns: i64,
}

impl Batch {
    /// Adds a file whose bytes are `data` from `start` on.
    pub(in crate::core::archives) fn add(
        &mut self,
        directory: Arc<Directory>,
        path: &[u8],
        mode: u32,
        modified_ns: i64,
        start: usize,
    ) {
        let path_start = self.paths.len();
        self.paths.extend_from_slice(path);
        self.files.push(SmallFile {
            directory,
            path: path_start..self.paths.len(),
            data: start..self.data.len(),
            mode,
            modified_ns,
        });
    }

    pub(in crate::core::archives) fn is_full(&self) -> bool {
        self.files.len() >= BATCH_FILES || self.data.len() >= BATCH_BYTES
    }

    pub(in crate::core::archives) fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    fn clear(&mut self) {
        self.data.clear();
        self.paths.clear();
        self.files.clear();
    }

    fn write(&self, umask: u32, progress: &Progress) -> Result<()> {
        for small in &self.files {
            let path = &self.paths[small.path.clone()];
            let bytes = &self.data[small.data.clone()];
            let mut file = create(&small.directory, path, small.mode)?;
            if !bytes.is_empty() {
                fs::write_all(&mut file, bytes, as_path(path))?;
            }
            seal(&file, path, small.mode, umask, small.modified_ns)?;
            progress.add(1, bytes.len() as u64);
        }
        Ok(())
    }
}

/// The threads that write batches.
pub(in crate::core::archives) struct Writers<'scope> {
    batches: Option<SyncSender<Batch>>,
    spent: Receiver<Batch>,
    state: Arc<State>,
    scope: std::marker::PhantomData<&'scope ()>,
}

#[derive(Default)]
struct State {
    pending: Mutex<usize>,
    idle: Condvar,
    has_failed: AtomicBool,
    failure: Mutex<Option<Failure>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<'scope> Writers<'scope> {
    /// One thread for each core but the one that parses: more gain nothing, the kernel is the limit.
    pub(in crate::core::archives) fn start<'env>(
        scope: &'scope Scope<'scope, 'env>,
        umask: u32,
        progress: &'env Arc<Progress>,
    ) -> Result<Self> {
        let count = cores().saturating_sub(1).clamp(1, MOST_WRITERS);
        let (batches, received) = sync_channel::<Batch>(count);
        let (give_back, spent) = channel();
        let received = Arc::new(Mutex::new(received));
        let state = Arc::new(State::default());
        thread::spawn_some(scope, "warmswap-write", count, || {
            let (received, give_back, state) = (Arc::clone(&received), give_back.clone(), Arc::clone(&state));
            move || write_batches(&received, &give_back, &state, umask, progress)
        })?;
        Ok(Self {
            batches: Some(batches),
            spent,
            state,
            scope: std::marker::PhantomData,
        })
    }

    /// A batch to fill, one that was written if there is one.
    pub(in crate::core::archives) fn spent_batch(&self) -> Batch {
        self.spent.try_recv().unwrap_or_default()
    }

    /// Hands a batch over; waits while all writers are busy.
    pub(in crate::core::archives) fn send(&self, batch: Batch) -> Result<()> {
        self.check()?;
        *lock(&self.state.pending) += 1;
        if let Some(batches) = &self.batches
            && batches.send(batch).is_ok()
        {
            return Ok(());
        }
        self.check()?;
        Err(Failure::corrupt("the threads that write files have ended"))
    }

    /// Waits until everything that was handed over is on its way to the disk.
    pub(in crate::core::archives) fn wait(&self) -> Result<()> {
        let mut pending = lock(&self.state.pending);
        while *pending > 0 {
            pending = self
                .state
                .idle
                .wait(pending)
                .unwrap_or_else(PoisonError::into_inner);
        }
        drop(pending);
        self.check()
    }

    fn check(&self) -> Result<()> {
        if self.state.has_failed.load(Ordering::Acquire)
            && let Some(failure) = lock(&self.state.failure).take()
        {
            return Err(failure);
        }
        Ok(())
    }

    /// Ends the threads. A writer's failure is the reason for what happened after it.
    pub(in crate::core::archives) fn finish(&mut self, result: Result<()>) -> Result<()> {
        self.batches = None;
        self.check()?;
        result
    }
}

fn write_batches(
    received: &Mutex<Receiver<Batch>>,
    give_back: &Sender<Batch>,
    state: &State,
    umask: u32,
    progress: &Progress,
) {
    loop {
        let next = lock(received).recv();
        let Ok(mut batch) = next else {
            return;
        };
        if !state.has_failed.load(Ordering::Acquire)
            && let Err(failure) = batch.write(umask, progress)
        {
            lock(&state.failure).get_or_insert(failure);
            state.has_failed.store(true, Ordering::Release);
        }
        batch.clear();
        // The parser may have ended.
        drop(give_back.send(batch));
        *lock(&state.pending) -= 1;
        state.idle.notify_all();
    }
}
