//! Detects what a store supports by test requests.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::cache::Cache;
use super::conditions::{Conditions, probe_conditions, probe_multipart, probe_path, stale, tidy_up};
use super::outcome::RestoreOutcome;
use super::report::Report;
use super::run::Budget;
use super::store::{Body, CallContext, Condition, StartLine, Store, StoreResult};
use crate::core::failure::Cause;
use crate::core::sys::cancel::Cancel;

/// What a store supports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "five independent facts")]
pub struct Abilities {
    /// Whether it honours If-Match and If-None-Match on PUT.
    pub conditional_put: bool,
    /// Whether at most one of several simultaneous writes with the same condition succeeds.
    pub exclusive_writes: bool,
    /// Whether it honours If-None-Match on the completion of a multipart upload.
    pub conditional_multipart: bool,
    /// Whether range requests return exactly the requested range.
    pub ranged: bool,
    /// Whether these credentials may write.
    pub writable: bool,
}

impl Cache {
    /// Tests what the store supports. Writes and removes small objects.
    pub async fn probe(&self, budget: Budget, cancel: Cancel) -> Report<Option<Abilities>> {
        let (read_only, conditions) = (self.read_only.then(|| self.read_only_reason()), self.conditions);
        self.call(budget, cancel, None, move |_, store, context| async move {
            if let Some(reason) = read_only {
                return Report::new(RestoreOutcome::Disabled, None)
                    .because(format!("{reason}. A probe writes"));
            }
            match probe(&*store, conditions, &context).await {
                Ok(abilities) => Report::new(RestoreOutcome::Probed, Some(abilities)),
                Err(failure) => Report::failed(failure, None),
            }
        })
        .await
    }
}

async fn probe(
    store: &dyn Store,
    conditions: Conditions,
    context: &Arc<CallContext>,
) -> StoreResult<Abilities> {
    let path = probe_path("");
    let body = Body::Bytes(Bytes::from_static(b"0123456789"));
    let begun = Instant::now();
    let etag = match store.write(&path, body, Condition::Always, context).await {
        Ok(etag) => etag,
        // Wrong credentials have another cause. With them, the store does not report which writes are allowed.
        Err(failure) if failure.cause == Cause::Denied => {
            return Ok(Abilities {
                conditional_put: false,
                exclusive_writes: false,
                conditional_multipart: false,
                ranged: false,
                writable: false,
            });
        }
        Err(failure) => return Err(failure),
    };
    let trip = begun.elapsed().clamp(*TRIP.start(), *TRIP.end());
    let found = probe_written(store, &path, &etag, trip, conditions, context).await;
    tidy_up(store, &path, context).await;
    found
}

/// Tests with an object that was written.
async fn probe_written(
    store: &dyn Store,
    path: &str,
    etag: &str,
    trip: Duration,
    conditions: Conditions,
    context: &Arc<CallContext>,
) -> StoreResult<Abilities> {
    let ranged = match store.read(path, 2..5, etag, context).await {
        Ok(bytes) => *bytes == *b"234",
        Err(failure) if matches!(failure.cause, Cause::RangeIgnored | Cause::Malformed) => false,
        Err(failure) => return Err(failure),
    };
    let are_on = conditions != Conditions::Off;
    let conditional_put =
        are_on && (!store.conditions_are_uncertain() || probe_conditions(store, "", context).await?);
    let exclusive_writes = conditional_put
        && (!store.conditions_are_uncertain() || races_have_one_winner(store, trip, context).await?);
    let conditional_multipart = are_on
        && probe_multipart(store, path, Condition::Absent, context).await?
        && probe_multipart(store, path, stale(), context).await?;
    Ok(Abilities {
        conditional_put,
        exclusive_writes,
        conditional_multipart,
        ranged,
        writable: true,
    })
}

/// Number of writes at the same time.
const RACERS: usize = 8;
/// Number of races to create an object and to replace it, and how many round trips the server has in each to read the
/// beginning of all writes before it gets the last byte of any. The later ones are for a loaded server.
///
/// s3s-fs 0.14.1 checks a condition when the headers arrive, and writes when the body has arrived. With whole bodies sent
/// at the same time, 45 % of 300 races to create and 22 % of 300 races to replace had one winner, so that one probe in
/// 1000 missed it. With the last byte held back, 839 of 840 races had eight winners, and one had seven, idle and with six
/// busy processes on two cores.
const ROUNDS: [u32; 3] = [1, 2, 4];
/// Limits of a round trip. The first request, which is measured, also connects and fetches credentials.
const TRIP: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_millis(60);

/// Longest wait for all writes of a race: one that the server refused early never waits for the others.
const LONGEST_START: Duration = Duration::from_secs(1);

/// Whether no race has more than one winner. A store can check conditions correctly for one write at a time, and not for
/// several.
async fn races_have_one_winner(
    store: &dyn Store,
    trip: Duration,
    context: &Arc<CallContext>,
) -> StoreResult<bool> {
    for trips in ROUNDS {
        let path = probe_path("");
        let held = race_to_create_and_replace(store, &path, trip * trips, context).await;
        tidy_up(store, &path, context).await;
        if !held? {
            return Ok(false);
        }
    }
    Ok(true)
}

async fn race_to_create_and_replace(
    store: &dyn Store,
    path: &str,
    pause: Duration,
    context: &Arc<CallContext>,
) -> StoreResult<bool> {
    if !race(store, path, &Condition::Absent, pause, context).await? {
        return Ok(false);
    }
    let version = store.stat(path, context).await?.etag;
    race(store, path, &Condition::Version(version), pause, context).await
}

/// Writes the object several times at the same time. Returns whether at most one write succeeded. None succeeds if the
/// response to the first one was lost.
async fn race(
    store: &dyn Store,
    path: &str,
    condition: &Condition,
    pause: Duration,
    context: &Arc<CallContext>,
) -> StoreResult<bool> {
    let writes = (0..RACERS).map(|_| {
        // An ETag can be the MD5 of the content, so no two writes have the same.
        let body = format!("warmswap probe {}", uuid::Uuid::new_v4());
        store.write(path, Body::Bytes(Bytes::from(body)), condition.clone(), context)
    });
    let start_line = Arc::new(StartLine::default());
    context.race_from(Some(Arc::clone(&start_line)));
    let start = start_line.start(RACERS, (context.idle / 4).min(LONGEST_START), pause);
    let (ends, ()) = futures::join!(futures::future::join_all(writes), start);
    context.race_from(None);
    let (mut winners, mut unknown) = (0, None);
    for written in ends {
        match written {
            Ok(_) => winners += 1,
            Err(failure) if matches!(failure.cause, Cause::Changed | Cause::Conflict) => {}
            Err(failure) => unknown = Some(failure),
        }
    }
    match unknown {
        Some(failure) if winners < 2 => Err(failure),
        _ => Ok(winners < 2),
    }
}
