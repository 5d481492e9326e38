//! What the calls of `addon/caches.rs` tell JavaScript.

use std::collections::HashMap;

use napi_derive::napi;

use crate::core::archives::Skipped;
use crate::core::caches::{
    Abilities, CallProgress, Info, ObjectMeta, Producer, Report, RestoreReport, SnapshotReport,
};

use super::super::number;

/// How far a call is.
#[napi(object)]
pub struct NativeProgress {
    /// What it does.
    pub stage: String,
    /// Files so far.
    pub files: f64,
    /// Bytes so far.
    pub bytes: f64,
    /// Bytes in all.
    pub total_bytes: Option<f64>,
}

/// What a key holds.
#[napi(object)]
pub struct NativeCacheInfo {
    /// Name of the generation.
    pub generation: String,
    /// Files.
    pub files: f64,
    /// Bytes of the files.
    pub bytes: f64,
    /// Bytes in the store.
    pub compressed_bytes: f64,
    /// RFC 3339.
    pub created_at: String,
    /// Who made it.
    pub producer: HashMap<String, String>,
}

/// The end of an inspect or remove.
#[napi(object)]
pub struct NativeInspectReport {
    /// How it ended.
    pub outcome: String,
    /// Why.
    pub reason: Option<String>,
    /// What is there.
    pub info: Option<NativeCacheInfo>,
}

/// The end of a prune or remove.
#[napi(object)]
pub struct NativePruneReport {
    /// How it ended.
    pub outcome: String,
    /// Why.
    pub reason: Option<String>,
    /// Paths that are gone.
    pub removed: Vec<String>,
    /// How long it took.
    pub ms: f64,
    /// Bytes that are gone, where the store told.
    pub bytes: f64,
}

/// What a store can do.
#[expect(
    clippy::struct_excessive_bools,
    reason = "four independent facts, named as in the contract"
)]
#[napi(object)]
pub struct NativeAbilities {
    /// `probed`, or why nothing is known.
    pub outcome: String,
    /// For people.
    pub reason: Option<String>,
    /// Conditions on PUT are honoured.
    pub conditional_put: bool,
    /// Conditions on completing a multipart upload are honoured.
    pub conditional_multipart: bool,
    /// Ranges are exact.
    pub ranged: bool,
    /// We may write.
    pub writable: bool,
}

/// How a restore ended.
#[napi(object)]
pub struct NativeRestoreReport {
    /// In one word.
    pub outcome: String,
    /// For people.
    pub reason: Option<String>,
    /// Which key.
    pub key: Option<String>,
    /// Which generation.
    pub generation: Option<String>,
    /// Where it failed.
    pub stage: Option<String>,
    /// Files.
    pub files: f64,
    /// Bytes of the files.
    pub bytes: f64,
    /// Bytes of the archive.
    pub compressed_bytes: f64,
    /// Files that stayed.
    pub skipped_files: f64,
    /// Path and why.
    pub skipped: Vec<Vec<String>>,
    /// Repeated requests.
    pub retries: u32,
    /// How it was committed.
    pub commit: Option<String>,
    /// Milliseconds by stage.
    pub timings: Vec<(String, f64)>,
    /// For a snapshot.
    pub ticket: Option<String>,
}

impl From<RestoreReport> for NativeRestoreReport {
    fn from(report: RestoreReport) -> Self {
        Self {
            outcome: report.outcome.as_str().to_owned(),
            reason: report.reason,
            key: report.key,
            generation: report.generation,
            stage: report.stage.map(|stage| stage.as_str().to_owned()),
            files: number::number(report.files),
            bytes: number::number(report.bytes),
            compressed_bytes: number::number(report.compressed_bytes),
            skipped_files: number::number(report.skipped_files),
            skipped: skipped(report.skipped),
            retries: report.retries,
            commit: report.commit.map(str::to_owned),
            timings: named(report.timings),
            ticket: report.ticket,
        }
    }
}

