//! The owner record: one JSON object per acquisition, in `<n>.json` and, as a copy, in `owner.json`.

use std::ffi::OsStr;
use std::fs::File;
use std::io::ErrorKind;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::core::error::{Code, Error, Optional as _, Result};
use crate::core::sys::dir::Directory;
use crate::core::sys::fs::{Access, Stat};
use crate::core::sys::identity::Identity;
use crate::core::sys::{clock, errno, fs};

/// Version of the format, in the field `v`. Version 1 is what mkdir locks write: it has no `v`, and it cannot prove a
/// death.
pub(super) const VERSION: u32 = 2;
/// Maximum size of a record in bytes.
pub(super) const MAX_RECORD_BYTES: u64 = 65_536;
/// Maximum size of the user's metadata in bytes. The rest is reserved for later updates.
const MAX_METADATA_BYTES: usize = 32_768;
/// Maximum length of a phase and of a failure message, in characters. JSON needs up to 6 bytes for one.
const MAX_PHASE: usize = 512;
const MAX_FAILURE: usize = 2048;

/// How a lock is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LockMode {
    /// Held with flock on the guard. The kernel releases it when the process ends.
    Kernel,
    /// Held by changing the record at regular intervals.
    Lease,
}

/// Guard file that was locked when the record was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuardId {
    pub(super) device: u64,
    pub(super) inode: u64,
}

/// Time for which the record may stay unchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Lease {
    /// Duration in milliseconds.
    pub ttl_ms: u64,
    /// Number that grows with each heartbeat, so that each heartbeat changes the record.
    pub seq: u64,
}

/// Latest progress that the holder reported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HolderProgress {
    /// Phase, as the holder named it.
    pub phase: String,
    /// Time of the report (ISO 8601).
    pub at: String,
}

impl HolderProgress {
    /// Progress of the present time.
    pub(super) fn new(phase: &str) -> Self {
        Self {
            phase: phase.chars().take(MAX_PHASE).collect(),
            at: clock::iso8601(),
        }
    }
}

/// A failed run under this lock, recorded for the callers that waited for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedRun {
    /// Generation of the run.
    pub generation: u64,
    /// Error message of the run.
    pub message: String,
}

/// Record of one acquisition.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// Time of the acquisition, in the format of mkdir locks (ISO 8601).
    pub created_at: String,
    /// Name of the machine. Outside the initial pid namespace, the namespace is appended.
    pub hostname: String,
    /// Random id. It alone decides the ownership.
    pub token: String,
    /// Always [`VERSION`].
    pub v: u32,
    /// Identity of the process, which distinguishes it from others with the same pid.
    #[serde(flatten)]
    pub process: Identity,
    /// Number of the record.
    pub n: u64,
    /// Wall-clock microseconds of the first record in this sequence.
    pub base: u64,
    /// Sum of `base` and `n`. Grows with each acquisition, even after the files were deleted.
    pub generation: u64,
    /// How the lock is held.
    pub mode: LockMode,
    /// Locked guard file, in kernel mode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guard: Option<GuardId>,
    /// Value of `worker_threads.threadId`. 0 is the main thread.
    #[serde(default)]
    pub thread_id: u32,
    /// Short name of the filesystem.
    #[serde(default)]
    pub fs_type: String,
    /// Lease with its heartbeat number.
    pub lease: Lease,
    /// Command line of the process.
    #[serde(default)]
    pub cmd: String,
    /// Working directory of the process.
    #[serde(default)]
    pub cwd: String,
    /// Metadata of the user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub meta: Option<Value>,
    /// Latest progress that the holder reported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<HolderProgress>,
    /// Whether children may keep the lock after the process has ended.
    #[serde(default, skip_serializing_if = "is_false")]
    pub covers_children: bool,
    /// Last failed run, for the callers that waited for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<FailedRun>,
}

