//! A waiter: one call with its deadline and its callbacks.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, MutexGuard};
use std::time::{Duration, Instant};

use super::alarm::{self, Alarm};
use super::blocker::Blocker;
use super::handle::LockHandle;
use super::path::LockPath;
use super::record::Holder;
use super::request::{QueueKey, Request, WaitInfo};
use crate::core::error::{Code, Error, Result};
use crate::core::sys::deadline::Deadline;
use crate::core::sys::identity::{self, Liveness};
use crate::core::sys::sync::Mutex;

/// Interval at which a continuing wait is reported again.
const REPEAT: Duration = Duration::from_secs(10);

/// Extra time for the last attempt after the deadline, which finds the holder to report.
const GRACE: Duration = Duration::from_secs(3);

/// Number of waiters of this process for each lock, including those without an attempt so far.
static WAITING: LazyLock<Mutex<HashMap<LockPath, usize>>> = LazyLock::new(Mutex::default);

fn waiting() -> MutexGuard<'static, HashMap<LockPath, usize>> {
    WAITING.lock()
}

/// One count in [`WAITING`], until it is dropped.
struct Counted(LockPath);

impl Counted {
    fn new(lock: &LockPath) -> Self {
        *waiting().entry(lock.clone()).or_default() += 1;
        Self(lock.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut waiting = waiting();
        if let Some(others) = waiting.get_mut(&self.0) {
            *others -= 1;
            if *others == 0 {
                waiting.remove(&self.0);
            }
        }
    }
}

/// Whether a caller in this process waits for this lock.
pub(super) fn is_any_for(lock: &LockPath) -> bool {
    waiting().contains_key(lock)
}

/// Identifies a waiter in this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct WaiterId(u64);

/// Callback of a wait. It runs on a reactor thread and must not block.
pub type OnWait = Box<dyn Fn(WaitInfo) + Send>;

/// An acquired lock.
pub struct Acquired {
    /// Handle of the lock.
    pub handle: Arc<LockHandle>,
    /// Generation that held the lock when the wait began. `None` if there was no wait.
    pub waited_since: Option<u64>,
}

/// Result of a wait.
pub(super) enum Outcome {
    Acquired(Acquired),
    Vacant { orphaned: bool },
}

/// Receives the result of a wait, on any thread.
pub(super) type Receiver = Box<dyn FnOnce(Result<Outcome>) + Send>;

/// The result of a wait. Only the first one counts, from the reactor or from a caller that gives up.
#[derive(Clone)]
pub(super) struct Answer(Arc<Mutex<Option<Receiver>>>);

impl Answer {
    pub(super) fn new(receiver: Receiver) -> Self {
        Self(Arc::new(Mutex::new(Some(receiver))))
    }

    fn receiver(&self) -> Option<Receiver> {
        self.0.lock().take()
    }

    fn is_given(&self) -> bool {
        self.0.lock().is_none()
    }

    /// Delivers a result. Returns `false` if there already was one. An acquired lock that no caller receives is
    /// released by its drop.
    pub(super) fn give(&self, outcome: Result<Outcome>) -> bool {
        let receiver = self.receiver();
        let is_first = receiver.is_some();
        if let Some(receive) = receiver {
            receive(outcome);
        }
        is_first
    }
}

pub(super) struct Waiter {
    pub(super) id: WaiterId,
    pub(super) lock: LockPath,
    pub(super) request: Arc<Request>,
    deadline: Deadline,
    is_single_try: bool,
    answer: Answer,
    on_wait: Option<OnWait>,
    since: Instant,
    notified: Option<(Option<Holder>, Liveness, Instant)>,
    first_generation: Option<u64>,
    alarm: Option<Alarm>,
    counted: Option<Counted>,
}

impl Waiter {
    pub(super) fn new(
        lock: LockPath,
        request: Arc<Request>,
        timeout: Deadline,
        on_wait: Option<OnWait>,
        answer: Answer,
    ) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self {
            counted: Some(Counted::new(&lock)),
            id: WaiterId(NEXT.fetch_add(1, Ordering::Relaxed)),
            lock,
            request,
            is_single_try: timeout.has_passed(),
            deadline: timeout,
            answer,
            on_wait,
            since: Instant::now(),
            notified: None,
            first_generation: None,
            alarm: None,
        }
    }

    pub(super) fn key(&self) -> QueueKey {
        QueueKey::new(&self.lock, &self.request)
    }

    /// Ends the wait on time even if the thread that makes the attempts is blocked.
    ///
    /// # Errors
    /// `ERR_IO` if the process cannot start more threads.
    pub(super) fn set_alarm(&mut self) -> Result<()> {
        let Some(at) = self.deadline.instant().and_then(|at| at.checked_add(GRACE)) else {
            return Ok(());
        };
        alarm::start()?;
        let (answer, lock, since) = (self.answer.clone(), self.lock.clone(), self.since);
        self.alarm = Some(Alarm::set(at, move || {
            answer.give(Err(unanswered(&lock, since.elapsed())));
        }));
        Ok(())
    }

    pub(super) fn is_single_try(&self) -> bool {
        self.is_single_try
    }

