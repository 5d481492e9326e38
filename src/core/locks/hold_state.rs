//! Whether a lock is held. No mutex that is held during I/O protects this state. If the filesystem hangs, the lease
//! expires, and the holder must still be notified.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::alarm::Alarm;
use super::record::LockMode;
use crate::core::sys::clock::{boot_micros, monotonic_micros};
use crate::core::sys::fault;
use crate::core::sys::sync::Mutex;

const HELD: u8 = 0;
const LOST: u8 = 1;
const RELEASED: u8 = 2;

pub(super) type OnLost = Box<dyn FnOnce(&str) + Send>;

/// State of a lock from its acquisition to its release or loss.
pub(super) struct HoldState {
    state: AtomicU8,
    /// Time after the start of the last renewal at which the holder gives up its lease. `None` in kernel mode.
    self_stop: Option<Duration>,
    /// Start of the last successful renewal, in microseconds since boot.
    renewed_at: AtomicU64,
    loss: Mutex<Loss>,
    /// Alarm at the end of the lease.
    alarm: Mutex<Option<Alarm>>,
}

#[derive(Default)]
struct Loss {
    because: String,
    on_lost: Option<OnLost>,
}

impl HoldState {
    /// State of a held lock whose last renewal started at `begun`.
    pub(super) fn start(mode: LockMode, ttl: Duration, begun: u64) -> Arc<Self> {
        let state = Arc::new(Self {
            state: AtomicU8::new(HELD),
            // A tenth of the lease is the margin for one call in progress.
            self_stop: (mode == LockMode::Lease).then(|| ttl.saturating_sub(ttl / 10)),
            renewed_at: AtomicU64::new(begun),
            loss: Mutex::default(),
            alarm: Mutex::default(),
        });
        state.set_alarm();
        state
    }

    /// Checks the clock when the lease may have expired. Other threads may be blocked by a filesystem.
    fn set_alarm(self: &Arc<Self>) {
        let Some(left) = self.lease_left() else { return };
        let state = Arc::downgrade(self);
        let alarm = Alarm::set(Instant::now() + left, move || {
            if let Some(state) = state.upgrade() {
                state.expire();
                if state.is_held() {
                    state.set_alarm();
                }
            }
        });
        *self.alarm.lock() = Some(alarm);
    }

    pub(super) fn is_held(&self) -> bool {
        self.state.load(Ordering::SeqCst) == HELD
    }

    pub(super) fn is_lost(&self) -> bool {
        self.state.load(Ordering::SeqCst) == LOST
    }

    pub(super) fn is_released(&self) -> bool {
        self.state.load(Ordering::SeqCst) == RELEASED
    }

    /// Records that the holder has released the lock.
    pub(super) fn release(&self) {
        self.state.store(RELEASED, Ordering::SeqCst);
    }

    /// Drops the callback and the alarm.
    pub(super) fn stop_notifications(&self) {
        self.loss.lock().on_lost = None;
        let _alarm = self.alarm.lock().take();
    }

    pub(super) fn renew(&self, begun: u64) {
        self.renewed_at.store(begun, Ordering::SeqCst);
    }

    /// Records the loss if the lease has expired. Reads only the clock.
    pub(super) fn expire(&self) {
        if self.is_held() && self.lease_left().is_some_and(|left| left.is_zero()) {
            self.lose("its lease was not renewed in time");
        }
    }

    /// Remaining time until the holder gives up its lease. `None` in kernel mode.
    fn lease_left(&self) -> Option<Duration> {
        let now = if fault::is_seeded("lock-lease-without-suspend") {
            monotonic_micros()
        } else {
            boot_micros()
        };
        let age = Duration::from_micros(now.saturating_sub(self.renewed_at.load(Ordering::SeqCst)));
        Some(self.self_stop?.saturating_sub(age))
    }

    /// Calls `call` once when the lock is lost, immediately if it is already lost.
    pub(super) fn on_lost(&self, call: OnLost) {
        let mut loss = self.loss.lock();
        if !self.is_lost() {
            loss.on_lost = Some(call);
            return;
        }
        let because = loss.because.clone();
        drop(loss);
        call(&because);
    }

    /// Reason for the loss.
    pub(super) fn because(&self) -> String {
        self.loss.lock().because.clone()
    }

    pub(super) fn lose(&self, why: &str) {
        let mut loss = self.loss.lock();
        let is_first = self
            .state
            .compare_exchange(HELD, LOST, Ordering::SeqCst, Ordering::SeqCst)
            .is_ok();
        if !is_first {
            return;
        }
        why.clone_into(&mut loss.because);
        let call = loss.on_lost.take();
        drop(loss);
        if let Some(call) = call {
            call(why);
        }
    }
}
