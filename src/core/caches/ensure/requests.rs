//! The requests of a call of `ensure`: one read or one write of the record, each with its own limit of time.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::protocol::{Condition, Event, Found, Record, Written};
use super::wire::{self, Facts, MAX_RECORD_BYTES, RecordResult};
use crate::core::caches::cache::Cache;
use crate::core::caches::key::Key;
use crate::core::caches::store::{self, Body, CallContext, Store};
use crate::core::failure::{Cause, Failure};
use crate::core::sys::cancel::Cancel;

/// How many times longer than a request the probe may take: it sends up to eight, one after the other.
const PROBE_LIMITS: u32 = 3;

/// What the driver learns from a request.
pub(in crate::core::caches) enum Answer<R> {
    /// An event of the protocol, and what the record says beside it.
    Event(Event<String, R>, Option<Facts>),
    /// As [`Answer::Event`], for a request that failed.
    Failed(Event<String, R>, Failure),
    /// The store cannot be used by this caller, or the record must not be.
    Hopeless(Event<String, R>, Failure),
    /// The store does not honour conditional writes.
    Unconditional,
}

/// Where the record of a call is, and how it is reached.
#[derive(Clone)]
pub(in crate::core::caches) struct RecordStore {
    pub(in crate::core::caches) cache: Cache,
    pub(in crate::core::caches) store: Arc<dyn Store>,
    pub(in crate::core::caches) key: Key,
    /// The path of the record.
    pub(in crate::core::caches) path: String,
    pub(in crate::core::caches) fingerprint: String,
    /// Longest silence of a connection.
    pub(in crate::core::caches) idle: Duration,
    /// Longest request. A write that takes longer may still land.
    pub(in crate::core::caches) limit: Duration,
    /// How often one request of the probe may be tried.
    pub(in crate::core::caches) attempts: u32,
}

impl RecordStore {
    /// One attempt: the protocol decides about the next one.
    fn context(&self, attempts: u32) -> Arc<CallContext> {
        Arc::new(CallContext::new(
            Cancel::new(),
            self.idle.min(self.limit),
            attempts,
        ))
    }

    pub(in crate::core::caches) async fn read<R: RecordResult>(self) -> Answer<R> {
        let context = self.context(1);
        let reading = store::read_small(&*self.store, &self.path, MAX_RECORD_BYTES, &context);
        let read = match tokio::time::timeout(self.limit, reading).await {
            Ok(read) => read,
            Err(_) => Err(too_long(self.limit)),
        };
        let (bytes, version) = match read {
            Ok(read) => read,
            // Without s3:ListBucket an object that does not exist is 'denied'.
            Err(failure) if matches!(failure.cause, Cause::NotFound | Cause::Denied) => {
                return Answer::Event(Event::Read(Some(Found::Nothing)), None);
            }
            Err(failure) if is_hopeless(failure.cause) => {
                return Answer::Hopeless(Event::Read(None), failure);
            }
            Err(failure) => return Answer::Failed(Event::Read(None), failure),
        };
        match wire::decode(&bytes, version, &self.fingerprint, &self.key, &self.cache.seal) {
            Ok((found, facts)) => Answer::Event(Event::Read(Some(found)), Some(facts)),
            Err(failure) => Answer::Hopeless(Event::Read(None), failure),
        }
    }

    /// Writes the record. A write that acquires the lease first finds out whether the store honours conditions, unless
    /// that is known.
    pub(in crate::core::caches) async fn write<R: RecordResult>(
        self,
        record: Record<R>,
        condition: Condition<String>,
        facts: Facts,
        acquires: bool,
    ) -> Answer<R> {
        if acquires {
            match self.honours_conditions().await {
                Ok(true) => {}
                Ok(false) => return Answer::Unconditional,
                Err(failure) if failure.cause == Cause::Unguarded => {
                    return Answer::Hopeless(unknown(), failure);
                }
                Err(failure) => return not_written(failure),
            }
        }
        let bytes = wire::encode(&record, &facts, &self.fingerprint, &self.key, &self.cache.seal);
        let condition = match condition {
            Condition::Absent => store::Condition::Absent,
            Condition::Version(version) => store::Condition::Version(version),
            Condition::Always => store::Condition::Always,
        };
        let (context, body) = (self.context(1), Body::Bytes(Bytes::from(bytes)));
        let writing = self.store.write(&self.path, body, condition, &context);
        match tokio::time::timeout(self.limit, writing).await {
            Ok(Ok(version)) => Answer::Event(Event::Written(Written::Landed(version)), None),
            Ok(Err(failure)) => not_written(failure),
            Err(_) => not_written(too_long(self.limit)),
        }
    }

    async fn honours_conditions(&self) -> Result<bool, Failure> {
        let context = self.context(self.attempts);
        let asking = self.cache.honours_conditions(&*self.store, &self.key, &context);
        let limit = self.limit * PROBE_LIMITS;
        match tokio::time::timeout(limit, asking).await {
            Ok(answer) => answer,
            Err(_) => Err(too_long(limit)),
        }
    }
}

fn not_written<R>(failure: Failure) -> Answer<R> {
    match failure.cause {
        Cause::Changed | Cause::Conflict => Answer::Failed(Event::Written(Written::Refused), failure),
        cause if is_hopeless(cause) || cause == Cause::Denied => Answer::Hopeless(unknown(), failure),
        _ => Answer::Failed(unknown(), failure),
    }
}

fn unknown<R>() -> Event<String, R> {
    Event::Written(Written::Unknown)
}

fn too_long(limit: Duration) -> Failure {
    Failure::new(
        Cause::Timeout,
        format!("a request took longer than {} ms", limit.as_millis()),
    )
}

/// Whether a repetition cannot succeed.
fn is_hopeless(cause: Cause) -> bool {
    matches!(
        cause,
        Cause::CredentialsMissing
            | Cause::CredentialsRefused
            | Cause::CredentialsTimeout
            | Cause::Misconfigured
            | Cause::NoSpace
    )
}
