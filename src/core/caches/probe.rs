//! Detects what a store supports by test requests.

use std::sync::Arc;

use bytes::Bytes;

use super::cache::Cache;
use super::conditions::{Conditions, probe_conditions, probe_multipart, probe_path, stale, tidy_up};
use super::outcome::RestoreOutcome;
use super::report::Report;
use super::run::Budget;
use super::store::{Body, CallContext, Condition, Store, StoreResult};
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
    let found = probe_written(store, &path, &etag, conditions, context).await;
    tidy_up(store, &path, context).await;
    found
}

/// Tests with an object that was written.
async fn probe_written(
    store: &dyn Store,
    path: &str,
    etag: &str,
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
        && (!store.conditions_are_uncertain() || races_have_one_winner(store, context).await?);
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
/// Number of races to create an object and to replace it. s3s-fs 0.14.1, which checks a condition and then writes, had
/// more than one winner in 49 of 50 races to create.
const ROUNDS: usize = 3;

/// Whether no race has more than one winner. A store can check conditions correctly for one write at a time, and not for
/// several.
async fn races_have_one_winner(store: &dyn Store, context: &Arc<CallContext>) -> StoreResult<bool> {
    for _ in 0..ROUNDS {
        let path = probe_path("");
        let held = race_to_create_and_replace(store, &path, context).await;
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
    context: &Arc<CallContext>,
) -> StoreResult<bool> {
    if !race(store, path, &Condition::Absent, context).await? {
        return Ok(false);
    }
    let version = store.stat(path, context).await?.etag;
    race(store, path, &Condition::Version(version), context).await
}

/// Writes the object several times at the same time. Returns whether at most one write succeeded. None succeeds if the
/// response to the first one was lost.
async fn race(
    store: &dyn Store,
    path: &str,
    condition: &Condition,
    context: &Arc<CallContext>,
) -> StoreResult<bool> {
    let writes = (0..RACERS).map(|_| {
        // An ETag can be the MD5 of the content, so no two writes have the same.
        let body = format!("warmswap probe {}", uuid::Uuid::new_v4());
        store.write(path, Body::Bytes(Bytes::from(body)), condition.clone(), context)
    });
    let (mut winners, mut unknown) = (0, None);
    for written in futures::future::join_all(writes).await {
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
