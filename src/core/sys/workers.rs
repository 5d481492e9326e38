//! Threads for calls that block: started on demand, shared, and bounded for each filesystem, so that one that does not
//! answer (a dead mount) cannot use up the threads of the others.
//!
//! Which filesystem a path is on only the filesystem can say, and one that hangs does not. So each job begins by asking
//! (one `stat`). Of the jobs with the same path only one asks at a time, and the others wait for its answer; so do those
//! on one remote mount once several paths are asked for. A job that knows its device counts there, at most
//! [`Class::limit`] at a time. A mount that hangs so keeps a handful of threads, or [`Class::limit`] if it hangs later.
//!
//! Nobody waits for a thread: a call that gives up drops its future, and a job that has not begun then is skipped.

use std::any::Any;
use std::collections::{HashMap, VecDeque};
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, MutexGuard};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::core::error::{Code, Error, Result};
use crate::core::sys::cancel::Cancel;
use crate::core::sys::deadline::Deadline;
use crate::core::sys::mounts::Mounts;
use crate::core::sys::sync::{Condvar, Mutex};
use crate::core::sys::{fault, fs, thread};

/// A thread without work ends after so long.
const KEEP: Duration = Duration::from_secs(5);
/// From so many paths on that are asked for at the same time, which is a sign of one that hangs, those on one remote mount
/// share a turn; at most so many; and after which time one of them counts as hung.
const MANY_ASKING: usize = 4;
const MOST_ASKING: usize = 64;
const HUNG_AFTER: Duration = Duration::from_secs(2);
/// Where the operating system refuses a thread, a job waits for the thread of another one that began so recently.
const RECENT: Duration = Duration::from_secs(1);

/// What a call with a deadline may take at least: one that has passed is for one try.
const ONE_TRY: Duration = Duration::from_millis(250);
/// How much later than the work itself [`within`] gives up.
const MOMENT: Duration = Duration::from_millis(50);

/// What a job waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// Only the disk.
    Short,
    /// Also other jobs, other processes or the network: it must not keep those from running that it waits for.
    Long,
}

impl Class {
    fn limit(self) -> usize {
        match self {
            Self::Short => 16,
            Self::Long => 64,
        }
    }
}

/// What jobs are counted by.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Key {
    /// Jobs that ask for the devices of these paths, or of the remote mounts that they are on.
    Asking(Vec<PathBuf>),
    Device(Class, u64),
    /// Resolution of host names, which needs no filesystem.
    Names,
}

impl Key {
    fn asking(class: Class, paths: &[PathBuf], asking: usize) -> Self {
        if fault::mutant("workers-shared") {
            return Self::Device(class, 0);
        }
        if asking < MANY_ASKING {
            return Self::Asking(paths.to_vec());
        }
        let mounts = Mounts::read();
        Self::Asking(
            paths
                .iter()
                .map(|path| mounts.place(path).to_path_buf())
                .collect(),
        )
    }

    fn limit(&self) -> usize {
        match self {
            Self::Asking(_) => 1,
            Self::Device(class, _) => class.limit(),
            Self::Names => 64,
        }
    }
}

/// Work, and how its caller hears of it.
trait Work: Send {
    /// Runs, or answers with the reason why there is no thread.
    fn run(self: Box<Self>, start: Result<()>);
    /// Whether nobody waits for it any more.
    fn is_abandoned(&self) -> bool;
}

struct Job {
    class: Class,
    paths: Vec<PathBuf>,
    work: Box<dyn Work>,
}

struct Answered<T, F> {
    work: F,
    caller: oneshot::Sender<Outcome<T>>,
    /// A job that nobody waits for is done all the same.
    is_detached: bool,
}

type Outcome<T> = std::result::Result<T, Stopped>;

enum Stopped {
    Refused(Error),
    Panicked(Box<dyn Any + Send>),
}

impl<T: Send, F: FnOnce() -> T + Send> Work for Answered<T, F> {
    fn run(self: Box<Self>, start: Result<()>) {
        let Self { work, caller, .. } = *self;
        let outcome = match start {
            Ok(()) => std::panic::catch_unwind(AssertUnwindSafe(work)).map_err(Stopped::Panicked),
            Err(error) => Err(Stopped::Refused(error)),
        };
        // The caller may have given up: what the work made is dropped here, where it may block.
        drop(caller.send(outcome));
    }

    fn is_abandoned(&self) -> bool {
        !self.is_detached && self.caller.is_closed()
    }
}

