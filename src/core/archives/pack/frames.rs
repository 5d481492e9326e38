//! Frames of an archive, compressed by several threads and written in order.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use crate::core::archives::codec::{FRAME_BYTES, Frame, FrameEncoder};
use crate::core::archives::directory_cache::DirectoryCache;
use crate::core::archives::pack::output::Output;
use crate::core::archives::pack::plan::{Job, Jobs, Plan};
use crate::core::archives::pack::scan_result::{ScanResult, Update};
use crate::core::archives::pack::source::small_file;
use crate::core::archives::sizing::cores;
use crate::core::failure::{Failure, Result};
use crate::core::sys::dir::Directory;
use crate::core::sys::sync::Mutex;
use crate::core::sys::thread;

const MOST_COMPRESSORS: usize = 4;

/// A compressed frame.
struct Done {
    number: usize,
    result: Result<(Frame, Vec<Update>)>,
}

/// Writes all frames of files to the output.
pub(super) fn write_frames(plan: &Plan<'_>, output: &mut Output<'_>, scan: &mut ScanResult) -> Result<()> {
    let workers = cores().min(MOST_COMPRESSORS);
    // Number of frames in progress, which limits the memory.
    let (permits, taken) = sync_channel::<()>(2 * workers + 1);
    let (jobs, waiting) = sync_channel::<(usize, Job)>(workers);
    let (finished, done) = sync_channel::<Done>(workers);
    // The workers share it. When the last one ends, the planner's send fails.
    let waiting = Arc::new(Mutex::new(waiting));
    std::thread::scope(|scope| {
        thread::spawn_some(scope, "warmswap-frame", workers, || {
            let (finished, waiting) = (finished.clone(), Arc::clone(&waiting));
            move || work(plan, &waiting, &finished)
        })?;
        drop((finished, waiting));
        let planner = thread::spawn_scoped(scope, "warmswap-plan", move || {
            plan.plan(&Jobs::new(jobs, permits))
        })?;
        let collected = collect(plan, output, scan, &done, &taken);
        // A thread that is about to send a frame gets an error instead of blocking.
        drop((done, taken));
        let planned = planner
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        collected?;
        for update in planned? {
            scan.record(plan.tree, update);
        }
        Ok(())
    })
}

/// Writes the frames in order.
fn collect(
    plan: &Plan<'_>,
    output: &mut Output<'_>,
    scan: &mut ScanResult,
    done: &Receiver<Done>,
    taken: &Receiver<()>,
) -> Result<()> {
    let mut early = BTreeMap::new();
    let mut next = 0;
    for Done { number, result } in done {
        plan.options.cancel.check()?;
        early.insert(number, result?);
        while let Some((frame, read)) = early.remove(&next) {
            output.frame(&frame)?;
            for update in read {
                scan.record(plan.tree, update);
            }
            next += 1;
            if taken.recv().is_err() {
                return Ok(());
            }
        }
    }
    Ok(())
}

fn work(plan: &Plan<'_>, waiting: &Mutex<Receiver<(usize, Job)>>, finished: &SyncSender<Done>) {
    let mut worker = match Worker::new(plan) {
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
        let next = waiting.lock().recv();
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

/// A thread that reads small files and compresses frames.
struct Worker<'a> {
    plan: &'a Plan<'a>,
    directories: DirectoryCache,
    encoder: FrameEncoder,
    /// Buffer for the files of one frame. It is reused, because a new one costs 4 MiB of page faults for each frame.
    raw: Vec<u8>,
}

impl<'a> Worker<'a> {
    fn new(plan: &'a Plan<'a>) -> Result<Self> {
        let options = plan.options;
        Ok(Self {
            plan,
            directories: DirectoryCache::new(Directory::open(plan.directory)?),
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
                    &mut self.directories,
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
