//! The bytes of a record.

use serde::{Deserialize, Serialize};

use super::protocol::{Found, Record, State};
use crate::core::caches::key::Key;
use crate::core::caches::pointer::Pointer;
use crate::core::caches::trust::{Scope, Seal, StoredPointer};
use crate::core::failure::{Cause, Failure};
use crate::core::sys::{clock, identity};

/// Version of the format that is written and read.
const VERSION: u32 = 1;
/// Largest record that is read, in bytes: a pointer, a fingerprint and a failure.
pub(in crate::core::caches) const MAX_RECORD_BYTES: usize = 16_384;
/// Longest message of a failure, in characters. Six bytes of JSON each at most.
const MAX_FAILURE: usize = 1000;
/// Longest phase, in characters.
const MAX_PHASE: usize = 100;

/// The path of the record of a fingerprint.
pub(super) fn record_path(key: &Key, fingerprint: &str) -> String {
    let name = blake3::hash(fingerprint.as_bytes()).to_hex();
    format!("{}{name}.json", records_in(key))
}

/// The path of the record of [`Cache::lease`](super::super::Cache::lease). No fingerprint has this name.
pub(in crate::core::caches) fn lease_path(key: &Key) -> String {
    format!("{}prewarm.json", records_in(key))
}

/// The prefix of the records of a key.
pub(in crate::core::caches) fn records_in(key: &Key) -> String {
    format!("{}/.warmswap-ensure/", key.as_str())
}

/// The process that wrote a record. For humans.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RecordHolder {
    /// Host name.
    pub host: String,
    /// Process id on that host.
    pub pid: u32,
}

impl RecordHolder {
    pub(in crate::core::caches) fn this_process() -> Self {
        Self {
            host: identity::hostname(),
            pid: std::process::id(),
        }
    }
}

/// The JSON of a record. Readers ignore unknown fields.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Wire {
    v: u32,
    pub(super) token: String,
    pub(super) seq: u64,
    pub(super) ttl_ms: u64,
    #[serde(default)]
    pub(super) holder: RecordHolder,
    #[serde(default)]
    pub(super) phase: String,
    #[serde(default)]
    pub(super) at: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(super) since: String,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(super) generation: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) metadata: Option<serde_json::Value>,
    #[serde(default)]
    pub(super) fingerprint: String,
    pub(super) state: Standing,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pointer: Option<StoredPointer>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) failure: Option<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Standing {
    Building,
    Ready,
    Failed,
}

/// What a record says beside the protocol.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Facts {
    /// The process that wrote it.
    pub holder: RecordHolder,
    /// What it is doing.
    pub phase: String,
    /// When it acquired the lease, by its wall clock. Empty if unknown.
    pub since: String,
    /// Grows with each acquisition of a lease. 0 for a build.
    pub generation: u64,
    /// What the holder of a lease wants others to see.
    pub metadata: Option<serde_json::Value>,
}

/// What a record of one kind says about its result.
pub(in crate::core::caches) trait RecordResult:
    Clone + Eq + Send + Sync + 'static
{
    /// The pointer to the result, if this kind has one.
    fn pointer(&self) -> Option<&Pointer>;

    /// The result of a record that is ready. None if it is not a record of this kind.
    ///
    /// # Errors
    /// If this caller must not replace the record: another secret or another level has signed it, or its format is newer.
    fn read(
        pointer: Option<StoredPointer>,
        fingerprint: &str,
        key: &Key,
        seal: &Seal,
    ) -> Result<Option<Self>, Failure>;
}

/// The result of a build is a blob.
impl RecordResult for Box<Pointer> {
    fn pointer(&self) -> Option<&Pointer> {
        Some(self)
    }

    fn read(
        pointer: Option<StoredPointer>,
        fingerprint: &str,
        key: &Key,
        seal: &Seal,
    ) -> Result<Option<Self>, Failure> {
        let Some(pointer) = pointer else {
            return Ok(None);
        };
        match seal.verify(pointer, key, Scope::Result(fingerprint)) {
            // The signature covers the key, and the pointer names the fingerprint.
            Ok(pointer) if pointer.producer.fingerprint == fingerprint => Ok(Some(Self::new(pointer))),
            Err(failure) if matches!(failure.cause, Cause::Refused | Cause::Incompatible) => Err(failure),
            _ => Ok(None),
        }
    }
}

/// The result of a lease lies elsewhere: its callers check it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::core::caches) struct Elsewhere;

