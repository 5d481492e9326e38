//! Options of the calls on locks.

use napi_derive::napi;
use serde_json::Value;

use crate::addon::number::{count, deadline, duration};
use crate::core::error::{Error, Result};
use crate::core::locks::{LockMode, LockPath, ModeChoice, Request};
use crate::core::sys::deadline::Deadline;

/// Requested mode.
#[napi(string_enum = "lowercase", skip_typescript)]
pub enum NativeModeChoice {
    /// Selected by the filesystem.
    Auto,
    /// flock.
    Kernel,
    /// Lease file, without flock.
    Lease,
}

impl From<NativeModeChoice> for ModeChoice {
    fn from(mode: NativeModeChoice) -> Self {
        match mode {
            NativeModeChoice::Auto => Self::Auto,
            NativeModeChoice::Kernel => Self::Kernel,
            NativeModeChoice::Lease => Self::Lease,
        }
    }
}

/// How a lock is held.
#[napi(string_enum = "lowercase", skip_typescript)]
pub enum NativeMode {
    /// Held with flock.
    Kernel,
    /// Held with a lease.
    Lease,
}

impl From<LockMode> for NativeMode {
    fn from(mode: LockMode) -> Self {
        match mode {
            LockMode::Kernel => Self::Kernel,
            LockMode::Lease => Self::Lease,
        }
    }
}

/// Options of an acquisition.
#[napi(object)]
pub struct NativeLockOptions {
    /// Requested mode.
    #[napi(ts_type = "'auto' | 'kernel' | 'lease'")]
    pub mode: NativeModeChoice,
    /// Longest wait in milliseconds. 0 is a single attempt, `Infinity` means no limit.
    pub timeout_ms: f64,
    /// Time for which the record of a lease may stay unchanged, in milliseconds.
    pub lease_ttl_ms: f64,
    /// Time without change after which an unverifiable foreign holder counts as dead, in milliseconds.
    pub foreign_stale_ms: f64,
    /// Metadata of the holder, as JSON text.
    pub metadata: Option<String>,
    /// Whether child processes keep the lock.
    pub cover_children: bool,
    /// Value of `worker_threads.threadId`.
    pub thread_id: f64,
    /// Id of the call in its events.
    pub call: f64,
    /// Whether a free lock on an in-memory filesystem may be acquired synchronously.
    pub inline: bool,
}

/// Checked path and options of one call.
pub(super) struct Checked {
    pub(super) lock: LockPath,
    pub(super) request: Request,
    pub(super) deadline: Deadline,
}

impl Checked {
    pub(super) fn new(path: &str, options: NativeLockOptions) -> Result<Self> {
        let deadline = deadline("timeoutMs", options.timeout_ms)?;
        Ok(Self {
            lock: LockPath::parse(path)?,
            request: request(options)?,
            deadline,
        })
    }
}

fn request(options: NativeLockOptions) -> Result<Request> {
    Ok(Request {
        mode: options.mode.into(),
        lease_ttl: duration("leaseTtlMs", options.lease_ttl_ms)?,
        foreign_stale: duration("foreignStaleMs", options.foreign_stale_ms)?,
        metadata: options.metadata.as_deref().map(parse_json).transpose()?,
        thread_id: u32::try_from(count("threadId", options.thread_id)?).unwrap_or(u32::MAX),
        covers_children: options.cover_children,
        ..Request::default()
    })
}

fn parse_json(text: &str) -> Result<Value> {
    serde_json::from_str(text).map_err(|error| Error::argument("metadata", error, "JSON"))
}