    /// Whether the result is no longer needed.
    pub(super) fn is_gone(&self) -> bool {
        self.answer.is_given()
    }

    pub(super) fn has_expired(&self) -> bool {
        self.deadline.has_passed()
    }

    /// Time until the caller has to be notified or the deadline passes.
    pub(super) fn next_poll(&self) -> Duration {
        let repeat = self
            .notified
            .as_ref()
            .map_or(Duration::ZERO, |(.., at)| REPEAT.saturating_sub(at.elapsed()));
        self.deadline.remaining().map_or(repeat, |left| left.min(repeat))
    }

    /// Notifies the caller of the current holder: at first, when the holder changes, and at intervals.
    pub(super) fn notify(&mut self, blocker: &Blocker) {
        if self.first_generation.is_none() {
            self.first_generation = blocker.holder.as_ref().and_then(|holder| holder.generation);
        }
        let is_news = self.notified.as_ref().is_none_or(|(holder, liveness, at)| {
            *holder != blocker.holder || *liveness != blocker.liveness || at.elapsed() >= REPEAT
        });
        if !is_news {
            return;
        }
        self.notified = Some((blocker.holder.clone(), blocker.liveness, Instant::now()));
        if let Some(on_wait) = &self.on_wait {
            on_wait(WaitInfo {
                waited: self.since.elapsed(),
                holder: blocker.holder.clone(),
                liveness: blocker.liveness,
            });
        }
    }

    /// Delivers the acquired lock.
    pub(super) fn succeed(self, handle: Arc<LockHandle>) {
        let acquired = Acquired {
            handle,
            waited_since: self.first_generation,
        };
        self.answer(Ok(Outcome::Acquired(acquired)));
    }

    pub(super) fn find_vacant(self, orphaned: bool) {
        self.answer(Ok(Outcome::Vacant { orphaned }));
    }

    pub(super) fn fail(self, error: Error) {
        self.answer(Err(error));
    }

    fn answer(mut self, outcome: Result<Outcome>) {
        // Decremented first, because the caller may call again immediately and must not count itself as a waiter.
        self.counted = None;
        self.answer.give(outcome);
    }

    pub(super) fn time_out(self, blocker: Option<&Blocker>) {
        let error = timed_out(&self.lock, self.since.elapsed(), blocker);
        self.fail(error);
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        // Has no effect if the caller already has a result. Other callers must not wait for a thread that no longer
        // exists.
        let error = Error::new(Code::Closed, "The thread that waits for locks has ended");
        self.answer.give(Err(error));
    }
}

/// `ERR_LOCK_TIMEOUT` of a wait whose filesystem has not answered, or whose thread got no CPU: whether the lock is free is
/// not known. Its cause distinguishes it from the error of a lock that another holder has.
fn unanswered(lock: &LockPath, waited: Duration) -> Error {
    let path = lock.directory().display();
    let message = format!(
        "waited {} ms for the lock '{path}' and could not read its files in that time, so it is not known whether it is free. Its filesystem does not answer, or this machine is overloaded. Try again, or use a lock path on another filesystem",
        waited.as_millis(),
    );
    Error {
        source: Some(std::io::ErrorKind::TimedOut.into()),
        ..Error::new(Code::LockTimeout, message).at(lock.directory())
    }
}

/// `ERR_LOCK_TIMEOUT` with the holder and advice.
pub(super) fn timed_out(lock: &LockPath, waited: Duration, blocker: Option<&Blocker>) -> Error {
    let holder = blocker.and_then(|blocker| blocker.holder.as_ref());
    let who = holder.map_or_else(|| "an unknown holder".to_owned(), describe);
    let note = holder
        .and_then(|holder| holder.note.as_deref())
        .map(|note| format!(" {note}."))
        .unwrap_or_default();
    let message = format!(
        "Waited {} ms for the lock '{}', held by {who}.{note} Raise options.timeoutMs, or stop that process. Run `npx warmswap lock why '{}'` for details",
        waited.as_millis(),
        lock.directory().display(),
        lock.directory().display()
    );
    let error = Error::new(Code::LockTimeout, message).at(lock.directory());
    match holder {
        Some(holder) => error.with_detail(serde_json::json!({ "holder": holder })),
        None => error,
    }
}

fn describe(holder: &Holder) -> String {
    let Some(pid) = holder.pid else {
        return match holder.inherited_from {
            Some(parent) => format!("a child of pid {parent}, which has ended"),
            None => "a program that left no owner record".to_owned(),
        };
    };
    let elsewhere = holder
        .hostname
        .as_ref()
        .filter(|name| **name != identity::hostname());
    let command = holder.command.as_ref().filter(|command| !command.is_empty());
    let facts = [
        Some(format!("pid {pid}")),
        elsewhere.map(|hostname| format!("on {hostname}")),
        command.map(|command| format!("({command})")),
        holder
            .inherited_from
            .map(|parent| format!("which inherited it from pid {parent}")),
        holder.since.as_ref().map(|since| format!("since {since}")),
        holder
            .progress
            .as_ref()
            .map(|progress| format!("doing: {}", progress.phase)),
    ];
    facts.into_iter().flatten().collect::<Vec<_>>().join(" ")
}
