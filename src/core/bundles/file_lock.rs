//! The store's two long-lived locks: `writer.lock` and `build.lock`. flock has no timed wait, and a thread
//! that blocks in it cannot be woken by an abort, so a waiter tries again at short intervals.

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use serde_json::json;

use crate::core::error::{Code, Error, Result};
use crate::core::sys::cancel::Cancel;
use crate::core::sys::deadline::Deadline;
use crate::core::sys::lock_file::{Attempt, LockOptions, LockedFile};
use crate::core::sys::{clock, dir, fs, identity, workers};

/// First and longest pause between two tries: a publish holds the lock for about a millisecond, and a waiter
/// must notice a killed builder within 100 ms (restarts/dead-builder-is-replaced).
const PAUSE: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(20));

/// A held lock. Dropping it releases the lock, and so does the kernel when the process dies.
#[derive(Debug)]
pub struct FileLock(LockedFile);

impl FileLock {
    /// Acquires the lock if it is free now.
    pub fn try_acquire(path: &Path) -> Result<Option<Self>> {
        // As writable as the umask lets other users make it.
        let Attempt::Locked(lock) = LockOptions::at(path).or_create(0o666).try_lock()? else {
            return Ok(None);
        };
        // The body is for humans and error messages only: a lock that cannot be described is held all the same. A file with
        // another name is not only this store's.
        if lock.stat(path)?.links == 1 {
            drop(describe(lock.file(), path));
        }
        Ok(Some(Self(lock)))
    }

    /// Whether this user may write to the lock file, which stands for the store.
    pub(super) fn is_writable(&self) -> bool {
        self.0.is_writable()
    }

    /// Waits for the lock without a thread of its own: a build can take minutes, and a thread per waiter
    /// would leave none for the publish that all of them wait for. Each try is on a thread that may block: a filesystem
    /// that hangs ends the wait at its deadline as well.
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
