//! The owner record: one JSON object per taking, in `<n>.json` and, as a copy, in `owner.json`.

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

/// Version of the format, field `v`. Version 1 is what mkdir locks write: no `v`, no way to prove a death.
pub(super) const VERSION: u32 = 2;
/// Longest record, in bytes.
pub(super) const MAX_RECORD_BYTES: u64 = 65_536;
/// Of them for the user's metadata: the rest is for what is told later.
const MAX_METADATA_BYTES: usize = 32_768;
/// Longest phase and longest message of a failure that are kept, in characters; JSON needs up to 6 bytes for one.
const MAX_PHASE: usize = 512;
const MAX_FAILURE: usize = 2048;

/// How a lock is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LockMode {
    /// By flock on the guard: the kernel frees it with its process.
    Kernel,
    /// By changing the record in time.
    Lease,
}

/// The guard file that was locked when the record was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuardId {
    pub(super) device: u64,
    pub(super) inode: u64,
}

/// How long the record may stay unchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Lease {
    /// Milliseconds.
    pub ttl_ms: u64,
    /// Grows with each heartbeat, so that each one changes the record.
    pub seq: u64,
}

/// What the holder said it is doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HolderProgress {
    /// In its own words.
    pub phase: String,
    /// ISO 8601.
    pub at: String,
}

impl HolderProgress {
    /// Now.
    pub(super) fn new(phase: &str) -> Self {
        Self {
            phase: phase.chars().take(MAX_PHASE).collect(),
            at: clock::iso8601(),
        }
    }
}

/// A run that failed under this lock, kept for those who waited through it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedRun {
    /// The generation of the run.
    pub generation: u64,
    /// What it failed with.
    pub message: String,
}

/// One taking of a lock.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// ISO 8601, as mkdir locks write it.
    pub created_at: String,
    /// Name of the machine; with the pid namespace added outside of the first one.
    pub hostname: String,
    /// Random: ownership is decided by it alone.
    pub token: String,
    /// [`VERSION`].
    pub v: u32,
    /// The process, and what tells it from others with its pid.
    #[serde(flatten)]
    pub process: Identity,
    /// Number of the record.
    pub n: u64,
    /// Wall-clock microseconds of the first record of this row.
    pub base: u64,
    /// `base + n`: grows with each taking, also after the files were deleted.
    pub generation: u64,
    /// How it is kept.
    pub mode: LockMode,
    /// In kernel mode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guard: Option<GuardId>,
    /// `worker_threads.threadId`; 0 is the main thread.
    #[serde(default)]
    pub thread_id: u32,
    /// Short name of the filesystem.
    #[serde(default)]
    pub fs_type: String,
    /// The heartbeat.
    pub lease: Lease,
    /// Command line.
    #[serde(default)]
    pub cmd: String,
    /// Working directory.
    #[serde(default)]
    pub cwd: String,
    /// What the user added.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub meta: Option<Value>,
    /// What the holder said last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<HolderProgress>,
    /// Children may hold the lock on when the process is dead.
    #[serde(default, skip_serializing_if = "is_false")]
    pub covers_children: bool,
    /// The last run that failed, if those who waited for it should hear of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<FailedRun>,
}

impl FailedRun {
    /// A log of a build is too long to be shared; how it begins tells what failed.
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
    /// The bytes on disk: one line.
    pub(super) fn to_bytes(&self) -> Result<Vec<u8>> {
        let mut bytes =
            serde_json::to_vec(self).map_err(|error| Error::new(Code::Format, error.to_string()))?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// `ERR_TOO_LARGE` where the user's metadata leaves no room for what is told later.
    pub(super) fn check_metadata_size(&self) -> Result<()> {
        let metadata = self.meta.as_ref().map_or(0, |meta| meta.to_string().len());
        if metadata <= MAX_METADATA_BYTES {
            return Ok(());
        }
        let message =
            format!("options.metadata has {metadata} bytes as JSON; at most {MAX_METADATA_BYTES} are kept");
        Err(Error::new(Code::TooLarge, message))
    }

    /// Who holds it, for people.
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

/// Which program wrote an owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum OwnerFormat {
    /// This library.
    Warmswap,
    /// A mkdir lock that writes pid and hostname.
    OwnerJson,
    /// A directory and nothing that can be read in it.
    Ownerless,
}

/// Who holds a lock: `Holder` of api.d.ts.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the fields are those of api.d.ts")]
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
    /// A lock directory without anything readable.
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

/// What a record's file holds.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Contents {
    /// Ours.
    Record(Box<Record>),
    /// Of a mkdir lock.
    Foreign(ForeignOwner),
    /// No bytes but NUL: not written yet, or lost with the power.
    Blank,
    /// Broken, too long, or not a file.
    Unreadable,
}

/// What mkdir locks write: `createdAt` and `pid`, some also `hostname` and `token`.
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

/// Reads a record's file: its bytes, and what they say. `None` where there is none.
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
        // A link (ELOOP), a directory, a file that is too long: somebody else's doing, not a failure of ours.
        Err(error) if is_strange(&error) => return Ok(Some((Vec::new(), Contents::Unreadable))),
        Err(error) => return Err(error),
    };
    let contents = parse(&bytes)?;
    Ok(Some((bytes, contents)))
}

/// A record is never appended to, so that it ends where `fstat` says.
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
    // Once for what is nearly always there: a record is read three times a taking.
    let record = serde_json::from_slice::<Record>(bytes).ok();
    let version = match &record {
        Some(record) => Some(record.v),
        None => serde_json::from_slice(bytes).ok().map(|Versioned { v }| v),
    };
    if let Some(v) = version.filter(|v| *v > VERSION) {
        let message = format!(
            "the lock is held in format {v}; this version of warmswap knows formats up to {VERSION}: update it"
        );
        return Err(Error::new(Code::Format, message));
    }
    Ok(match record {
        Some(record) => Contents::Record(Box::new(record)),
        None if bytes.iter().all(|byte| *byte == 0) => Contents::Blank,
        None => serde_json::from_slice(bytes).map_or(Contents::Unreadable, Contents::Foreign),
    })
}
