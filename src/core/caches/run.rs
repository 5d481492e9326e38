//! One call on a cache: its end ([`Call`]), its traffic, its stages and its progress.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::store::CallContext;
use crate::core::archives::Progress;
use crate::core::archives::call::Call;
use crate::core::error::Result;
use crate::core::failure::{Cause, Failure, Stage};
use crate::core::sys::cancel::Cancel;
use crate::core::sys::deadline::Deadline;
use crate::core::sys::fault;
use crate::core::sys::sync::Mutex;

/// Interval of throughput checks.
const TICK: Duration = Duration::from_millis(100);

/// Interval of progress reports to the caller.
const REPORT: Duration = Duration::from_millis(100);
/// Interval at which the progress of the archive is copied to the call.
const PROGRESS: Duration = Duration::from_millis(50);

/// Time limits and attempts of a call.
#[derive(Debug, Clone, Copy)]
pub struct Budget {
    /// Time for the whole call.
    pub deadline: Duration,
    /// Longest time without a byte on a connection.
    pub idle: Duration,
    /// Lowest accepted throughput in bytes per second, measured over a window of `idle` while the call waits for the
    /// network. 0 disables the check.
    pub min_bytes_per_second: u64,
    /// Number of attempts for one request.
    pub attempts: u32,
}

/// Progress of a call.
#[derive(Debug, Clone, Copy)]
pub struct CallProgress {
    /// Current stage.
    pub stage: Stage,
    /// Number of files so far.
    pub files: u64,
    /// Number of bytes so far.
    pub bytes: u64,
    /// Total number of bytes, once known.
    pub total_bytes: Option<u64>,
}

/// One call.
pub struct Run {
    /// Traffic and cancellation of the call.
    pub context: Arc<CallContext>,
    /// End of the call.
    pub call: Call,
    budget: Budget,
    clock: Mutex<Clock>,
    files: AtomicU64,
    bytes: AtomicU64,
    total_bytes: AtomicU64,
}

struct Clock {
    started: Instant,
    stage: Stage,
    since: Instant,
    spent: Vec<(Stage, Duration)>,
}

impl Run {
    /// Starts the clock of a call, in this first stage.
    pub fn start(budget: Budget, cancel: Cancel, stage: Stage) -> Arc<Self> {
        let now = Instant::now();
        Arc::new(Self {
            call: Call::new(Deadline::after(budget.deadline), cancel.clone()),
            context: Arc::new(CallContext::new(cancel, budget.idle, budget.attempts)),
            budget,
            clock: Mutex::new(Clock {
                started: now,
                stage,
                since: now,
                spent: Vec::new(),
            }),
            files: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            total_bytes: AtomicU64::new(0),
        })
    }

    /// Whether the work may change anything that is visible to others. After `true`, the call waits for the work to
    /// finish.
    pub fn may_commit(&self) -> bool {
        self.call.gate.pass() || fault::is_seeded("commit-after-deadline")
    }

    /// Ends the time of the current stage and starts the next one.
    pub fn enter(&self, stage: Stage) {
        let mut clock = self.clock.lock();
        let now = Instant::now();
        let spent = now - clock.since;
        let before = clock.stage;
        match clock.spent.iter_mut().find(|(known, _)| *known == before) {
            Some((_, sum)) => *sum += spent,
            None => clock.spent.push((before, spent)),
        }
        clock.stage = stage;
        clock.since = now;
    }

    /// Current stage. Waiting for credentials is reported as its own stage, whatever they are needed for.
    pub fn stage(&self) -> Stage {
        if self.context.is_fetching_credentials() {
            return Stage::Credentials;
        }
        self.clock.lock().stage
    }