/// Runs `work`, which blocks, on a thread that counts for the filesystem of `path`.
///
/// # Errors
/// `ERR_IO` where there is no thread for it. A panic of `work` goes on in the caller.
pub async fn run<T: Send + 'static>(
    class: Class,
    path: &Path,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T> {
    run_at(class, vec![path.to_path_buf()], work).await
}

/// As [`run`], for work on several paths: it counts for the filesystem of the last one, once all of them answer.
///
/// # Errors
/// As [`run`].
pub async fn run_at<T: Send + 'static>(
    class: Class,
    paths: Vec<PathBuf>,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T> {
    start(class, paths, work).wait().await
}

/// One step of asynchronous core code that waits only for the filesystems of these paths.
///
/// # Errors
/// Those of the work, and as [`run`].
pub async fn step<T: Send + 'static>(
    paths: Vec<PathBuf>,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    run_at(Class::Short, paths, work).await?
}

/// Starts `work` as [`run_at`] does, and does not wait for it.
pub fn start<T: Send + 'static>(
    class: Class,
    paths: Vec<PathBuf>,
    work: impl FnOnce() -> T + Send + 'static,
) -> Running<T> {
    let (caller, outcome) = oneshot::channel();
    submit(
        None,
        class,
        paths,
        Answered {
            work,
            caller,
            is_detached: false,
        },
    );
    Running(outcome)
}

/// Starts `work` that is done whether anybody waits for it or not. Where there is no thread it is dropped.
pub fn detach(class: Class, path: &Path, work: impl FnOnce() + Send + 'static) {
    let (caller, _) = oneshot::channel();
    let paths = vec![path.to_path_buf()];
    submit(
        None,
        class,
        paths,
        Answered {
            work,
            caller,
            is_detached: true,
        },
    );
}

/// Starts the resolution of a host name. Where there is no thread it is dropped.
pub(super) fn detach_name(work: impl FnOnce() + Send + 'static) {
    let (caller, _) = oneshot::channel();
    submit(
        Some(Key::Names),
        Class::Long,
        Vec::new(),
        Answered {
            work,
            caller,
            is_detached: true,
        },
    );
}

/// Work that was started.
pub struct Running<T>(oneshot::Receiver<Outcome<T>>);

impl<T> Running<T> {
    /// Its result.
    ///
    /// # Errors
    /// As [`run`].
    pub async fn wait(self) -> Result<T> {
        match self.0.await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(Stopped::Refused(error))) => Err(error),
            Ok(Err(Stopped::Panicked(panic))) => std::panic::resume_unwind(panic),
            Err(_) => Err(Error::new(Code::Closed, "the work was dropped before it began")),
        }
    }
}

/// Waits for work of [`run`], but not without end for a filesystem that does not answer: the work stays behind.
///
/// # Errors
/// Those of the work, `ERR_ABORTED`, and `ERR_TIMEOUT` a moment after the deadline: work that has a deadline of its own
/// can say more.
pub async fn within<T>(
    deadline: Deadline,
    cancel: &Cancel,
    path: &Path,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    let since = Instant::now();
    let end = async {
        match deadline.remaining() {
            Some(left) => tokio::time::sleep(left.max(ONE_TRY) + MOMENT).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        biased;
        done = work => done,
        () = cancel.cancelled() => Err(Cancel::error()),
        () = end => Err(Error::new(
            Code::Timeout,
            format!(
                "'{}' did not answer within {} ms: its filesystem hangs or is very slow. Check its mount, or raise timeoutMs",
                path.display(),
                since.elapsed().as_millis()
            ),
        )
        .at(path)),
    }
}

#[derive(Default)]
struct Group {
    running: usize,
    since: Option<Instant>,
    waiting: VecDeque<Job>,
}

#[derive(Default)]
struct State {
    groups: HashMap<Key, Group>,
    /// Jobs that count already and for each of which a thread is on its way.
    ready: VecDeque<(Key, Job)>,
    /// Jobs that wait because too many directories are asked for.
    crowd: VecDeque<(Key, Job)>,
    asking: usize,
    /// Threads that wait for work.
    idle: usize,
    /// When the short jobs that run have begun.
    begun: HashMap<u64, Instant>,
    last: u64,
}

/// What is done without the lock: refused jobs answer, abandoned ones are dropped. Either can block.
type Leaving = Vec<(Job, Option<Error>)>;

static STATE: LazyLock<Mutex<State>> = LazyLock::new(Mutex::default);
static WORK: Condvar = Condvar::new();

fn state() -> MutexGuard<'static, State> {
    STATE.lock()
}

