//! Results that other trust levels have published. They are restored, and never built again or replaced.

use std::sync::Arc;

use super::build::deadline_of;
use super::driver::{Driver, Outcome, Work};
use super::protocol::{Event, Found, Record, State};
use super::requests::{Answer, RecordStore};
use super::wire;
use crate::core::caches::cache::Cache;
use crate::core::caches::pointer::Pointer;
use crate::core::caches::run::Run;
use crate::core::caches::store::Store;
use crate::core::failure::{Failure, Stage};
use crate::core::sys::cancel::Cancel;
use crate::core::sys::deadline::Deadline;

impl Driver {
    /// Restores the first usable result of the trust levels, in the order in which the cache reads them. None if there is
    /// none: then the callers of the own level agree on a build.
    pub(super) async fn restore_from_levels(&mut self) -> Option<Outcome> {
        let places = self.cache.places();
        if places.len() == 1 {
            return None;
        }
        let deadline = deadline_of(&self.options, self.started);
        for place in places {
            let Some(store) = place.store.clone() else {
                continue;
            };
            let records = self.records(place.clone(), store);
            let pointer = tokio::select! {
                pointer = published(records) => pointer,
                () = self.cancel.cancelled() => return Some(Outcome::of(Err(Failure::from(Cancel::error()).into()))),
                () = passed(deadline) => return None,
            };
            let Some(pointer) = pointer else { continue };
            let (key, options) = (self.options.key.clone(), self.options.restore.clone());
            let run = Run::start(self.options.restore_budget, self.cancel.clone(), Stage::Download);
            let restored = place.restore_pointer(key, *pointer, options, run).await;
            if let Err(outcome) = self.finish(Work::Restore(Box::new(restored))) {
                return Some(outcome);
            }
        }
        None
    }

    /// The record of this call in a store.
    pub(super) fn records(&self, cache: Cache, store: Arc<dyn Store>) -> RecordStore {
        RecordStore {
            cache,
            store,
            path: wire::record_path(&self.options.key, &self.options.fingerprint),
            key: self.options.key.clone(),
            fingerprint: self.options.fingerprint.clone(),
            idle: self.options.restore_budget.idle,
            limit: self.options.ttl / 6,
            attempts: self.options.restore_budget.attempts,
        }
    }
}

/// The verified result of one level.
async fn published(records: RecordStore) -> Option<Box<Pointer>> {
    match records.read::<Box<Pointer>>().await {
        Answer::Event(
            Event::Read(Some(Found::Record(
                _,
                Record {
                    state: State::Ready(pointer),
                    ..
                },
            ))),
            _,
        ) => Some(pointer),
        _ => None,
    }
}

async fn passed(deadline: Deadline) {
    match deadline.instant() {
        Some(instant) => tokio::time::sleep_until(instant.into()).await,
        None => std::future::pending().await,
    }
}
