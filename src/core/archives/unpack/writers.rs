//! Writes files to the disk: small ones in batches on several threads, with at most four system calls each.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::Scope;

use crate::core::archives::Progress;
use crate::core::archives::sizing::cores;
use crate::core::archives::tree::as_path;
use crate::core::archives::unpack::files::{create, seal};
use crate::core::failure::{Failure, Result};
use crate::core::sys::dir::Directory;
use crate::core::sys::sync::{Condvar, Mutex};
use crate::core::sys::{fs, thread};

/// Number of files in a batch. Batches of 32 were the fastest in utoo's measurements. Single files lose to the
/// scheduler.
const BATCH_FILES: usize = 32;
/// Number of bytes that fill a batch.
const BATCH_BYTES: usize = 4 << 20;
const MOST_WRITERS: usize = 4;
/// Small files that one writer gets together.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) data: Vec<u8>,
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
    pub(super) fn add(
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

    pub(super) fn is_full(&self) -> bool {
        self.files.len() >= BATCH_FILES || self.data.len() >= BATCH_BYTES
    }

    pub(super) fn is_empty(&self) -> bool {
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

/// Threads that write batches.
pub(super) struct Writers<'scope> {
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

impl<'scope> Writers<'scope> {
    /// Starts one thread for each core except that of the parser. More threads gain nothing, because the kernel is the
    /// bottleneck.
    pub(super) fn start<'env>(
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

    /// Returns a batch to fill: a written one if there is one, otherwise a new one.
    pub(super) fn spent_batch(&self) -> Batch {
        self.spent.try_recv().unwrap_or_default()
    }

    /// Sends a batch. Waits while all writers are busy.
    pub(super) fn send(&self, batch: Batch) -> Result<()> {
        self.check()?;
        *self.state.pending.lock() += 1;
        if let Some(batches) = &self.batches
            && batches.send(batch).is_ok()
        {
            return Ok(());
        }
        self.check()?;
        Err(Failure::corrupt("the threads that write files have ended"))
    }

    /// Waits until all sent batches are written.
    pub(super) fn wait(&self) -> Result<()> {
        let mut pending = self.state.pending.lock();
        while *pending > 0 {
            pending = self.state.idle.wait(pending);
        }
        drop(pending);
        self.check()
    }

    fn check(&self) -> Result<()> {
        if self.state.has_failed.load(Ordering::Acquire)
            && let Some(failure) = self.state.failure.lock().take()
        {
            return Err(failure);
        }
        Ok(())
    }

    /// Ends the threads. If a writer failed, its error is returned, because it caused the later ones.
    pub(super) fn finish(&mut self, result: Result<()>) -> Result<()> {
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
        let next = received.lock().recv();
        let Ok(mut batch) = next else {
            return;
        };
        if !state.has_failed.load(Ordering::Acquire)
            && let Err(failure) = batch.write(umask, progress)
        {
            state.failure.lock().get_or_insert(failure);
            state.has_failed.store(true, Ordering::Release);
        }
        batch.clear();
        // Sending fails if the parser has ended.
        drop(give_back.send(batch));
        *state.pending.lock() -= 1;
        state.idle.notify_all();
    }
}
