//! How a lock is requested, in the form of JavaScript.

use napi_derive::napi;
use serde_json::Value;

use crate::addon::number::{count, deadline, duration};
use crate::core::error::{Error, Result};
use crate::core::locks::{LockMode, LockPath, ModeChoice, Request};
use crate::core::sys::deadline::Deadline;

/// Which mode is requested.
#[napi(string_enum = "lowercase", skip_typescript)]
pub enum NativeModeChoice {
    /// The filesystem decides.
    Auto,
    /// flock.
    Kernel,
    /// No flock.
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

/// How a lock is kept.
#[napi(string_enum = "lowercase", skip_typescript)]
pub enum NativeMode {
    /// By flock.
    Kernel,
    /// By a lease.
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

/// How a lock is to be taken.
#[napi(object)]
pub struct NativeLockOptions {
    /// Decided by filesystem, or asked for.
    #[napi(ts_type = "'auto' | 'kernel' | 'lease'")]
    pub mode: NativeModeChoice,
    /// Milliseconds, 0 is one try.
    pub timeout_ms: f64,
    /// Milliseconds.
    pub lease_ttl_ms: f64,
    /// Milliseconds.
    pub foreign_stale_ms: f64,
    /// JSON.
    pub metadata: Option<String>,
    /// Whether children keep the lock.
    pub cover_children: bool,
    /// `worker_threads.threadId`.
    pub thread_id: f64,
    /// Names the call in its events.
    pub call: f64,
    /// A free lock in memory may be taken without a turn of the event loop.
    pub inline: bool,
}

/// Path and options of one call, checked.
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
