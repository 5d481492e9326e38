//! The store's two long-lived locks: `writer.lock` and `build.lock`. flock has no timed wait, and a thread
//! that blocks in it cannot be woken by an abort, so both ways to wait here try again at short intervals.

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use rustix::fs::OFlags;
use serde_json::json;

use crate::core::error::{Code, Error, Result};
use crate::core::sys::cancel::Cancel;
use crate::core::sys::clock;
use crate::core::sys::deadline::Deadline;
use crate::core::sys::{flock, fs, identity};

/// First and longest pause between two tries: a publish holds the lock for about a millisecond, and a waiter
/// must notice a killed builder within 100 ms (I12).
const PAUSE: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(20));

/// A held lock; dropping it lets go, and so does the kernel when the process dies.
#[derive(Debug)]
pub struct FileLock {
    _file: File,
}

/// How long to wait, and what ends the wait early.
#[derive(Debug, Clone)]
pub struct Patience {
    /// When to give up with `ERR_TIMEOUT`.
    pub deadline: Deadline,
    /// Ends the wait with `ERR_ABORTED`.
    pub cancel: Cancel,
}

impl Patience {
    /// Waits so long and cannot be cancelled.
    pub fn for_at_most(duration: Duration) -> Self {
        Self {
            deadline: Deadline::after(duration),
            cancel: Cancel::new(),
        }
    }
}

impl FileLock {
    /// Takes the lock if it is free now.
    pub fn try_acquire(path: &Path) -> Result<Option<Self>> {
        let mut file = fs::open_or_create(path, 0o644)?;
        if !flock::try_exclusive(&file, path)? {
            return Ok(None);
        }
        // For people and error messages only: that it cannot be written must not stop a writer.
        drop(describe(&mut file, path));
        Ok(Some(Self { _file: file }))
    }

    /// Waits for the lock on this thread.
    pub fn acquire(path: &Path, patience: &Patience) -> Result<Self> {
        let mut pause = PAUSE.0;
        loop {
            if let Some(lock) = Self::attempt(path, patience)? {
                return Ok(lock);
            }
            patience.cancel.sleep(pause, patience.deadline);
            pause = (pause * 2).min(PAUSE.1);
        }
    }

    /// Waits for the lock without a thread of its own: a build can take minutes, and a thread per waiter
    /// would leave none for the publish that all of them wait for.
    pub async fn acquired(path: &Path, patience: &Patience) -> Result<Self> {
        let mut pause = PAUSE.0;
        loop {
            if let Some(lock) = Self::attempt(path, patience)? {
                return Ok(lock);
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = patience.cancel.cancelled() => {}
            }
            pause = (pause * 2).min(PAUSE.1);
        }
    }

    fn attempt(path: &Path, patience: &Patience) -> Result<Option<Self>> {
        patience.cancel.check()?;
        match Self::try_acquire(path)? {
            None if patience.deadline.has_passed() => Err(timed_out(path)),
            tried => Ok(tried),
        }
    }
}

fn describe(file: &mut File, path: &Path) -> Result<()> {
    let body =
        json!({ "pid": std::process::id(), "command": identity::command(), "since": clock::iso8601() });
    fs::truncate(file, 0, path)?;
    fs::write_all(file, format!("{body}\n").as_bytes(), path)
}

/// `ERR_TIMEOUT` with what the lock's body says of its holder.
fn timed_out(path: &Path) -> Error {
    let mut holder = fs::read_capped(path, 65_536)
        .ok()
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .unwrap_or_else(|| json!({}));
    let who = holder
        .get("pid")
        .map_or_else(|| "an unknown process".to_owned(), |pid| format!("pid {pid}"));
    if let Some(fields) = holder.as_object_mut() {
        fields.insert("format".to_owned(), json!("warmswap"));
    }
    Error::new(
        Code::Timeout,
        format!(
            "'{}' was not free in time: {who} holds it; raise timeoutMs, or stop that process",
            path.display()
        ),
    )
    .at(path)
    .with_detail(json!({ "holder": holder }))
}

/// An open lock file of `pins/` or `owners/`; `None` where there is none.
pub(super) fn open_existing(path: &Path) -> Result<Option<File>> {
    use crate::core::error::Optional as _;
    fs::open(path, OFlags::RDONLY).optional()
}
