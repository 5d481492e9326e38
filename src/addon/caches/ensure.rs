//! Calls of `ensure` for `src/js/caches/ensure.ts`.

use std::sync::Arc;
use std::time::Duration;

use napi::Env;
use napi::bindgen_prelude::PromiseRaw;
use napi_derive::napi;

use super::NativeCache;
use super::calls;
use super::options::{NativeBudget, NativeRestoreOptions};
use super::reports::NativeRestoreReport;
use crate::addon::cancel::{self, CancelToken};
use crate::addon::error::Reply;
use crate::addon::listener::Listener;
use crate::addon::number;
use crate::addon::runtime;
use crate::core::archives::codec::{self, Format};
use crate::core::caches::RestoreOutcome;
use crate::core::caches::{EnsureCall, EnsureEvent, EnsureFailure, EnsureOptions, EnsureStep, Key};
use crate::core::error::Result;
use crate::core::failure::{Cause, Failure};

/// What to ensure.
#[napi(object)]
pub struct NativeEnsureOptions {
    /// The key.
    pub key: String,
    /// Identifies the inputs.
    pub fingerprint: String,
    /// Target, and what a restore accepts.
    pub restore: NativeRestoreOptions,
    /// Compression level.
    pub level: Option<f64>,
    /// The lease.
    pub ttl_ms: f64,
    /// Time to coordinate with others; none for no limit.
    pub deadline_ms: Option<f64>,
    /// Whether a failed build that was waited for fails the call.
    pub shares_failures: bool,
    /// Time and patience of the upload.
    pub upload_budget: NativeBudget,
}

impl NativeEnsureOptions {
    fn read(self) -> Result<EnsureOptions> {
        let key = Key::parse("key", &self.key)?;
        let (restore, restore_budget) = self.restore.read()?;
        #[expect(
            clippy::cast_possible_truncation,
            reason = "src/js checked that it is from -7 to 19"
        )]
        let level = self.level.map(|level| level as i32);
        if let Some(level) = level {
            codec::check_level(Format::TarZst, level)?;
        }
        let deadline = self
            .deadline_ms
            .map(|limit| number::duration("options.deadlineMs", limit));
        Ok(EnsureOptions {
            key,
            fingerprint: self.fingerprint,
            restore,
            level,
            ttl: number::duration("options.ttlMs", self.ttl_ms)?.max(Duration::from_millis(1)),
            deadline: deadline.transpose()?,
            shares_failures: self.shares_failures,
            restore_budget,
            upload_budget: self.upload_budget.read()?,
        })
    }
}

/// What happens during a call.
#[napi(object)]
pub struct NativeEnsureEvent {
    /// Which.
    #[napi(ts_type = "'waiting' | 'lost'")]
    pub kind: String,
    /// Host of the builder.
    pub host: Option<String>,
    /// Process of the builder.
    pub pid: Option<u32>,
    /// What the builder is doing.
    pub phase: Option<String>,
    /// Time since the call began.
    pub waited_ms: Option<f64>,
    /// Time until a take-over if the builder is silent.
    pub lease_left_ms: Option<f64>,
}

impl From<EnsureEvent> for NativeEnsureEvent {
    fn from(event: EnsureEvent) -> Self {
        match event {
            EnsureEvent::Lost => Self {
                kind: "lost".to_owned(),
                host: None,
                pid: None,
                phase: None,
                waited_ms: None,
                lease_left_ms: None,
            },
            EnsureEvent::Waiting {
                facts,
                waited_ms,
                lease_left_ms,
            } => Self {
                kind: "waiting".to_owned(),
                host: Some(facts.holder.host),
                pid: Some(facts.holder.pid),
                phase: Some(facts.phase),
                waited_ms: Some(waited_ms),
                lease_left_ms: Some(lease_left_ms),
            },
        }
    }
}

