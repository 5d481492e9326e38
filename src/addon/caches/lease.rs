//! Calls of `prewarm` with a store, for `src/js/locks/prewarm-store.ts`, and the records of a store.

use std::sync::Arc;
use std::time::Duration;

use napi::Env;
use napi::bindgen_prelude::PromiseRaw;
use napi_derive::napi;

use super::NativeCache;
use super::calls;
use super::options::NativeBudget;
use crate::addon::cancel::{self, CancelToken};
use crate::addon::error::Reply;
use crate::addon::listener::Listener;
use crate::addon::number;
use crate::addon::runtime;
use crate::core::caches::ensure::{Facts, RecordFacts};
use crate::core::caches::{
    Key, LeaseCall, LeaseEnd, LeaseEvent, LeaseHolder, LeaseOptions, LeaseSettled, LeaseStep, RecordReport,
    RestoreOutcome,
};
use crate::core::error::{Error, Result};
use crate::core::failure::{Cause, Failure};

/// What is leased.
#[napi(object)]
pub struct NativeLeaseOptions {
    /// The key.
    pub key: String,
    /// The lease.
    pub ttl_ms: f64,
    /// Longest wait; `Infinity` for no limit.
    pub timeout_ms: f64,
    /// Whether a failed run that was waited for fails the call.
    pub shares_failures: bool,
    /// JSON that others see of the holder.
    pub metadata: Option<String>,
}

impl NativeLeaseOptions {
    fn read(self) -> Result<LeaseOptions> {
        let metadata = self.metadata.map(|text| {
            serde_json::from_str(&text).map_err(|error| {
                Error::argument("options.metadata", error, "JSON that other programs can read")
            })
        });
        Ok(LeaseOptions {
            key: Key::parse("path", &self.key)?,
            ttl: number::duration("options.leaseTtlMs", self.ttl_ms)?.max(Duration::from_millis(1)),
            timeout: number::timeout("options.timeoutMs", self.timeout_ms)?,
            shares_failures: self.shares_failures,
            metadata: metadata.transpose()?,
        })
    }
}

/// The holder of a lease.
#[napi(object)]
pub struct NativeLeaseHolder {
    /// Its host.
    pub host: String,
    /// Its process.
    pub pid: u32,
    /// What it is doing.
    pub phase: String,
    /// When it acquired the lease, by its wall clock.
    pub since: String,
    /// When it wrote the record, in milliseconds since the epoch by its wall clock.
    pub written_ms: f64,
    /// The number of the acquisition.
    pub generation: f64,
    /// JSON of its metadata.
    pub metadata: Option<String>,
}

#[expect(clippy::cast_precision_loss, reason = "below 2^53 for the next 285000 years")]
fn exact(number: u64) -> f64 {
    number as f64
}

impl From<LeaseHolder> for NativeLeaseHolder {
    fn from(holder: LeaseHolder) -> Self {
        let Facts {
            holder: process,
            phase,
            since,
            generation,
            metadata,
        } = holder.facts;
        Self {
            host: process.host,
            pid: process.pid,
            phase,
            since,
            written_ms: exact(holder.written_ms),
            generation: exact(generation),
            metadata: metadata.map(|value| value.to_string()),
        }
    }
}

/// What happens during a call.
#[napi(object)]
pub struct NativeLeaseEvent {
    /// The holder that the call waits for. Absent if the lease of this caller is lost.
    pub holder: Option<NativeLeaseHolder>,
    /// Time since the call began.
    pub waited_ms: f64,
    /// Time until a take-over if the holder is silent.
    pub lease_left_ms: f64,
}

impl From<LeaseEvent> for NativeLeaseEvent {
    fn from(event: LeaseEvent) -> Self {
        match event {
            LeaseEvent::Lost => Self {
                holder: None,
                waited_ms: 0.0,
                lease_left_ms: 0.0,
            },
            LeaseEvent::Waiting {
                holder,
                waited_ms,
                lease_left_ms,
            } => Self {
                holder: Some(holder.into()),
                waited_ms,
                lease_left_ms,
            },
        }
    }
}

