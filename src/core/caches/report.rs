//! Results of calls other than restore and snapshot, and how such calls run.

use std::sync::Arc;

use super::cache::Cache;
use super::outcome::RestoreOutcome;
use super::run::{Budget, Run};
use super::store::{CallContext, Store};
use crate::core::failure::{Cause, Failure, Stage};
use crate::core::sys::cancel::Cancel;

/// Result of one of these calls.
#[derive(Debug)]
pub struct Report<T> {
    /// Outcome.
    pub outcome: RestoreOutcome,
    /// Human-readable reason, if there is one.
    pub reason: Option<String>,
    /// What the call found or did.
    pub value: T,
    /// Duration in milliseconds.
    pub ms: f64,
}

impl<T> Report<T> {
    pub(super) fn new(outcome: RestoreOutcome, value: T) -> Self {
        Self {
            outcome,
            reason: None,
            value,
            ms: 0.0,
        }
    }

    pub(super) fn failed(failure: Failure, value: T) -> Self {
        Self::new(failure.cause.into(), value).because(failure.error.message)
    }

    pub(super) fn because(mut self, reason: impl Into<String>) -> Self {
        self.reason = Some(reason.into());
        self
    }
}

impl Cache {
    pub(super) async fn call<T, F>(
        &self,
        budget: Budget,
        cancel: Cancel,
        nothing: T,
        work: impl FnOnce(Self, Arc<dyn Store>, Arc<CallContext>) -> F,
    ) -> Report<T>
    where
        T: Send + 'static,
        F: Future<Output = Report<T>> + Send + 'static,
    {
        let Some(store) = self.store.clone() else {
            return Report::new(RestoreOutcome::Disabled, nothing);
        };
        let run = Run::start(budget, cancel, Stage::Lookup);
        let working = work(self.clone(), store, Arc::clone(&run.context));
        let mut report = run
            .race(working, |failure| match failure.cause {
                Cause::Aborted => Report::new(RestoreOutcome::Aborted, nothing),
                _ => Report::failed(failure, nothing),
            })
            .await;
        report.ms = run.timings().last().map_or(0.0, |(_, total)| *total);
        report
    }
}
