//! One thread that measures time for all waits and leases. They end on time even if a filesystem blocks the threads
//! that use it. This thread therefore makes no call that depends on a disk.

use std::collections::BTreeMap;
use std::sync::MutexGuard;
use std::time::Instant;

use crate::core::error::Result;
use crate::core::sys::sync::{Condvar, Mutex};
use crate::core::sys::{fault, thread};

type Call = Box<dyn FnOnce() + Send>;
/// Due time, and a number that makes the key unique.
type AlarmKey = (Instant, u64);

/// A scheduled call. Dropping this value cancels it.
pub(super) struct Alarm(AlarmKey);

struct Set {
    calls: BTreeMap<AlarmKey, Call>,
    next: u64,
    is_kept: bool,
    /// Time at which the thread wakes without a notification. `None` if it waits without a timeout.
    wakes_at: Option<Instant>,
}

static SET: Mutex<Set> = Mutex::new(Set {
    calls: BTreeMap::new(),
    next: 0,
    is_kept: false,
    wakes_at: None,
});
static CHANGED: Condvar = Condvar::new();

/// Starts the thread. Called before anything depends on it.
///
/// # Errors
/// `ERR_IO` if the process cannot start more threads. The next call tries again.
pub(super) fn start() -> Result<()> {
    let mut set = set();
    if !set.is_kept {
        thread::spawn("warmswap-alarm", || keep())?;
        set.is_kept = true;
    }
    Ok(())
}

impl Alarm {
    /// Schedules a call. The call must not block.
    pub(super) fn set(at: Instant, call: impl FnOnce() + Send + 'static) -> Self {
        let mut set = set();
        let key = (at, set.next);
        set.next += 1;
        if fault::is_seeded("lock-no-alarm") {
            return Self(key);
        }
        set.calls.insert(key, Box::new(call));
        // The thread is woken only for a call that is due before its next wake-up. Most waits and leases end earlier
        // and need none.
        if set.wakes_at.is_none_or(|wakes_at| at < wakes_at) {
            CHANGED.notify_one();
        }
        Self(key)
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        // Dropped after the lock is released, because the call may own values that set alarms.
        let _call = set().calls.remove(&self.0);
    }
}

fn set() -> MutexGuard<'static, Set> {
    SET.lock()
}

fn keep() -> ! {
    let mut kept = set();
    loop {
        let first = kept.calls.first_key_value().map(|(key, _)| *key);
        kept.wakes_at = first.map(|(at, _)| at);
        kept = match first {
            None => CHANGED.wait(kept),
            Some((at, _)) if at > Instant::now() => {
                let left = at.saturating_duration_since(Instant::now());
                CHANGED.wait_timeout(kept, left).0
            }
            Some(key) => {
                let call = kept.calls.remove(&key);
                drop(kept);
                if let Some(call) = call {
                    call();
                }
                set()
            }
        };
    }
}