/// The next step of a call.
#[napi(object)]
#[derive(Default)]
pub struct NativeLeaseStep {
    /// Which. `check` and `run` are answered with `settle()`; the others end the call.
    #[napi(
        ts_type = "'check' | 'run' | 'ready' | 'failed' | 'shared' | 'timed-out' | 'unsupported' | 'error'"
    )]
    pub kind: String,
    /// Milliseconds since the call began.
    pub waited_ms: f64,
    /// The number of the acquisition, of a run.
    pub generation: f64,
    /// The holder that was taken over, of a run; the current one, of a timeout.
    pub holder: Option<NativeLeaseHolder>,
    /// The message of the failure.
    pub reason: Option<String>,
    /// The outcome of an error.
    pub outcome: Option<String>,
}

fn step_of(step: LeaseStep) -> Result<NativeLeaseStep> {
    let (end, waited_ms) = match step {
        LeaseStep::Check => return Ok(plain("check", 0.0)),
        LeaseStep::Run {
            generation,
            took_over_from,
            waited_ms,
        } => {
            return Ok(NativeLeaseStep {
                generation: exact(generation),
                holder: took_over_from.map(|holder| (*holder).into()),
                ..plain("run", waited_ms)
            });
        }
        LeaseStep::End { end, waited_ms } => (end, waited_ms),
    };
    Ok(match end {
        LeaseEnd::Ready => plain("ready", waited_ms),
        LeaseEnd::Failed => plain("failed", waited_ms),
        LeaseEnd::Unsupported => plain("unsupported", waited_ms),
        LeaseEnd::SharedFailure(message) => NativeLeaseStep {
            reason: Some(message),
            ..plain("shared", waited_ms)
        },
        LeaseEnd::TimedOut(holder) => NativeLeaseStep {
            holder: holder.map(|holder| (*holder).into()),
            ..plain("timed-out", waited_ms)
        },
        LeaseEnd::Step(failure) => failed_step(failure, waited_ms)?,
    })
}

fn plain(kind: &str, waited_ms: f64) -> NativeLeaseStep {
    NativeLeaseStep {
        kind: kind.to_owned(),
        waited_ms,
        ..NativeLeaseStep::default()
    }
}

fn failed_step(failure: Failure, waited_ms: f64) -> Result<NativeLeaseStep> {
    if failure.cause == Cause::Aborted {
        return Err(failure.error);
    }
    Ok(NativeLeaseStep {
        outcome: Some(RestoreOutcome::from(failure.cause).as_str().to_owned()),
        reason: Some(failure.error.message),
        ..plain("error", waited_ms)
    })
}

/// A call of prewarm.
#[napi]
pub struct NativeLease {
    inner: Arc<LeaseCall>,
}

#[napi]
impl NativeLease {
    /// The next step.
    #[napi(ts_return_type = "Promise<Reply<NativeLeaseStep>>")]
    pub fn next<'env>(&self, env: &'env Env) -> napi::Result<PromiseRaw<'env, Reply<NativeLeaseStep>>> {
        let call = Arc::clone(&self.inner);
        runtime::promised(env, async move { call.next().await.and_then(step_of) })
    }

    /// Answers a check or a run: whether the result is ready, and the message of a failure that waiters share.
    #[napi]
    pub fn settle(&self, is_ready: bool, failure: Option<String>) {
        self.inner.settle(match failure {
            Some(message) => LeaseSettled::Failed(message),
            None if is_ready => LeaseSettled::Ready,
            None => LeaseSettled::NotReady,
        });
    }

    /// Names this call in the record.
    #[napi(getter)]
    pub fn token(&self) -> String {
        self.inner.token()
    }

    /// Shows waiters what the run is doing.
    #[napi]
    pub fn set_phase(&self, phase: String) {
        self.inner.set_phase(phase);
    }
}

