//! What executing the protocol needs besides the store: its rules and clocks, and waiting for whatever happens first.

use std::time::{Duration, Instant};

use futures::future::BoxFuture;

use super::protocol::{Now, Rules};
use crate::core::sys::cancel::Cancel;
use crate::core::sys::clock;

/// The longest pause between two reads of a waiter.
const LONGEST_POLL: Duration = Duration::from_secs(1);

/// The rules of a call with this token and lease.
pub(in crate::core::caches) fn rules(
    token: u128,
    ttl: Duration,
    may_write: bool,
    shares_failures: bool,
) -> Rules {
    let ttl_ms = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
    // 0.87 to 0.99, so that callers that started together do not ask together, and none asks 70 times a minute.
    let jitter = 870 + i64::try_from(token % 121).unwrap_or(60);
    let poll = LONGEST_POLL.min(ttl / 10).as_millis();
    Rules {
        token,
        ttl_ms,
        poll_ms: i64::try_from(poll).unwrap_or(1000) * jitter / 1000,
        patience_ms: i64::try_from(ttl_ms / 2).unwrap_or(i64::MAX),
        may_write,
        shares_failures,
    }
}

/// The clocks of a call that started at this time.
pub(in crate::core::caches) fn now(started: Instant) -> Now {
    let monotonic = i64::try_from(started.elapsed().as_millis()).unwrap_or(i64::MAX);
    Now {
        monotonic,
        boot: i64::try_from(clock::boot_micros() / 1000).unwrap_or(i64::MAX),
        wall: clock::wall_millis(),
    }
}

/// Milliseconds since this time, with three digits.
pub(in crate::core::caches) fn elapsed_ms(started: Instant) -> f64 {
    (started.elapsed().as_secs_f64() * 1_000_000.0).round() / 1000.0
}

/// Why a call wakes.
pub(in crate::core::caches) enum Awake<A, W> {
    Answer(A),
    Work(W),
    Timer,
    Deadline,
    Cancelled,
}

/// The request to the store that is outstanding, and what runs concurrently with it.
pub(in crate::core::caches) struct Pending<A, W> {
    pub(in crate::core::caches) request: Option<BoxFuture<'static, A>>,
    pub(in crate::core::caches) work: Option<BoxFuture<'static, W>>,
}

impl<A, W> Pending<A, W> {
    pub(in crate::core::caches) fn nothing() -> Self {
        Self {
            request: None,
            work: None,
        }
    }

    /// Waits for the first of: the answer, the cancellation, the work, this pause in milliseconds, the deadline.
    pub(in crate::core::caches) async fn wait(
        &mut self,
        pause: Option<i64>,
        deadline: Option<Instant>,
        cancel: Option<&Cancel>,
    ) -> Awake<A, W> {
        let timer = async {
            match pause {
                Some(pause) => {
                    tokio::time::sleep(Duration::from_millis(u64::try_from(pause).unwrap_or(0))).await;
                }
                None => std::future::pending().await,
            }
        };
        let late = async {
            match deadline {
                Some(instant) => tokio::time::sleep_until(instant.into()).await,
                None => std::future::pending().await,
            }
        };
        let cancelled = async {
            match cancel {
                Some(cancel) => cancel.cancelled().await,
                None => std::future::pending().await,
            }
        };
        let awake = tokio::select! {
            biased;
            answer = poll(&mut self.request) => Awake::Answer(answer),
            // Before the work: a cancelled build ends with an error, which is no failure that others share.
            () = cancelled => Awake::Cancelled,
            work = poll(&mut self.work) => Awake::Work(work),
            () = timer => Awake::Timer,
            () = late => Awake::Deadline,
        };
        match awake {
            Awake::Answer(_) => self.request = None,
            Awake::Work(_) => self.work = None,
            _ => {}
        }
        awake
    }
}

/// Resolves with the future, if there is one. A caller that drops this keeps the future.
async fn poll<T>(future: &mut Option<BoxFuture<'static, T>>) -> T {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}
