//! The heartbeat thread: every third of its lease each held lock renews its record, in both modes. Native,
//! because a JavaScript timer stands still in synchronous work, heap dumps and breakpoints.

use std::sync::{Arc, Condvar, LazyLock, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;

use super::held::Held;
use crate::core::sys::fault;

struct Kept {
    token: String,
    held: Weak<Held>,
    due: Instant,
}

#[derive(Default)]
struct Heartbeat {
    kept: Mutex<Vec<Kept>>,
    changed: Condvar,
}

static HEARTBEAT: LazyLock<Arc<Heartbeat>> = LazyLock::new(|| {
    let heartbeat = Arc::<Heartbeat>::default();
    let thread = Arc::clone(&heartbeat);
    std::thread::Builder::new()
        .name("warmswap-beat".to_owned())
        .spawn(move || thread.run())
        .expect("the operating system gives one thread");
    heartbeat
});

/// Renews this lock from now on.
pub(super) fn keep(held: &Arc<Held>) {
    if fault::mutant("lock-no-native-heartbeat") {
        return;
    }
    let mut kept = HEARTBEAT.kept();
    let due = Instant::now() + held.ttl() / 3;
    let is_earliest = kept.iter().all(|each| due < each.due);
    kept.push(Kept {
        token: held.token().to_owned(),
        held: Arc::downgrade(held),
        due,
    });
    if is_earliest {
        HEARTBEAT.changed.notify_one();
    }
}

/// Renews this lock at once, because its record has news.
pub(super) fn hurry(token: &str) {
    for each in HEARTBEAT.kept().iter_mut().filter(|each| each.token == token) {
        each.due = Instant::now();
    }
    HEARTBEAT.changed.notify_one();
}

/// Renews this lock no longer.
pub(super) fn forget(token: &str) {
    HEARTBEAT.kept().retain(|each| each.token != token);
}

impl Heartbeat {
    fn kept(&self) -> MutexGuard<'_, Vec<Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
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
        let mut kept = self.kept();
        loop {
            let now = Instant::now();
            let due: Vec<_> = kept
                .iter_mut()
                .filter(|each| each.due <= now)
                .filter_map(|each| {
                    let held = each.held.upgrade()?;
                    each.due = now + held.ttl() / 3;
                    Some(held)
                })
                .collect();
            if !due.is_empty() {
                return due;
            }
            kept.retain(|each| each.held.strong_count() > 0);
            let next = kept.iter().map(|each| each.due).min();
            kept = match next {
                None => self.changed.wait(kept).unwrap_or_else(PoisonError::into_inner),
                Some(next) => {
                    let pause = next.saturating_duration_since(now);
                    self.changed
                        .wait_timeout(kept, pause)
                        .unwrap_or_else(PoisonError::into_inner)
                        .0
                }
            };
        }
    }
}