/// How a snapshot ended.
#[napi(object)]
pub struct NativeSnapshotReport {
    /// In one word.
    pub outcome: String,
    /// For people.
    pub reason: Option<String>,
    /// Which generation is current.
    pub generation: Option<String>,
    /// Files.
    pub files: f64,
    /// Bytes of the files.
    pub bytes: f64,
    /// Bytes of the archive.
    pub compressed_bytes: f64,
    /// Bytes that were sent.
    pub uploaded_bytes: f64,
    /// Path and why.
    pub skipped: Vec<Vec<String>>,
    /// `etag` or `none`.
    pub guard: String,
    /// Milliseconds by stage.
    pub timings: Vec<(String, f64)>,
}

impl From<SnapshotReport> for NativeSnapshotReport {
    fn from(report: SnapshotReport) -> Self {
        Self {
            outcome: report.outcome.as_str().to_owned(),
            reason: report.reason,
            generation: report.generation,
            files: number::number(report.files),
            bytes: number::number(report.bytes),
            compressed_bytes: number::number(report.compressed_bytes),
            uploaded_bytes: number::number(report.uploaded_bytes),
            skipped: report
                .skipped
                .into_iter()
                .map(|(path, why)| vec![path, why])
                .collect(),
            guard: if report.guarded { "etag" } else { "none" }.to_owned(),
            timings: named(report.timings),
        }
    }
}

fn named(timings: Vec<(&'static str, f64)>) -> Vec<(String, f64)> {
    timings
        .into_iter()
        .map(|(name, ms)| (name.to_owned(), ms))
        .collect()
}

impl From<CallProgress> for NativeProgress {
    fn from(so_far: CallProgress) -> Self {
        Self {
            stage: so_far.stage.as_str().to_owned(),
            files: number::number(so_far.files),
            bytes: number::number(so_far.bytes),
            total_bytes: so_far.total_bytes.map(number::number),
        }
    }
}

impl From<Report<Option<Info>>> for NativeInspectReport {
    fn from(report: Report<Option<Info>>) -> Self {
        Self {
            outcome: report.outcome.as_str().to_owned(),
            reason: report.reason,
            info: report.value.map(|info| NativeCacheInfo {
                generation: info.generation,
                files: number::number(info.files),
                bytes: number::number(info.bytes),
                compressed_bytes: number::number(info.compressed_bytes),
                created_at: info.created,
                producer: producer(&info.producer),
            }),
        }
    }
}

impl From<Report<Vec<ObjectMeta>>> for NativePruneReport {
    fn from(report: Report<Vec<ObjectMeta>>) -> Self {
        Self {
            outcome: report.outcome.as_str().to_owned(),
            reason: report.reason,
            bytes: number::number(report.value.iter().map(|blob| blob.size).sum()),
            removed: report.value.into_iter().map(|blob| blob.path).collect(),
            ms: report.ms,
        }
    }
}

impl From<Report<Option<Abilities>>> for NativeAbilities {
    fn from(report: Report<Option<Abilities>>) -> Self {
        let found = report.value;
        Self {
            outcome: report.outcome.as_str().to_owned(),
            reason: report.reason,
            conditional_put: found.is_some_and(|found| found.conditional_put),
            conditional_multipart: found.is_some_and(|found| found.conditional_multipart),
            ranged: found.is_some_and(|found| found.ranged),
            writable: found.is_some_and(|found| found.writable),
        }
    }
}

fn producer(producer: &Producer) -> HashMap<String, String> {
    [
        ("tool", &producer.tool),
        ("version", &producer.version),
        ("platform", &producer.platform),
        ("arch", &producer.arch),
        ("libc", &producer.libc),
        ("fingerprint", &producer.fingerprint),
    ]
    .map(|(name, value)| (name.to_owned(), value.clone()))
    .into()
}

/// Entries that were left out: path and why.
fn skipped(all: Vec<Skipped>) -> Vec<Vec<String>> {
    all.into_iter()
        .map(|skipped| vec![skipped.path, skipped.why.to_owned()])
        .collect()
}
