//! A restore of a pointer that the caller has read already, from a record of `ensure`.

use std::sync::Arc;

use super::call::{Restore, SharedTicket, check_target, failed_report, is_missing, without_object};
use super::options::RestoreOptions;
use super::report::RestoreReport;
use crate::core::caches::cache::{Cache, KeyTarget};
use crate::core::caches::key::Key;
use crate::core::caches::outcome::RestoreOutcome;
use crate::core::caches::pointer::Pointer;
use crate::core::caches::run::Run;
use crate::core::error;
use crate::core::failure::{Cause, Result};

impl Cache {
    /// Restores the tree of this pointer, whatever the key means now.
    ///
    /// # Errors
    /// `ERR_INVALID_ARGUMENT` if the target is a file.
    pub(in crate::core::caches) async fn restore_pointer(
        &self,
        key: Key,
        pointer: Pointer,
        options: RestoreOptions,
        run: Arc<Run>,
    ) -> error::Result<RestoreReport> {
        check_target(&options.into, &run).await?;
        let Some(store) = self.store.clone() else {
            return Ok(RestoreReport::new(RestoreOutcome::Disabled));
        };
        let mut call = Restore {
            cache: self.clone(),
            store,
            options,
            run: Arc::clone(&run),
            report: RestoreReport::new(RestoreOutcome::Error),
            ticket: Arc::<SharedTicket>::default(),
        };
        let work = async move {
            match call.attempt_pointer(&key, pointer).await {
                Ok(outcome) => call.report.outcome = outcome,
                Err(failure) => {
                    call.report.outcome = failure.cause.into();
                    call.report.stage = failure.stage.or_else(|| Some(call.run.stage()));
                    call.report.reason = Some(failure.error.message);
                }
            }
            call.report
        };
        let stage = Arc::clone(&run);
        let mut report = run
            .race(work, move |failure| failed_report(failure, stage.stage()))
            .await;
        report.timings = run.timings();
        report.retries = run.context.retries();
        Ok(report)
    }
}

impl Restore {
    async fn attempt_pointer(&mut self, key: &Key, pointer: Pointer) -> Result<RestoreOutcome> {
        self.report.key = Some(key.as_str().to_owned());
        self.report.level = self.cache.level_name();
        let found = || KeyTarget::Pointer(Box::new(pointer.clone()), String::new());
        let ended = match self.restore_found(key, found(), false).await {
            // A store may name the same bytes differently after they were written again.
            Err(failure) if is_missing(failure.cause) => self.restore_found(key, found(), true).await,
            ended => ended,
        };
        ended.map_err(|failure| match failure.cause {
            Cause::NotFound => without_object(&failure),
            _ => failure,
        })
    }
}
