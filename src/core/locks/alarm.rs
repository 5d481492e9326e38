//! One thread that keeps time for all waits and leases: their ends are told also while a filesystem does not answer
//! to the threads that look. So nothing is called here that a disk has to answer.

use std::collections::BTreeMap;
use std::sync::MutexGuard;
use std::time::Instant;

use crate::core::error::Result;
use crate::core::sys::sync::{Condvar, Mutex};
use crate::core::sys::{fault, thread};

type Call = Box<dyn FnOnce() + Send>;
/// When, and a number that no other alarm has.
type AlarmKey = (Instant, u64);

/// A call that is made at its time, unless this value is dropped before.
pub(super) struct Alarm(AlarmKey);

struct Set {
    calls: BTreeMap<AlarmKey, Call>,
    next: u64,
    is_kept: bool,
    /// When the thread wakes by itself; `None` while it sleeps without a timeout.
    wakes_at: Option<Instant>,
}

static SET: Mutex<Set> = Mutex::new(Set {
    calls: BTreeMap::new(),
    next: 0,
    is_kept: false,
    wakes_at: None,
});
static CHANGED: Condvar = Condvar::new();

/// Starts the thread, before anything relies on it.
///
/// # Errors
/// `ERR_IO` where the process may have no more threads: the next call tries again.
pub(super) fn start() -> Result<()> {
    let mut set = set();
    if !set.is_kept {
        thread::spawn("warmswap-alarm", || keep())?;
        set.is_kept = true;
    }
    Ok(())
}

impl Alarm {
    /// The call must not block.
    pub(super) fn set(at: Instant, call: impl FnOnce() + Send + 'static) -> Self {
        let mut set = set();
        let key = (at, set.next);
        set.next += 1;
        if fault::is_seeded("lock-no-alarm") {
            return Self(key);
        }
        set.calls.insert(key, Box::new(call));
        // The thread is not woken for what is over before its next look, as most waits and leases are.
        if set.wakes_at.is_none_or(|wakes_at| at < wakes_at) {
            CHANGED.notify_one();
        }
        Self(key)
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        // Dropped after the lock is let go: it may own what sets alarms itself.
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