fn submit(key: Option<Key>, class: Class, paths: Vec<PathBuf>, work: impl Work + 'static) {
    let key = key.unwrap_or_else(|| {
        let asking = state().asking;
        Key::asking(class, &paths, asking)
    });
    let job = Job {
        class,
        paths,
        work: Box::new(work),
    };
    let mut leaving = Leaving::new();
    state().admit(key, job, &mut leaving);
    finish(leaving);
}

fn finish(leaving: Leaving) {
    for (job, error) in leaving {
        if let Some(error) = error {
            job.work.run(Err(error));
        }
    }
}

impl State {
    fn admit(&mut self, key: Key, job: Job, leaving: &mut Leaving) {
        if matches!(key, Key::Asking(_)) && self.asking >= MOST_ASKING && !self.groups.contains_key(&key) {
            if self.has_hung() {
                leaving.push((job, Some(self.hung())));
            } else {
                self.crowd.push_back((key, job));
            }
            return;
        }
        let group = self.groups.entry(key.clone()).or_default();
        if group.running >= key.limit() {
            for _ in 0..group.waiting.len() {
                match group.waiting.pop_front() {
                    Some(other) if other.work.is_abandoned() => leaving.push((other, None)),
                    Some(other) => group.waiting.push_back(other),
                    None => {}
                }
            }
            group.waiting.push_back(job);
            return;
        }
        self.count(&key);
        if !self.dispatch(&key, job, leaving) {
            self.uncount(&key, leaving);
        }
    }

    fn count(&mut self, key: &Key) {
        let group = self.groups.entry(key.clone()).or_default();
        group.running += 1;
        group.since = Some(Instant::now());
        if matches!(key, Key::Asking(_)) {
            self.asking += 1;
        }
    }

    /// Finds a thread for a job that counts already. `false` where there is none, and the job is refused.
    fn dispatch(&mut self, key: &Key, job: Job, leaving: &mut Leaving) -> bool {
        let spawned = if self.idle > self.ready.len() {
            WORK.notify_one();
            Ok(())
        } else {
            thread::spawn("warmswap-work", serve)
        };
        match spawned {
            // One of those that run is done soon, and takes it.
            Err(error)
                if job.class == Class::Long || !self.begun.values().any(|begun| begun.elapsed() < RECENT) =>
            {
                leaving.push((job, Some(error)));
                false
            }
            _ => {
                self.ready.push_back((key.clone(), job));
                true
            }
        }
    }

    /// A job has ended, or has learned where it belongs: the next one of its group may begin.
    fn uncount(&mut self, key: &Key, leaving: &mut Leaving) {
        loop {
            let Some(group) = self.groups.get_mut(key) else {
                return;
            };
            group.running -= 1;
            let next = loop {
                match group.waiting.pop_front() {
                    Some(job) if job.work.is_abandoned() => leaving.push((job, None)),
                    next => break next,
                }
            };
            if next.is_none() && group.running == 0 {
                self.groups.remove(key);
            }
            if matches!(key, Key::Asking(_)) {
                self.asking -= 1;
            }
            let Some(job) = next else { break };
            self.count(key);
            if self.dispatch(key, job, leaving) {
                return;
            }
        }
        if matches!(key, Key::Asking(_))
            && self.asking < MOST_ASKING
            && let Some((key, job)) = self.crowd.pop_front()
        {
            self.admit(key, job, leaving);
        }
    }

    fn has_hung(&self) -> bool {
        self.asked().all(|(_, since)| since.elapsed() > HUNG_AFTER)
    }

    fn asked(&self) -> impl Iterator<Item = (&PathBuf, Instant)> {
        self.groups.iter().filter_map(|(key, group)| match key {
            Key::Asking(parents) => Some((parents.first()?, group.since?)),
            Key::Device(..) | Key::Names => None,
        })
    }

    fn hung(&self) -> Error {
        let oldest = self.asked().min_by_key(|(_, since)| *since);
        let path = oldest.map_or_else(String::new, |(path, _)| path.display().to_string());
        Error::new(
            Code::Timeout,
            format!(
                "{MOST_ASKING} paths of this process do not answer, the first of them '{path}'. Their filesystems hang: \
                 unmount them, or bring their servers back, and call again"
            ),
        )
    }
}

