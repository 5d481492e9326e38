//! The threads, and the order of jobs.

use std::collections::{HashMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, MutexGuard};
use std::time::{Duration, Instant};

use super::job::{Class, GroupKey, Job, Work};
use crate::core::error::{Code, Error};
use crate::core::sys::sync::{Condvar, Mutex};
use crate::core::sys::{fs, thread};

/// Time after which an idle thread ends.
const KEEP: Duration = Duration::from_secs(5);
/// Maximum number of concurrent probes, and the time after which a probe counts as hung.
const MAX_PROBES: usize = 64;
const HUNG_AFTER: Duration = Duration::from_secs(2);
/// If the operating system refuses a thread, a job waits for the thread of another job that began within this time.
const RECENT: Duration = Duration::from_secs(1);

#[derive(Default)]
struct Group {
    running: usize,
    since: Option<Instant>,
    waiting: VecDeque<Job>,
}

#[derive(Default)]
struct Pool {
    groups: HashMap<GroupKey, Group>,
    /// Jobs that are already counted and for which a thread is about to be available.
    ready: VecDeque<(GroupKey, Job)>,
    /// Jobs that wait because too many paths are being probed.
    crowd: VecDeque<(GroupKey, Job)>,
    probes: usize,
    /// Number of threads that wait for work.
    idle: usize,
    /// Start times of the running short jobs.
    begun: HashMap<u64, Instant>,
    last: u64,
}

/// Work that is done without the lock: refused jobs return errors, and abandoned ones are dropped. Both can block.
type Leaving = Vec<(Job, Option<Error>)>;

static POOL: LazyLock<Mutex<Pool>> = LazyLock::new(Mutex::default);
static WORK: Condvar = Condvar::new();

fn pool() -> MutexGuard<'static, Pool> {
    POOL.lock()
}

pub(super) fn submit(key: Option<GroupKey>, class: Class, paths: Vec<PathBuf>, work: impl Work + 'static) {
    let key = key.unwrap_or_else(|| {
        let probes = pool().probes;
        GroupKey::probe(class, &paths, probes)
    });
    let job = Job {
        class,
        paths,
        work: Box::new(work),
    };
    let mut leaving = Leaving::new();
    pool().admit(key, job, &mut leaving);
    finish(leaving);
}

fn finish(leaving: Leaving) {
    for (job, error) in leaving {
        if let Some(error) = error {
            job.work.run(Err(error));
        }
    }
}

impl Pool {
    fn admit(&mut self, key: GroupKey, job: Job, leaving: &mut Leaving) {
        if matches!(key, GroupKey::Probe(_)) && self.probes >= MAX_PROBES && !self.groups.contains_key(&key) {
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

    fn count(&mut self, key: &GroupKey) {
        let group = self.groups.entry(key.clone()).or_default();
        group.running += 1;
        group.since = Some(Instant::now());
        if matches!(key, GroupKey::Probe(_)) {
            self.probes += 1;
        }
    }

    /// Finds a thread for a job that is already counted. Returns `false` if there is none and the job is refused.
    fn dispatch(&mut self, key: &GroupKey, job: Job, leaving: &mut Leaving) -> bool {
        let spawned = if self.idle > self.ready.len() {
            WORK.notify_one();
            Ok(())
        } else {
            thread::spawn("warmswap-work", serve)
        };
        match spawned {
            // A running job ends soon, and its thread then runs this one.
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

    /// Records that a job has ended or has found its device. The next job of its group may begin.
    fn uncount(&mut self, key: &GroupKey, leaving: &mut Leaving) {
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
            if matches!(key, GroupKey::Probe(_)) {
                self.probes -= 1;
            }
            let Some(job) = next else { break };
            self.count(key);
            if self.dispatch(key, job, leaving) {
                return;
            }
        }
        if matches!(key, GroupKey::Probe(_))
            && self.probes < MAX_PROBES
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
            GroupKey::Probe(parents) => Some((parents.first()?, group.since?)),
            GroupKey::Device(..) | GroupKey::Names => None,
        })
    }

    fn hung(&self) -> Error {
        let oldest = self.asked().min_by_key(|(_, since)| *since);
        let path = oldest.map_or_else(String::new, |(path, _)| path.display().to_string());
        Error::new(
            Code::Timeout,
            format!(
                "{MAX_PROBES} paths of this process do not respond, the first of them '{path}'. Their filesystems hang. \
                 Unmount them or restore their servers, and call again"
            ),
        )
    }
}

/// Main loop of a thread.
fn serve() {
    let mut present = pool();
    loop {
        if let Some((key, job)) = present.ready.pop_front() {
            drop(present);
            perform(key, job);
            present = pool();
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

fn perform(key: GroupKey, job: Job) {
    let begun = begin(job.class);
    let placed = match key {
        GroupKey::Probe(_) => place(&key, job),
        key => Some((key, job)),
    };
    let mut leaving = Leaving::new();
    if let Some((key, job)) = placed {
        if job.work.is_abandoned() {
            leaving.push((job, None));
        } else {
            job.work.run(Ok(()));
        }
        pool().uncount(&key, &mut leaving);
    }
    pool().begun.remove(&begun);
    finish(leaving);
}

fn begin(class: Class) -> u64 {
    let mut pool = pool();
    pool.last += 1;
    let number = pool.last;
    if class == Class::Short {
        pool.begun.insert(number, Instant::now());
    }
    number
}

/// Finds the device of a job. Returns the job if it may run there now.
fn place(probe: &GroupKey, job: Job) -> Option<(GroupKey, Job)> {
    let mut device = 0;
    if !job.work.is_abandoned() {
        // All of them are probed, so that a path that hangs does so here.
        for path in &job.paths {
            device = device_of(path);
        }
    }
    let key = GroupKey::Device(job.class, device);
    let mut leaving = Leaving::new();
    let mut pool = pool();
    pool.uncount(probe, &mut leaving);
    let group = pool.groups.entry(key.clone()).or_default();
    let placed = if group.running < key.limit() {
        pool.count(&key);
        Some((key, job))
    } else {
        group.waiting.push_back(job);
        None
    };
    drop(pool);
    finish(leaving);
    placed
}

/// Device of the longest existing prefix of a path. 0 if it cannot be determined.
fn device_of(path: &Path) -> u64 {
    path.ancestors()
        .find_map(|path| fs::stat_followed(path).ok())
        .map_or(0, |stat| stat.device)
}