impl FailedRun {
    /// Shortens the message. The log of a build is too long to be shared, and its beginning shows what failed.
    pub(super) fn shortened(self) -> Self {
        Self {
            message: self.message.chars().take(MAX_FAILURE).collect(),
            ..self
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_false(value: &bool) -> bool {
    !*value
}

impl Record {
    /// Returns the bytes on disk: one line of JSON.
    pub(super) fn to_bytes(&self) -> Result<Vec<u8>> {
        let mut bytes =
            serde_json::to_vec(self).map_err(|error| Error::new(Code::Format, error.to_string()))?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// Fails with `ERR_TOO_LARGE` if the user's metadata leaves too little space for later updates.
    pub(super) fn check_metadata_size(&self) -> Result<()> {
        let metadata = self.meta.as_ref().map_or(0, |meta| meta.to_string().len());
        if metadata <= MAX_METADATA_BYTES {
            return Ok(());
        }
        let message =
            format!("options.metadata has {metadata} bytes as JSON. Expected at most {MAX_METADATA_BYTES}");
        Err(Error::new(Code::TooLarge, message))
    }

    /// Describes the holder.
    pub fn holder(&self) -> Holder {
        Holder {
            pid: Some(self.process.pid),
            hostname: Some(self.hostname.clone()),
            command: Some(self.cmd.clone()),
            since: Some(self.created_at.clone()),
            generation: Some(self.generation),
            progress: self.progress.clone(),
            metadata: self.meta.clone(),
            inherited_from: None,
            note: None,
            format: OwnerFormat::Warmswap,
        }
    }
}

/// Format of an owner file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum OwnerFormat {
    /// Written by warmswap.
    Warmswap,
    /// Written by a mkdir lock, with pid and hostname.
    OwnerJson,
    /// A directory without a readable owner file.
    Ownerless,
}

/// Holder of a lock: `Holder` of the public API.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the fields are those of the public API")]
pub struct Holder {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub progress: Option<HolderProgress>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inherited_from: Option<u32>,
    /// Why its directory is never taken over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    pub format: OwnerFormat,
}

impl Holder {
    /// Holder of a lock directory without a readable owner file.
    pub(super) fn ownerless() -> Self {
        Self {
            pid: None,
            hostname: None,
            command: None,
            since: None,
            generation: None,
            progress: None,
            metadata: None,
            inherited_from: None,
            note: None,
            format: OwnerFormat::Ownerless,
        }
    }
}

/// Content of a record's file.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Contents {
    /// A record of warmswap.
    Record(Box<Record>),
    /// The owner of a mkdir lock.
    Foreign(ForeignOwner),
    /// Empty or only NUL bytes: not written yet, or lost by a power failure.
    Blank,
    /// Malformed, too long, or not a file.
    Unreadable,
}

/// Owner file of a mkdir lock: `createdAt` and `pid`, sometimes also `hostname` and `token`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ForeignOwner {
    pub(super) pid: u32,
    #[serde(default)]
    pub(super) hostname: Option<String>,
    #[serde(default)]
    pub(super) created_at: Option<String>,
}

impl ForeignOwner {
    pub(super) fn holder(&self) -> Holder {
        Holder {
            pid: Some(self.pid),
            hostname: self.hostname.clone(),
            since: self.created_at.clone(),
            format: OwnerFormat::OwnerJson,
            ..Holder::ownerless()
        }
    }
}

/// Reads a record's file. Returns its bytes and their meaning, or `None` if it does not exist.
pub(super) fn read(path: &Path) -> Result<Option<(Vec<u8>, Contents)>> {
    interpret(fs::open_regular_with_stat(path, Access::Read), path)
}

/// Reads a record's file in an open directory.
pub(super) fn read_in(
    directory: &Directory,
    name: &OsStr,
    path: &Path,
) -> Result<Option<(Vec<u8>, Contents)>> {
    interpret(directory.open_regular_with_stat(name, Access::Read, path), path)
}

fn interpret(opened: Result<(File, Stat)>, path: &Path) -> Result<Option<(Vec<u8>, Contents)>> {
    let bytes = match opened
        .and_then(|(file, stat)| read_open(&file, &stat, path))
        .optional()
    {
        Ok(None) => return Ok(None),
        Ok(Some(bytes)) => bytes,
        // A link (ELOOP), a directory or a file that is too long was created by another program and is not a failure of
        // this call.
        Err(error) if is_strange(&error) => return Ok(Some((Vec::new(), Contents::Unreadable))),
        Err(error) => return Err(error),
    };
    let contents = parse(&bytes)?;
    Ok(Some((bytes, contents)))
}

/// Reads a record up to the size that `fstat` reports. Nothing is ever appended to a record.
fn read_open(file: &File, stat: &Stat, path: &Path) -> Result<Vec<u8>> {
    if stat.size > MAX_RECORD_BYTES {
        let message = format!("'{}' is larger than {MAX_RECORD_BYTES} bytes", path.display());
        return Err(Error::new(Code::TooLarge, message).at(path));
    }
    let mut bytes = vec![0; usize::try_from(stat.size).unwrap_or_default()];
    let mut filled = 0;
    while filled < bytes.len() {
        match fs::read_into(file, &mut bytes[filled..], path)? {
            0 => break,
            count => filled += count,
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

fn is_strange(error: &Error) -> bool {
    error.code == Code::TooLarge
        || errno::is_wrong_kind(error)
        || errno::is_access_denied(error)
        || error.kind() == Some(ErrorKind::WouldBlock)
}

fn parse(bytes: &[u8]) -> Result<Contents> {
    #[derive(Deserialize)]
    struct Versioned {
        v: u32,
    }
    // Parses a complete record first, because that is the usual case: each acquisition reads three records.
    let record = serde_json::from_slice::<Record>(bytes).ok();
    let version = match &record {
        Some(record) => Some(record.v),
        None => serde_json::from_slice(bytes).ok().map(|Versioned { v }| v),
    };
    if let Some(v) = version.filter(|v| *v > VERSION) {
        let message = format!(
            "The lock is held in format version {v}. This version of warmswap supports versions up to {VERSION}. Update warmswap"
        );
        return Err(Error::new(Code::Format, message));
    }
    Ok(match record {
        Some(record) => Contents::Record(Box::new(record)),
        None if bytes.iter().all(|byte| *byte == 0) => Contents::Blank,
        None => serde_json::from_slice(bytes).map_or(Contents::Unreadable, Contents::Foreign),
    })
}
