//! The two long-lived locks of a store: `writer.lock` and `build.lock`. flock has no timed wait, and an abort cannot
//! wake a thread that blocks in it. A waiter therefore retries at short intervals.

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use serde_json::json;

use crate::core::error::{Code, Error, Result};
use crate::core::sys::cancel::Cancel;
use crate::core::sys::deadline::Deadline;
use crate::core::sys::lock_file::{Attempt, LockOptions, LockedFile};
use crate::core::sys::{clock, dir, fs, identity, workers};

/// First and longest pause between two attempts. A publish holds the lock for about a millisecond, and a waiter must
/// notice a killed builder within 100 ms (restarts/dead-builder-is-replaced).
const PAUSE: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(20));

/// A held lock. Dropping it releases the lock. The kernel also releases it when the process dies.
#[derive(Debug)]
pub struct FileLock(LockedFile);

impl FileLock {
    /// Acquires the lock if it is free.
    pub fn try_acquire(path: &Path) -> Result<Option<Self>> {
        // The umask decides whether other users can write to it.
        let Attempt::Locked(lock) = LockOptions::at(path).or_create(0o666).try_lock()? else {
            return Ok(None);
        };
        // The content is only informative, so the lock is held even if it cannot be written. A file with a second name
        // does not belong to this store alone.
        if lock.stat(path)?.links == 1 {
            drop(describe(lock.file(), path));
        }
        Ok(Some(Self(lock)))
    }

    /// Whether this user may write to the lock file, which represents the store.
    pub(super) fn is_writable(&self) -> bool {
        self.0.is_writable()
    }

    /// Waits for the lock without occupying a thread. A build can take minutes, and one thread per waiter would leave
    /// no thread for the publish that all of them wait for. Each attempt runs on a thread that may block, so the
    /// deadline also applies when the filesystem hangs.
    pub(super) async fn acquire(path: &Path, deadline: Deadline, cancel: &Cancel) -> Result<Self> {
        let mut pause = PAUSE.0;
        loop {
            let (at, token) = (path.to_path_buf(), cancel.clone());
            let attempt = workers::step(vec![at.clone()], move || Self::attempt(&at, deadline, &token));
            if let Some(lock) = workers::within(deadline, cancel, path, attempt).await? {
                return Ok(lock);
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = cancel.cancelled() => {}
            }
            pause = (pause * 2).min(PAUSE.1);
        }
    }

    fn attempt(path: &Path, deadline: Deadline, cancel: &Cancel) -> Result<Option<Self>> {
        cancel.check()?;
        match Self::try_acquire(path)? {
            None if deadline.has_passed() => Err(timed_out(path)),
            tried => Ok(tried),
        }
    }
}

fn describe(file: &File, path: &Path) -> Result<()> {
    let body =
        json!({ "pid": std::process::id(), "command": identity::command(), "since": clock::iso8601() });
    dir::set_size(file, 0, path)?;
    dir::write_at(file, format!("{body}\n").as_bytes(), 0, path)
}

/// `ERR_TIMEOUT` with the holder that the lock file names.
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
            "'{}' was not free before the timeout: {who} holds it. Raise timeoutMs, or stop that process",
            path.display()
        ),
    )
    .at(path)
    .with_detail(json!({ "holder": holder }))
}