impl RecordResult for Elsewhere {
    fn pointer(&self) -> Option<&Pointer> {
        None
    }

    fn read(pointer: Option<StoredPointer>, _: &str, _: &Key, _: &Seal) -> Result<Option<Self>, Failure> {
        Ok(pointer.is_none().then_some(Self))
    }
}

/// The signed bytes of a record.
pub(super) fn encode<R: RecordResult>(
    record: &Record<R>,
    facts: &Facts,
    fingerprint: &str,
    key: &Key,
    seal: &Seal,
) -> Vec<u8> {
    let (state, pointer, failure) = match &record.state {
        State::Building => (Standing::Building, None, None),
        State::Ready(result) => {
            let pointer = result.pointer();
            let stored = pointer.map(|pointer| seal.sign(pointer, key, Scope::Result(fingerprint)));
            (Standing::Ready, stored, None)
        }
        State::Failed(message) => {
            let message = message
                .as_ref()
                .map(|text| text.chars().take(MAX_FAILURE).collect());
            (Standing::Failed, None, message)
        }
    };
    let wire = Wire {
        v: VERSION,
        token: format!("{:032x}", record.token),
        seq: record.seq,
        ttl_ms: record.ttl_ms,
        holder: facts.holder.clone(),
        phase: facts.phase.chars().take(MAX_PHASE).collect(),
        at: clock::iso8601(),
        since: facts.since.clone(),
        generation: facts.generation,
        metadata: facts.metadata.clone(),
        fingerprint: fingerprint.to_owned(),
        state,
        pointer,
        failure,
    };
    serde_json::to_vec(&wire).unwrap_or_default()
}

