//! Results and progress of the calls on caches.

use std::collections::HashMap;

use napi_derive::napi;

use crate::core::archives::Skipped;
use crate::core::caches::{
    Abilities, CallProgress, Info, ObjectMeta, Producer, Report, RestoreReport, SnapshotReport,
};

use super::super::number;

/// Progress of a call.
#[napi(object)]
pub struct NativeProgress {
    /// Current stage, such as 'download'.
    pub stage: String,
    /// Number of files so far.
    pub files: f64,
    /// Number of bytes so far.
    pub bytes: f64,
    /// Total number of bytes, if known.
    pub total_bytes: Option<f64>,
}

/// Facts of a key's current generation.
#[napi(object)]
pub struct NativeCacheInfo {
    /// Name of the generation.
    pub generation: String,
    /// Number of files.
    pub files: f64,
    /// Total bytes of the files.
    pub bytes: f64,
    /// Bytes of the archive in the store.
    pub compressed_bytes: f64,
    /// Time of the snapshot (RFC 3339).
    pub created_at: String,
    /// Facts about the process that created it, such as platform and architecture.
    pub producer: HashMap<String, String>,
    /// Trust level that holds it.
    pub level: Option<String>,
}

/// Result of an inspect.
#[napi(object)]
pub struct NativeInspectReport {
    /// Outcome.
    pub outcome: String,
    /// Human-readable reason, if there is one.
    pub reason: Option<String>,
    /// Facts of the current generation, if the key exists.
    pub info: Option<NativeCacheInfo>,
}

/// Result of a prune or remove.
#[napi(object)]
pub struct NativePruneReport {
    /// Outcome.
    pub outcome: String,
    /// Human-readable reason, if there is one.
    pub reason: Option<String>,
    /// Paths of the removed objects.
    pub removed: Vec<String>,
    /// Duration of the call in milliseconds.
    pub ms: f64,
    /// Bytes of the removed objects, as far as the store reported them.
    pub bytes: f64,
}

/// Result of a probe: what the store supports.
#[expect(
    clippy::struct_excessive_bools,
    reason = "five independent facts with the names of the public contract"
)]
#[napi(object)]
pub struct NativeAbilities {
    /// `probed`, or the outcome that explains why nothing is known.
    pub outcome: String,
    /// Human-readable reason, if nothing is known.
    pub reason: Option<String>,
    /// Whether the store honours conditions on PUT.
    pub conditional_put: bool,
    /// Whether at most one of several simultaneous conditional writes succeeds.
    pub exclusive_writes: bool,
    /// Whether the store honours conditions on completing a multipart upload.
    pub conditional_multipart: bool,
    /// Whether range requests return exactly the requested range.
    pub ranged: bool,
    /// Whether these credentials may write.
    pub writable: bool,
}

/// Result of a restore. The fields have the meaning of `RestoreResult`.
#[napi(object)]
pub struct NativeRestoreReport {
    /// Outcome, such as 'restored' or 'miss'.
    pub outcome: String,
    /// Human-readable reason, if the call failed.
    pub reason: Option<String>,
    /// Key that was restored.
    pub key: Option<String>,
    /// Trust level that it was restored from.
    pub level: Option<String>,
    /// Generation that was restored.
    pub generation: Option<String>,
    /// Stage in which the call failed.
    pub stage: Option<String>,
    /// Number of files.
    pub files: f64,
    /// Total bytes of the files.
    pub bytes: f64,
    /// Bytes of the archive.
    pub compressed_bytes: f64,
    /// Entries that the target already had.
    pub skipped_files: f64,
    /// Pipes and devices of the archive, which are not created: path and reason of each.
    pub skipped: Vec<Vec<String>>,
    /// Number of repeated requests.
    pub retries: u32,
    /// How the target was changed: 'rename', 'exchange', 'children' or 'merge'.
    pub commit: Option<String>,
    /// Milliseconds of each stage.
    pub timings: Vec<(String, f64)>,
    /// Ticket for a later snapshot of the same key.
    pub ticket: Option<String>,
}

impl From<RestoreReport> for NativeRestoreReport {
    fn from(report: RestoreReport) -> Self {
        Self {
            outcome: report.outcome.as_str().to_owned(),
            reason: report.reason,
            key: report.key,
            level: report.level,
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

/// Result of a snapshot. The fields have the meaning of `SnapshotResult`.
#[napi(object)]
pub struct NativeSnapshotReport {
    /// Outcome, such as 'stored'.
    pub outcome: String,
    /// Human-readable reason, if the call failed.
    pub reason: Option<String>,
    /// Generation that is current after the call.
    pub generation: Option<String>,
    /// Number of files.
    pub files: f64,
    /// Total bytes of the files.
    pub bytes: f64,
    /// Bytes of the archive.
    pub compressed_bytes: f64,
    /// Bytes that were uploaded.
    pub uploaded_bytes: f64,
    /// Entries that were not packed: path and reason of each.
    pub skipped: Vec<Vec<String>>,
    /// Protection against concurrent writers: `etag` or `none`.
    pub guard: String,
    /// Milliseconds of each stage.
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
                level: info.level,
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
            exclusive_writes: found.is_some_and(|found| found.exclusive_writes),
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

/// Converts skipped entries to pairs of path and reason.
fn skipped(all: Vec<Skipped>) -> Vec<Vec<String>> {
    all.into_iter()
        .map(|skipped| vec![skipped.path, skipped.why.to_owned()])
        .collect()
}
