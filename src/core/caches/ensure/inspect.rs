//! The records of a store, for humans: who builds what, and who holds which lease.

use std::sync::Arc;

use super::protocol::Rules;
use super::wire::{self, MAX_RECORD_BYTES, RecordHolder, Standing, Wire, records_in};
use crate::core::caches::cache::Cache;
use crate::core::caches::key::Key;
use crate::core::caches::outcome::RestoreOutcome;
use crate::core::caches::report::Report;
use crate::core::caches::run::Budget;
use crate::core::caches::store::{self, CallContext, Store, StoreResult};
use crate::core::failure::Cause;
use crate::core::sys::cancel::Cancel;

/// The folder of records in their paths.
const FOLDER: &str = "/.warmswap-ensure/";

/// One record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordReport {
    /// The key.
    pub key: String,
    /// Whether it is the lease of a job. Otherwise it is the build of a tree.
    pub is_lease: bool,
    /// What it says. None if it cannot be read.
    pub facts: Option<RecordFacts>,
}

/// What a record says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordFacts {
    /// `building`, `ready` or `failed`.
    pub state: &'static str,
    /// Names the caller that wrote it.
    pub token: String,
    /// The number of that caller's write.
    pub seq: u64,
    /// Milliseconds without a change after which others take over.
    pub expires_after_ms: u64,
    /// The process that wrote it.
    pub holder: RecordHolder,
    /// What it is doing.
    pub phase: String,
    /// When it acquired the lease, by its wall clock. Empty if unknown.
    pub since: String,
    /// When it wrote the record, by its wall clock.
    pub at: String,
    /// The number of the acquisition, of a lease.
    pub generation: u64,
    /// The inputs of the build.
    pub fingerprint: String,
    /// What the holder wants others to see.
    pub metadata: Option<serde_json::Value>,
    /// Why the build or the job failed.
    pub failure: Option<String>,
}

impl Cache {
    /// Reads the records of a key, or all records of the store. Lists objects; without the permission to list, only the
    /// lease of the key is read.
    pub async fn records(
        &self,
        key: Option<Key>,
        budget: Budget,
        cancel: Cancel,
    ) -> Report<Vec<RecordReport>> {
        self.call(budget, cancel, Vec::new(), move |_, store, context| async move {
            match read_all(&*store, key.as_ref(), &context).await {
                Ok(records) => Report::new(RestoreOutcome::Restored, records),
                Err(failure) => Report::failed(failure, Vec::new()),
            }
        })
        .await
    }
}

async fn read_all(
    store: &dyn Store,
    key: Option<&Key>,
    context: &Arc<CallContext>,
) -> StoreResult<Vec<RecordReport>> {
    let prefix = key.map(records_in).unwrap_or_default();
    let mut paths: Vec<String> = match (store.list(&prefix, context).await, key) {
        (Ok(objects), _) => objects.into_iter().map(|object| object.path).collect(),
        (Err(failure), Some(key)) if failure.cause == Cause::Denied => vec![wire::lease_path(key)],
        (Err(failure), _) => return Err(failure),
    };
    paths.sort();
    let mut records = Vec::new();
    for path in paths {
        let Some((key, name)) = path.rsplit_once(FOLDER) else {
            continue;
        };
        match store::read_small(store, &path, MAX_RECORD_BYTES, context).await {
            Ok((bytes, _)) => records.push(RecordReport {
                key: key.to_owned(),
                is_lease: name == "prewarm.json",
                facts: facts_of(&bytes),
            }),
            // It was removed, or without s3:ListBucket: there is none.
            Err(failure) if matches!(failure.cause, Cause::NotFound | Cause::Denied) => {}
            Err(failure) => return Err(failure),
        }
    }
    Ok(records)
}

fn facts_of(bytes: &[u8]) -> Option<RecordFacts> {
    let wire: Wire = serde_json::from_slice(bytes).ok()?;
    Some(RecordFacts {
        state: match wire.state {
            Standing::Building => "building",
            Standing::Ready => "ready",
            Standing::Failed => "failed",
        },
        expires_after_ms: u64::try_from(Rules::expires_after(wire.ttl_ms)).unwrap_or(0),
        token: wire.token,
        seq: wire.seq,
        holder: wire.holder,
        phase: wire.phase,
        since: wire.since,
        at: wire.at,
        generation: wire.generation,
        fingerprint: wire.fingerprint,
        metadata: wire.metadata,
        failure: wire.failure,
    })
}