/// The next step of a call.
#[napi(object)]
#[derive(Default)]
pub struct NativeEnsureStep {
    /// Where to build. Absent at the end of the call.
    pub directory: Option<String>,
    /// `restored`, `built` or `alone`, at the end of a call that has its tree.
    pub role: Option<String>,
    /// Why it is built alone, or why there is no tree.
    pub reason: Option<String>,
    /// The generation.
    pub generation: Option<String>,
    /// Milliseconds of the call.
    pub ms: f64,
    /// The restore.
    pub restore: Option<NativeRestoreReport>,
    /// The outcome of a call without a tree; `build` and `shared` for a failed build.
    pub outcome: Option<String>,
}

fn step_of(step: EnsureStep) -> Result<NativeEnsureStep> {
    let ended = match step {
        EnsureStep::Build { directory, alone } => {
            return Ok(NativeEnsureStep {
                directory: Some(directory.to_string_lossy().into_owned()),
                reason: alone,
                ..NativeEnsureStep::default()
            });
        }
        EnsureStep::End(ended) => *ended,
    };
    let failed = |outcome: &str, reason: Option<String>| NativeEnsureStep {
        outcome: Some(outcome.to_owned()),
        reason,
        ..NativeEnsureStep::default()
    };
    Ok(match ended {
        Ok(report) => NativeEnsureStep {
            role: Some(report.role.as_str().to_owned()),
            reason: report.reason,
            generation: report.generation,
            ms: report.ms,
            restore: report.restore.map(Into::into),
            ..NativeEnsureStep::default()
        },
        Err(EnsureFailure::Build(message)) => failed("build", Some(message)),
        Err(EnsureFailure::SharedBuild(message)) => failed("shared", Some(message)),
        Err(EnsureFailure::Restore(report)) => failed(report.outcome.as_str(), report.reason),
        Err(EnsureFailure::Step(failure)) => failed_step(failure, failed)?,
    })
}

fn failed_step(
    failure: Failure,
    failed: impl Fn(&str, Option<String>) -> NativeEnsureStep,
) -> Result<NativeEnsureStep> {
    match failure.cause {
        Cause::Aborted => Err(failure.error),
        Cause::Unguarded => Ok(failed("unguarded", Some(failure.error.message))),
        cause => Ok(failed(
            RestoreOutcome::from(cause).as_str(),
            Some(failure.error.message),
        )),
    }
}

/// A call of ensure.
#[napi]
pub struct NativeEnsure {
    inner: Arc<EnsureCall>,
}

#[napi]
impl NativeEnsure {
    /// The next step.
    #[napi(ts_return_type = "Promise<Reply<NativeEnsureStep>>")]
    pub fn next<'env>(&self, env: &'env Env) -> napi::Result<PromiseRaw<'env, Reply<NativeEnsureStep>>> {
        let call = Arc::clone(&self.inner);
        runtime::promised(env, async move { call.next().await.and_then(step_of) })
    }

    /// The build has ended, with a message if it failed.
    #[napi]
    pub fn settle(&self, failure: Option<String>) {
        self.inner.settle(failure);
    }

    /// Shows waiters what the build is doing.
    #[napi]
    pub fn set_phase(&self, phase: String) {
        self.inner.set_phase(phase);
    }
}

#[napi]
impl NativeCache {
    /// Restores, or builds once.
    #[napi(ts_return_type = "Reply<NativeEnsure>")]
    pub fn ensure(
        &self,
        options: NativeEnsureOptions,
        token: &CancelToken,
        #[napi(ts_arg_type = "(event: NativeEnsureEvent) => void")] listener: Listener<NativeEnsureEvent>,
    ) -> napi::Result<Reply<NativeEnsure>> {
        let (cache, cancel, ending) = (self.inner.clone(), cancel::of(Some(token)), self.ending.clone());
        runtime::guarded(|| {
            let listen = move |event: EnsureEvent| listener.call(event.into());
            let (call, work) = cache.ensure(options.read()?, cancel.clone(), listen)?;
            runtime::spawn(calls::until_ending(ending, cancel, work))?;
            Ok(NativeEnsure {
                inner: Arc::new(call),
            })
        })
    }
}
