//! The heartbeat threads: every third of its lease each held lock renews its record, in both modes. Native,
//! because a JavaScript timer stands still in synchronous work, heap dumps and breakpoints.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, MutexGuard};
use std::time::{Duration, Instant};

use crate::core::error::Result;
use crate::core::sys::sync::{Condvar, Mutex};
use crate::core::sys::{fault, thread};

type Beat = Arc<dyn Fn() + Send + Sync>;

/// A call that the thread of one device repeats until this value is dropped.
pub(super) struct Heartbeat {
    thread: Arc<BeatThread>,
    id: u64,
}

/// One call that is repeated.
struct Repeated {
    id: u64,
    beat: Beat,
    period: Duration,
    due: Instant,
}

#[derive(Default)]
struct Beats {
    repeated: Vec<Repeated>,
    next_id: u64,
    /// When the thread wakes by itself; `None` while it sleeps without a timeout.
    wakes_at: Option<Instant>,
}

#[derive(Default)]
struct BeatThread {
    beats: Mutex<Beats>,
    changed: Condvar,
}

/// The thread of each device: a filesystem that hangs must not stop the renewals of the others.
static BY_DEVICE: LazyLock<Mutex<HashMap<u64, Arc<BeatThread>>>> = LazyLock::new(Mutex::default);

fn of_device(device: u64) -> Option<Arc<BeatThread>> {
    let by_device = BY_DEVICE.lock();
    by_device.get(&device).cloned()
}

/// Starts the thread of this device, before anything is taken that it has to renew.
///
/// # Errors
/// `ERR_IO` where the process may have no more threads: the next call tries again.
pub(super) fn start_thread(device: u64) -> Result<()> {
    let mut by_device = BY_DEVICE.lock();
    if by_device.contains_key(&device) {
        return Ok(());
    }
    let started = Arc::<BeatThread>::default();
    let running = Arc::clone(&started);
    thread::spawn("warmswap-beat", move || running.run())?;
    by_device.insert(device, started);
    Ok(())
}

impl Heartbeat {
    /// Calls `beat` once in each `period`, on the thread of this device. The call may block for as long as its filesystem
    /// does.
    pub(super) fn start(device: u64, period: Duration, beat: impl Fn() + Send + Sync + 'static) -> Self {
        let Some(thread) = of_device(device) else {
            unreachable!("started before anything was taken");
        };
        let mut beats = thread.beats();
        let id = beats.next_id;
        beats.next_id += 1;
        let due = Instant::now() + period;
        if !fault::is_seeded("lock-no-native-heartbeat") {
            beats.repeated.push(Repeated {
                id,
                beat: Arc::new(beat),
                period,
                due,
            });
        }
        // The thread is not woken for a lock that is given back before the next look.
        if beats.wakes_at.is_none_or(|at| due < at) {
            thread.changed.notify_one();
        }
        drop(beats);
        Self { thread, id }
    }

    /// Makes the next call now.
    pub(super) fn beat_soon(&self) {
        let mut beats = self.thread.beats();
        for each in beats.repeated.iter_mut().filter(|each| each.id == self.id) {
            each.due = Instant::now();
        }
        self.thread.changed.notify_one();
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        let removed = {
            let mut beats = self.thread.beats();
            let at = beats.repeated.iter().position(|each| each.id == self.id);
            at.map(|at| beats.repeated.remove(at))
        };
        // Dropped without the lock: the call may own what has a heartbeat itself.
        drop(removed);
    }
}

impl BeatThread {
    fn beats(&self) -> MutexGuard<'_, Beats> {
        self.beats.lock()
    }

    fn run(&self) {
        loop {
            // Not renewed under the list's lock: a disk that hangs must not stop acquire and release.
            for beat in self.wait_for_due() {
                beat();
            }
        }
    }

    fn wait_for_due(&self) -> Vec<Beat> {
        let mut beats = self.beats();
        loop {
            let due = beats.due_beats(Instant::now());
            if !due.is_empty() {
                return due;
            }
            beats.wakes_at = beats.repeated.iter().map(|each| each.due).min();
            beats = match beats.wakes_at {
                None => self.changed.wait(beats),
                Some(next) => {
                    let pause = next.saturating_duration_since(Instant::now());
                    self.changed.wait_timeout(beats, pause).0
                }
            };
        }
    }
}

impl Beats {
    fn due_beats(&mut self, now: Instant) -> Vec<Beat> {
        let due = self.repeated.iter_mut().filter(|each| each.due <= now);
        due.map(|each| {
            each.due = now + each.period;
            Arc::clone(&each.beat)
        })
        .collect()
    }
}
