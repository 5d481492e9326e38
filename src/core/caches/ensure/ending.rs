//! How a call ends: with a restore, with the tree that it built, or without one.

use super::build::{BuildEnd, BuildJob, BuildResult, commit};
use super::driver::{Driver, Ended, Outcome, Work};
use super::pace;
use super::protocol::{Built, Ending, Event, Leaving};
use super::report::{EnsureFailure, EnsureReport, Role};
use crate::core::caches::outcome::RestoreOutcome;
use crate::core::caches::pointer::Pointer;
use crate::core::caches::restore::RestoreReport;
use crate::core::failure::{Failure, Stage};
use crate::core::sys::cancel::Cancel;
use std::sync::Arc;

type Result = Box<Pointer>;

impl Driver {
    /// What the end of a build or of a restore means for the protocol.
    pub(super) fn finish(&mut self, work: Work) -> std::result::Result<Event<String, Result>, Outcome> {
        match work {
            Work::Build(end, builds) => {
                self.builds = Some(builds);
                Ok(Event::BuildEnded(self.built(*end)))
            }
            Work::Restore(ended) => match *ended {
                Err(error) => Err(Outcome::of(Err(Failure::from(error).into()))),
                Ok(report) => self.restored(report),
            },
        }
    }

    fn built(&mut self, end: BuildEnd) -> Built<Result> {
        let pointer = end.uploaded.as_ref().map(|uploaded| uploaded.pointer.clone());
        self.built = end.stage.map(|stage| (stage, end.uploaded));
        match (end.result, pointer) {
            (BuildResult::Failed(message), _) => Built::Failed(message),
            (BuildResult::Stopped(failure) | BuildResult::NotUploaded(failure), _) => {
                self.failure = Some(failure);
                Built::GivenUp
            }
            (BuildResult::Uploaded, Some(pointer)) => Built::Ready(Box::new(pointer)),
            (BuildResult::Uploaded, None) => Built::GivenUp,
        }
    }

    fn restored(&self, report: RestoreReport) -> std::result::Result<Event<String, Result>, Outcome> {
        match report.outcome {
            RestoreOutcome::Restored | RestoreOutcome::Unchanged => {
                Err(Outcome::of(Ok(self.report(Role::Restored, Some(report)))))
            }
            RestoreOutcome::Corrupt => Ok(Event::Unrestorable),
            // Without s3:ListBucket a blob that does not exist is 'denied'.
            RestoreOutcome::Denied if report.stage == Some(Stage::Download) => Ok(Event::Unrestorable),
            RestoreOutcome::Timeout | RestoreOutcome::Unavailable | RestoreOutcome::Superseded => {
                let reason = report.reason.as_deref().unwrap_or("no reason");
                let outcome = report.outcome.as_str();
                Err(Outcome::Alone(format!(
                    "the restore ended with '{outcome}': {reason}"
                )))
            }
            _ => Err(Outcome::of(Err(EnsureFailure::Restore(Box::new(report))))),
        }
    }

    /// How the call ends after the protocol has.
    pub(super) async fn conclude(&mut self, ending: Ending<Result>) -> Outcome {
        match ending {
            Ending::Built(_) => {
                let report = self.report(Role::Built, None);
                Outcome::of(self.commit(report).await)
            }
            Ending::Unpublished(_) | Ending::GivenUp if self.built.is_some() => {
                let mut report = self.report(Role::Alone, None);
                report.reason = Some(format!("the result was not published: {}", self.last_failure()));
                report.generation = None;
                Outcome::of(self.commit(report).await)
            }
            Ending::Unpublished(_) | Ending::GivenUp => {
                let failure = self.failure.take().unwrap_or_else(|| Cancel::error().into());
                Outcome::of(Err(failure.into()))
            }
            Ending::Failed { message, is_shared } => Outcome::of(Err(if is_shared {
                EnsureFailure::SharedBuild(message)
            } else {
                EnsureFailure::Build(message)
            })),
            Ending::Left(Leaving::Cancelled) => Outcome::of(Err(Failure::from(Cancel::error()).into())),
            Ending::Left(Leaving::Deadline) => Outcome::Alone(self.late()),
            Ending::ReadOnly => Outcome::Alone(self.cache.read_only_reason()),
            Ending::Trouble => Outcome::Alone(format!("the store cannot be used: {}", self.last_failure())),
        }
    }

    fn late(&self) -> String {
        let limit = self.options.deadline.unwrap_or_default().as_millis();
        match &self.waits_for {
            Some(facts) => format!(
                "deadlineMs ({limit}) passed while process {} on '{}' was building",
                facts.holder.pid, facts.holder.host
            ),
            None => format!("deadlineMs ({limit}) passed"),
        }
    }

    fn last_failure(&self) -> String {
        let failure = self.failure.as_ref();
        failure.map_or_else(|| "no reason".to_owned(), |failure| failure.error.message.clone())
    }

    async fn commit(&mut self, report: EnsureReport) -> Ended {
        let Some((stage, uploaded)) = self.built.take() else {
            return Ok(report);
        };
        commit(Arc::clone(&self.options), stage, uploaded).await?;
        Ok(EnsureReport {
            ms: self.elapsed_ms(),
            ..report
        })
    }

    fn report(&self, role: Role, restore: Option<RestoreReport>) -> EnsureReport {
        let uploaded = self.built.as_ref().and_then(|(_, uploaded)| uploaded.as_ref());
        let built = uploaded.map(|uploaded| uploaded.pointer.generation.clone());
        EnsureReport {
            role,
            reason: None,
            generation: restore
                .as_ref()
                .map_or(built, |restore| restore.generation.clone()),
            restore,
            ms: self.elapsed_ms(),
        }
    }

    /// Builds the tree without the store.
    pub(super) async fn build_alone(&mut self, reason: String) -> Ended {
        let Some(builds) = self.builds.take() else {
            return Err(Failure::from(Cancel::error()).into());
        };
        let job = BuildJob {
            cache: self.cache.clone(),
            options: Arc::clone(&self.options),
            store: None,
            stop: self.cancel.clone(),
            steps: self.steps.clone(),
            alone: Some(reason.clone()),
        };
        let (end, _) = job.run(builds, || {}).await;
        match end.result {
            _ if self.cancel.is_cancelled() => Err(Failure::from(Cancel::error()).into()),
            BuildResult::Failed(message) => Err(EnsureFailure::Build(message)),
            BuildResult::Stopped(failure) | BuildResult::NotUploaded(failure) => Err(failure.into()),
            BuildResult::Uploaded => {
                self.built = end.stage.map(|stage| (stage, None));
                let report = EnsureReport {
                    reason: Some(reason),
                    ..self.report(Role::Alone, None)
                };
                self.commit(report).await
            }
        }
    }

    pub(super) fn elapsed_ms(&self) -> f64 {
        pace::elapsed_ms(self.started)
    }
}