/// What a thread does.
fn serve() {
    let mut present = state();
    loop {
        if let Some((key, job)) = present.ready.pop_front() {
            drop(present);
            perform(key, job);
            present = state();
            continue;
        }
        present.idle += 1;
        let (next, has_timed_out) = WORK.wait_timeout(present, KEEP);
        present = next;
        present.idle -= 1;
        if has_timed_out && present.ready.is_empty() {
            return;
        }
    }
}

fn perform(key: Key, job: Job) {
    let begun = begin(job.class);
    let placed = match key {
        Key::Asking(_) => place(&key, job),
        key => Some((key, job)),
    };
    let mut leaving = Leaving::new();
    if let Some((key, job)) = placed {
        if job.work.is_abandoned() {
            leaving.push((job, None));
        } else {
            job.work.run(Ok(()));
        }
        state().uncount(&key, &mut leaving);
    }
    state().begun.remove(&begun);
    finish(leaving);
}

fn begin(class: Class) -> u64 {
    let mut state = state();
    state.last += 1;
    let number = state.last;
    if class == Class::Short {
        state.begun.insert(number, Instant::now());
    }
    number
}

/// Asks where a job belongs, and gives it back if it may run there now.
fn place(asking: &Key, job: Job) -> Option<(Key, Job)> {
    let mut device = 0;
    if !job.work.is_abandoned() {
        // Each of them, so that one that hangs does so here.
        for path in &job.paths {
            device = device_of(path);
        }
    }
    let key = Key::Device(job.class, device);
    let mut leaving = Leaving::new();
    let mut state = state();
    state.uncount(asking, &mut leaving);
    let group = state.groups.entry(key.clone()).or_default();
    let placed = if group.running < key.limit() {
        state.count(&key);
        Some((key, job))
    } else {
        group.waiting.push_back(job);
        None
    };
    drop(state);
    finish(leaving);
    placed
}

/// The device of what exists of a path; 0 where nothing can be asked.
fn device_of(path: &Path) -> u64 {
    path.ancestors()
        .find_map(|path| fs::stat_followed(path).ok())
        .map_or(0, |stat| stat.device)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    fn wait<T>(running: Running<T>) -> Result<T> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .expect("a runtime");
        runtime.block_on(running.wait())
    }

    #[test]
    fn more_jobs_than_threads_of_one_filesystem_all_run() {
        let root = tempfile::tempdir().expect("a temporary directory");
        let started: Vec<_> = (0..100)
            .map(|number| start(Class::Short, vec![root.path().join("x")], move || number))
            .collect();
        let sum: usize = started
            .into_iter()
            .map(|running| wait(running).expect("run"))
            .sum();
        assert_eq!(sum, 99 * 50);
    }

    #[test]
    fn jobs_that_hang_use_up_their_class_of_their_filesystem_and_nothing_else() {
        // Another filesystem than the temporary directory, whose class is filled.
        let root = tempfile::tempdir_in("/dev/shm").expect("a temporary directory in /dev/shm");
        let elsewhere = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).expect("a temporary directory");
        let (release, hung) = mpsc::channel::<()>();
        let hung = std::sync::Arc::new(Mutex::new(hung));
        let stuck: Vec<_> = (0..40)
            .map(|_| {
                let hung = std::sync::Arc::clone(&hung);
                start(Class::Short, vec![root.path().join("x")], move || {
                    let _ended = hung.lock().recv();
                })
            })
            .collect();
        wait(start(Class::Short, vec![elsewhere.path().join("x")], || ())).expect("another filesystem");
        wait(start(Class::Long, vec![root.path().join("x")], || ())).expect("another class");
        let late = start(Class::Short, vec![root.path().join("x")], || ());
        drop(late);
        drop(release);
        for running in stuck {
            wait(running).expect("run");
        }
    }

    #[test]
    fn a_panic_goes_on_in_the_caller_and_the_thread_stays() {
        let root = tempfile::tempdir().expect("a temporary directory");
        let failing = start(Class::Short, vec![root.path().to_path_buf()], || panic!("seeded"));
        let caught = std::panic::catch_unwind(AssertUnwindSafe(|| wait::<()>(failing)));
        assert_eq!(caught.expect_err("it panics").downcast_ref(), Some(&"seeded"));
        wait(start(Class::Short, vec![root.path().to_path_buf()], || ())).expect("run");
    }
}