    /// Milliseconds of each stage so far, and `total`.
    pub fn timings(&self) -> Vec<(&'static str, f64)> {
        let clock = self.clock.lock();
        let now = Instant::now();
        let mut timings: Vec<(&'static str, f64)> = clock
            .spent
            .iter()
            .map(|(stage, spent)| (stage.as_str(), milliseconds(*spent)))
            .collect();
        let running = milliseconds(now - clock.since);
        match timings.iter_mut().find(|(name, _)| *name == clock.stage.as_str()) {
            Some((_, sum)) => *sum += running,
            None => timings.push((clock.stage.as_str(), running)),
        }
        timings.push(("total", milliseconds(now - clock.started)));
        timings
    }

    /// Sets the number of files and bytes so far.
    pub fn count(&self, files: u64, bytes: u64) {
        self.files.store(files, Ordering::Relaxed);
        self.bytes.store(bytes, Ordering::Relaxed);
    }

    /// Sets the expected number of bytes.
    pub fn expect_bytes(&self, bytes: u64) {
        self.total_bytes.store(bytes, Ordering::Relaxed);
    }

    /// Current progress of the call.
    pub fn progress(&self) -> CallProgress {
        let total = self.total_bytes.load(Ordering::Relaxed);
        CallProgress {
            stage: self.stage(),
            files: self.files.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            total_bytes: (total > 0).then_some(total),
        }
    }

    /// Waits for work on another thread and copies its progress to the call.
    pub async fn follow<T>(
        &self,
        work: impl Future<Output = Result<std::result::Result<T, Failure>>>,
        progress: &Progress,
    ) -> std::result::Result<T, Failure> {
        tokio::pin!(work);
        loop {
            let done = tokio::time::timeout(PROGRESS, &mut work).await;
            let (files, bytes) = progress.so_far();
            match done {
                Ok(Ok(done)) => {
                    self.count(files, bytes);
                    return done;
                }
                Ok(Err(error)) => return Err(error.into()),
                Err(_) => self.count(files, bytes),
            }
        }
    }

    /// Runs the work until it finishes, or until the deadline, the caller or low throughput ends the call. `report`
    /// creates the result of a call that was ended. Its work continues in the background until it notices.
    pub async fn race<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl Future<Output = T> + Send + 'static,
        report: impl FnOnce(Failure) -> T,
    ) -> T {
        let task = tokio::spawn(work);
        let work = async {
            task.await.map_err(|panic| {
                // Work that was started on other threads must not commit after the result was returned.
                if self.call.gate.close() {
                    self.call.stop.cancel();
                }
                Failure::new(Cause::Other, panic.to_string())
            })
        };
        match self.call.wait_for(work, self.call_over()).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(failure)) | Err(failure) => report(failure),
        }
    }

    /// Waits for a call, reports its progress, and cancels it when `ending` is raised.
    pub async fn attend<T>(
        &self,
        call: impl Future<Output = T>,
        ending: &Cancel,
        report: impl Fn(CallProgress),
    ) -> T {
        tokio::pin!(call);
        loop {
            tokio::select! {
                biased;
                done = &mut call => return done,
                () = ending.cancelled() => {
                    self.context.cancel.cancel();
                    return call.await;
                }
                () = tokio::time::sleep(REPORT) => report(self.progress()),
            }
        }
    }

    async fn call_over(&self) -> Failure {
        tokio::select! {
            biased;
            () = self.context.cancel.cancelled() => Cancel::error().into(),
            () = self.call.deadline_passed() => {
                let whole = self.budget.deadline.as_millis();
                let stage = self.stage().as_str();
                Failure::new(Cause::Timeout, format!("not finished within {whole} ms (in stage '{stage}')"))
            }
            reason = self.too_slow() => Failure::new(Cause::Timeout, reason),
        }
    }

    /// Resolves when the throughput was below the limit for one window while the call waited for the network.
    async fn too_slow(&self) -> String {
        let least = self.budget.min_bytes_per_second;
        if least == 0 {
            return std::future::pending().await;
        }
        let mut since = Instant::now();
        let mut moved = self.context.moved_bytes();
        loop {
            tokio::time::sleep(TICK).await;
            if !self.context.is_waiting() {
                since = Instant::now();
                moved = self.context.moved_bytes();
                continue;
            }
            let window = since.elapsed();
            if window < self.budget.idle {
                continue;
            }
            let now = self.context.moved_bytes();
            let rate = u128::from(now - moved) * 1000 / window.as_millis().max(1);
            if rate < u128::from(least) {
                return format!(
                    "the throughput was {rate} bytes per second. Expected at least {least} (minBytesPerSecond)"
                );
            }
            since = Instant::now();
            moved = now;
        }
    }
}

fn milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1_000_000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(deadline: Duration) -> Arc<Run> {
        let budget = Budget {
            deadline,
            idle: Duration::from_secs(3),
            min_bytes_per_second: 0,
            attempts: 3,
        };
        Run::start(budget, Cancel::new(), Stage::Lookup)
    }

    fn block_on<T>(work: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime")
            .block_on(work)
    }

    #[test]
    fn work_may_not_commit_after_its_call_has_ended() {
        block_on(async {
            let call = run(Duration::from_millis(20));
            let late = Arc::clone(&call);
            let (sender, receiver) = tokio::sync::oneshot::channel();
            let work = async move {
                late.context.cancel.cancelled().await;
                let may = late.may_commit();
                sender.send(may).expect("the test waits");
                "work"
            };
            assert_eq!(call.race(work, |_| "deadline").await, "deadline");
            assert!(
                !receiver.await.expect("the work continues"),
                "an ended call may not commit"
            );
        });
    }

    #[test]
    fn a_commit_that_began_in_time_is_awaited() {
        block_on(async {
            let call = run(Duration::from_millis(20));
            let committing = Arc::clone(&call);
            let work = async move {
                assert!(committing.may_commit());
                tokio::time::sleep(Duration::from_millis(40)).await;
                "committed"
            };
            assert_eq!(call.race(work, |_| "deadline").await, "committed");
        });
    }

    #[test]
    fn an_abort_before_the_commit_ends_the_call_immediately() {
        block_on(async {
            let call = run(Duration::from_mins(1));
            call.context.cancel.cancel();
            let work = async { std::future::pending().await };
            let ended = call.race(work, |failure| Some(failure.cause)).await;
            assert_eq!(ended, Some(Cause::Aborted));
        });
    }
}
