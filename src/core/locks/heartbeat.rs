//! The heartbeat threads. Each held lock renews its record at every third of its lease, in both modes. The threads are
//! native, because JavaScript timers stop during synchronous work, heap dumps and breakpoints.

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

/// A repeated call.
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
    /// Time at which the thread wakes without a notification. `None` if it waits without a timeout.
    wakes_at: Option<Instant>,
}

#[derive(Default)]
struct BeatThread {
    beats: Mutex<Beats>,
    changed: Condvar,
}

/// Thread of each device. A filesystem that hangs must not stop the renewals on others.
static BY_DEVICE: LazyLock<Mutex<HashMap<u64, Arc<BeatThread>>>> = LazyLock::new(Mutex::default);

fn of_device(device: u64) -> Option<Arc<BeatThread>> {
    let by_device = BY_DEVICE.lock();
    by_device.get(&device).cloned()
}

/// Starts the thread of this device. Called before a lock that it has to renew is acquired.
///
/// # Errors
/// `ERR_IO` if the process cannot start more threads. The next call tries again.
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
    /// Calls `beat` once in each `period`, on the thread of this device. The call may block for as long as its
    /// filesystem does.
    pub(super) fn start(device: u64, period: Duration, beat: impl Fn() + Send + Sync + 'static) -> Self {
        let Some(thread) = of_device(device) else {
            unreachable!("started before the lock was acquired");
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
        // The thread is not woken for a lock that is released before its next wake-up.
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
        // Dropped after the list is unlocked, because the call may own a value with another heartbeat.
        drop(removed);
    }
}

impl BeatThread {
    fn beats(&self) -> MutexGuard<'_, Beats> {
        self.beats.lock()
    }

    fn run(&self) {
        loop {
            // The list is not locked during a renewal. Otherwise a disk that hangs would block acquire and release.
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