/// A record of a store.
#[napi(object)]
#[derive(Default)]
pub struct NativeRecord {
    /// The key.
    pub key: String,
    /// Whether it is the lease of a job. Otherwise it is the build of a tree.
    pub is_lease: bool,
    /// What the record says. Absent if it cannot be read.
    pub facts: Option<NativeRecordFacts>,
}

/// What a record says.
#[napi(object)]
#[derive(Default)]
pub struct NativeRecordFacts {
    /// The state.
    #[napi(ts_type = "'building' | 'ready' | 'failed'")]
    pub state: String,
    /// Names the caller that wrote it.
    pub token: String,
    /// The number of that caller's write.
    pub seq: f64,
    /// Milliseconds without a change after which others take over.
    pub expires_after_ms: f64,
    /// Host of the holder.
    pub host: String,
    /// Process of the holder.
    pub pid: u32,
    /// What it is doing.
    pub phase: String,
    /// When it acquired the lease, by its wall clock.
    pub since: String,
    /// When it wrote the record, by its wall clock.
    pub at: String,
    /// The number of the acquisition, of a lease.
    pub generation: f64,
    /// The inputs of the build.
    pub fingerprint: String,
    /// JSON of the metadata.
    pub metadata: Option<String>,
    /// Why the build or the job failed.
    pub failure: Option<String>,
}

impl From<RecordReport> for NativeRecord {
    fn from(record: RecordReport) -> Self {
        Self {
            key: record.key,
            is_lease: record.is_lease,
            facts: record.facts.map(facts_of),
        }
    }
}

fn facts_of(facts: RecordFacts) -> NativeRecordFacts {
    NativeRecordFacts {
        state: facts.state.to_owned(),
        token: facts.token,
        seq: exact(facts.seq),
        expires_after_ms: exact(facts.expires_after_ms),
        host: facts.holder.host,
        pid: facts.holder.pid,
        phase: facts.phase,
        since: facts.since,
        at: facts.at,
        generation: exact(facts.generation),
        fingerprint: facts.fingerprint,
        metadata: facts.metadata.map(|value| value.to_string()),
        failure: facts.failure,
    }
}

/// The records of a store, or why they cannot be read.
#[napi(object)]
pub struct NativeRecords {
    /// `restored` if they were read.
    pub outcome: String,
    /// Why not.
    pub reason: Option<String>,
    /// The records, by key.
    pub records: Vec<NativeRecord>,
}

#[napi]
impl NativeCache {
    /// Waits for a job that another caller runs, or runs it.
    #[napi(ts_return_type = "Reply<NativeLease>")]
    pub fn lease(
        &self,
        options: NativeLeaseOptions,
        token: &CancelToken,
        #[napi(ts_arg_type = "(event: NativeLeaseEvent) => void")] listener: Listener<NativeLeaseEvent>,
    ) -> napi::Result<Reply<NativeLease>> {
        let (cache, cancel, ending) = (self.inner.clone(), cancel::of(Some(token)), self.ending.clone());
        runtime::guarded(|| {
            let listen = move |event: LeaseEvent| listener.call(event.into());
            let (call, work) = cache.lease(options.read()?, cancel.clone(), listen)?;
            runtime::spawn(calls::until_ending(ending, cancel, work))?;
            Ok(NativeLease {
                inner: Arc::new(call),
            })
        })
    }

    /// Reads the records of a key, or all records of the store.
    #[napi(ts_return_type = "Promise<Reply<NativeRecords>>")]
    pub fn records<'env>(
        &self,
        env: &'env Env,
        key: Option<String>,
        budget: NativeBudget,
        token: &CancelToken,
    ) -> napi::Result<PromiseRaw<'env, Reply<NativeRecords>>> {
        let (cache, cancel) = (self.inner.clone(), cancel::of(Some(token)));
        runtime::promised(env, async move {
            let key = key.map(|key| Key::parse("path", &key)).transpose()?;
            let report = cache.records(key, budget.read()?, cancel).await;
            Ok(NativeRecords {
                outcome: report.outcome.as_str().to_owned(),
                reason: report.reason,
                records: report.value.into_iter().map(Into::into).collect(),
            })
        })
    }
}