/// Reads a record. Fails if this caller must not replace it: its format is newer, or another one has signed its result.
pub(super) fn decode<R: RecordResult>(
    bytes: &[u8],
    version: String,
    fingerprint: &str,
    key: &Key,
    seal: &Seal,
) -> Result<(Found<String, R>, Facts), Failure> {
    #[derive(Deserialize)]
    struct Versioned {
        v: u32,
    }
    let unreadable = |version| Ok((Found::Unreadable(version), Facts::default()));
    match serde_json::from_slice::<Versioned>(bytes) {
        Ok(Versioned { v }) if v > VERSION => {
            return Err(Failure::new(
                Cause::Incompatible,
                format!("the record has format {v}, this version reads {VERSION}: update warmswap"),
            ));
        }
        _ => {}
    }
    let Ok(wire) = serde_json::from_slice::<Wire>(bytes) else {
        return unreadable(version);
    };
    let Ok(token) = u128::from_str_radix(&wire.token, 16) else {
        return unreadable(version);
    };
    let state = match (wire.state, wire.pointer) {
        (Standing::Building, _) => State::Building,
        (Standing::Failed, _) => State::Failed(wire.failure),
        (Standing::Ready, pointer) => match R::read(pointer, fingerprint, key, seal)? {
            Some(result) => State::Ready(result),
            None => return unreadable(version),
        },
    };
    let record = Record {
        token,
        seq: wire.seq,
        ttl_ms: wire.ttl_ms,
        written_ms: clock::parse_iso8601(&wire.at)
            .and_then(|at| u64::try_from(at).ok())
            .unwrap_or(0),
        state,
    };
    let facts = Facts {
        holder: wire.holder,
        phase: wire.phase,
        since: wire.since,
        generation: wire.generation,
        metadata: wire.metadata,
    };
    Ok((Found::Record(version, record), facts))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::caches::pointer::Producer;

    fn pointer(fingerprint: &str) -> Pointer {
        Pointer {
            v: 1,
            generation: "g".to_owned(),
            parent: None,
            blob: format!("{}.tar.zst", "ab".repeat(32)),
            size: 1,
            etag: "\"e\"".to_owned(),
            sha256: "ab".repeat(32),
            tree: "t".to_owned(),
            files: 1,
            bytes: 1,
            window_log: 21,
            frames: 1,
            created: "2026-01-01T00:00:00Z".to_owned(),
            producer: Producer::of_this_machine(fingerprint.to_owned()),
            hmac: None,
        }
    }

    fn ready(fingerprint: &str) -> Record<Box<Pointer>> {
        Record {
            token: 7,
            seq: 3,
            ttl_ms: 30_000,
            written_ms: 0,
            state: State::Ready(Box::new(pointer(fingerprint))),
        }
    }

    #[test]
    fn a_record_survives_its_bytes() {
        let key = Key::parse("key", "a").expect("a key");
        let seal = Seal::hmac(Some(b"0123456789abcdef".to_vec()));
        let facts = Facts {
            holder: RecordHolder::this_process(),
            phase: "x".repeat(300),
            ..Facts::default()
        };
        for state in [
            State::Building,
            State::Failed(None),
            State::Failed(Some("\u{1}".repeat(3000))),
            State::Ready(Box::new(pointer("f"))),
        ] {
            let record = Record { state, ..ready("f") };
            let bytes = encode(&record, &facts, "f", &key, &seal);
            assert!(bytes.len() <= MAX_RECORD_BYTES, "{} bytes", bytes.len());
            let read = decode::<Box<Pointer>>(&bytes, "v".to_owned(), "f", &key, &seal);
            let (found, read_facts) = read.expect("readable");
            let Found::Record(version, read) = found else {
                panic!("it is a record");
            };
            assert_eq!((version.as_str(), read.token, read.seq), ("v", 7, 3));
            assert_eq!(read_facts.phase, "x".repeat(100));
            match (&record.state, &read.state) {
                (State::Failed(Some(_)), State::Failed(Some(message))) => assert_eq!(message.len(), 1000),
                (State::Ready(wrote), State::Ready(read)) => assert_eq!(wrote.sha256, read.sha256),
                (wrote, read) => assert_eq!(wrote, read),
            }
        }
    }

    #[test]
    fn a_result_of_another_key_secret_or_fingerprint_is_not_one() {
        let (key, other) = (
            Key::parse("key", "a").expect("a key"),
            Key::parse("key", "b").expect("a key"),
        );
        let (seal, open) = (Seal::hmac(Some(b"0123456789abcdef".to_vec())), Seal::Open);
        let another = Seal::hmac(Some(b"another secret...".to_vec()));
        let facts = Facts::default();
        let signed = encode(&ready("f"), &facts, "f", &key, &seal);
        let read = |bytes: &[u8], fingerprint, key, seal| {
            decode::<Box<Pointer>>(bytes, "v".to_owned(), fingerprint, key, seal).map(|(found, _)| found)
        };
        let cause =
            |read: Result<Found<String, Box<Pointer>>, Failure>| read.err().map(|failure| failure.cause);
        assert!(matches!(read(&signed, "f", &key, &seal), Ok(Found::Record(..))));
        assert!(matches!(
            read(&signed, "g", &key, &seal),
            Ok(Found::Unreadable(_))
        ));
        assert_eq!(cause(read(&signed, "f", &other, &seal)), Some(Cause::Refused));
        assert_eq!(cause(read(&signed, "f", &key, &another)), Some(Cause::Refused));
        let unsigned = encode(&ready("f"), &facts, "f", &key, &open);
        assert_eq!(cause(read(&unsigned, "f", &key, &seal)), Some(Cause::Refused));
    }

    #[test]
    fn what_is_no_record_may_be_replaced_and_a_newer_one_may_not() {
        let key = Key::parse("key", "a").expect("a key");
        let read =
            |text: &str| decode::<Box<Pointer>>(text.as_bytes(), "v".to_owned(), "f", &key, &Seal::Open);
        for text in [
            "",
            "{}",
            "[]",
            r#"{"v":1}"#,
            r#"{"v":1,"token":"g","seq":1,"ttlMs":1,"state":"building"}"#,
            r#"{"v":1,"token":"1","seq":1,"ttlMs":1,"state":"ready"}"#,
            r#"{"v":1,"token":"1","seq":1,"ttlMs":1,"state":"other"}"#,
        ] {
            assert!(matches!(read(text), Ok((Found::Unreadable(_), _))), "{text}");
        }
        let lease = r#"{"v":1,"token":"1","seq":1,"ttlMs":1,"state":"ready"}"#;
        let read_lease =
            |text: &str| decode::<Elsewhere>(text.as_bytes(), "v".to_owned(), "", &key, &Seal::Open);
        assert!(matches!(read_lease(lease), Ok((Found::Record(..), _))));
        let of_a_build = encode(&ready("f"), &Facts::default(), "f", &key, &Seal::Open);
        let of_a_build = String::from_utf8(of_a_build).expect("JSON");
        assert!(matches!(read_lease(&of_a_build), Ok((Found::Unreadable(_), _))));
        let newer = read(r#"{"v":2,"other":[]}"#).expect_err("newer");
        assert_eq!(newer.cause, Cause::Incompatible);
    }
}
