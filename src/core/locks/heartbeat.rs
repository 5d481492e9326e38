//! The heartbeat threads: every third of its lease each held lock renews its record, in both modes. Native,
//! because a JavaScript timer stands still in synchronous work, heap dumps and breakpoints.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, LazyLock, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;

use super::handle::Held;
use crate::core::error::Result;
use crate::core::sys::{fault, thread};

struct Kept {
    token: String,
    held: Weak<Held>,
    due: Instant,
}

#[derive(Default)]
struct Beats {
    kept: Vec<Kept>,
    /// When the thread looks by itself; `None` while it sleeps without an end.
    looks_at: Option<Instant>,
}

#[derive(Default)]
struct Heartbeat {
    beats: Mutex<Beats>,
    changed: Condvar,
}

/// The thread of each device: a filesystem that hangs must not stop the renewals of the others.
static BY_DEVICE: LazyLock<Mutex<HashMap<u64, Arc<Heartbeat>>>> = LazyLock::new(Mutex::default);

fn of_device(device: u64) -> Option<Arc<Heartbeat>> {
    let by_device = BY_DEVICE.lock().unwrap_or_else(PoisonError::into_inner);
    by_device.get(&device).cloned()
}

/// Starts the thread of this device, before anything is taken that it has to renew.
///
/// # Errors
/// `ERR_IO` where the process may have no more threads: the next call tries again.
pub(super) fn start(device: u64) -> Result<()> {
    let mut by_device = BY_DEVICE.lock().unwrap_or_else(PoisonError::into_inner);
    if by_device.contains_key(&device) {
        return Ok(());
    }
    let heartbeat = Arc::<Heartbeat>::default();
    let running = Arc::clone(&heartbeat);
    thread::spawn("warmswap-beat", move || running.run())?;
    by_device.insert(device, heartbeat);
    Ok(())
}

/// Renews this lock from now on.
pub(super) fn keep(held: &Arc<Held>) {
    if fault::mutant("lock-no-native-heartbeat") {
        return;
    }
    let Some(heartbeat) = of_device(held.device()) else {
        unreachable!("started before anything was taken");
    };
    let mut beats = heartbeat.beats();
    let due = Instant::now() + held.ttl() / 3;
    beats.kept.push(Kept {
        token: held.token().to_owned(),
        held: Arc::downgrade(held),
        due,
    });
    // The thread is not woken for a lock that is given back before the next look.
    if beats.looks_at.is_none_or(|at| due < at) {
        heartbeat.changed.notify_one();
    }
}

/// Renews this lock at once, because its record has news.
pub(super) fn hurry(held: &Held) {
    let Some(heartbeat) = of_device(held.device()) else {
        return;
    };
    let mut beats = heartbeat.beats();
    for each in beats.kept.iter_mut().filter(|each| each.token == held.token()) {
        each.due = Instant::now();
    }
    heartbeat.changed.notify_one();
}

/// Renews this lock no longer.
pub(super) fn forget(held: &Held) {
    if let Some(heartbeat) = of_device(held.device()) {
        let mut beats = heartbeat.beats();
        beats.kept.retain(|each| each.token != held.token());
    }
}

impl Heartbeat {
    fn beats(&self) -> MutexGuard<'_, Beats> {
        self.beats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self) {
        loop {
            // Not renewed under the list's lock: a disk that hangs must not stop acquire and release.
            for held in self.wait_for_due() {
                held.renew();
            }
        }
    }

    fn wait_for_due(&self) -> Vec<Arc<Held>> {
        let mut beats = self.beats();
        loop {
            let due = beats.take_due(Instant::now());
            if !due.is_empty() {
                return due;
            }
            beats.looks_at = beats.kept.iter().map(|each| each.due).min();
            beats = match beats.looks_at {
                None => self.changed.wait(beats).unwrap_or_else(PoisonError::into_inner),
                Some(next) => {
                    let pause = next.saturating_duration_since(Instant::now());
                    self.changed
                        .wait_timeout(beats, pause)
                        .unwrap_or_else(PoisonError::into_inner)
                        .0
                }
            };
        }
    }
}

impl Beats {
    fn take_due(&mut self, now: Instant) -> Vec<Arc<Held>> {
        self.kept.retain(|each| each.held.strong_count() > 0);
        self.kept
            .iter_mut()
            .filter(|each| each.due <= now)
            .filter_map(|each| {
                let held = each.held.upgrade()?;
                each.due = now + held.ttl() / 3;
                Some(held)
            })
            .collect()
    }
}
