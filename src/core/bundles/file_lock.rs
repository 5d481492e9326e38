//! The store's two long-lived locks: `writer.lock` and `build.lock`. flock has no timed wait, and a thread
//! that blocks in it cannot be woken by an abort, so a waiter tries again at short intervals.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;

use crate::core::error::{Code, Error, Optional as _, Result};
use crate::core::sys::cancel::Cancel;
use crate::core::sys::clock;
use crate::core::sys::deadline::Deadline;
use crate::core::sys::fs::{self, Access};
use crate::core::sys::workers;
use crate::core::sys::{fault, flock, identity};

/// First and longest pause between two tries: a publish holds the lock for about a millisecond, and a waiter
/// must notice a killed builder within 100 ms (I12).
const PAUSE: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(20));

/// A held lock; dropping it lets go, and so does the kernel when the process dies.
#[derive(Debug)]
pub struct FileLock {
    file: File,
    path: PathBuf,
    writable: bool,
}

impl Drop for FileLock {
    fn drop(&mut self) {
        // A child between fork and exec has the descriptor too, and must not keep what is given back. Closing it comes next.
        drop(flock::unlock(&self.file, &self.path));
    }
}

impl FileLock {
    /// Takes the lock if it is free now.
    pub fn try_acquire(path: &Path) -> Result<Option<Self>> {
        loop {
            let (mut file, writable) = open(path)?;
            if !flock::try_exclusive(&file, path)? {
                return Ok(None);
            }
            // Somebody who removes lock files was faster: what is locked excludes nobody any more.
            if !is_at(&file, path)? && !fault::mutant("trust-removed-lock") {
                continue;
            }
            // For people and error messages only: that it cannot be written must not stop a writer. What has another name
            // is not ours alone.
            if fs::stat_file(&file, path)?.links == 1 {
                drop(describe(&mut file, path));
            }
            let path = path.to_path_buf();
            return Ok(Some(Self { file, path, writable }));
        }
    }

    /// Whether this user may write to the lock file, which stands for the store.
    pub(super) fn is_writable(&self) -> bool {
        self.writable
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

/// Made for whoever the umask lets write. flock needs no right to write: a lock file that another user made can be
/// taken as well.
fn open(path: &Path) -> Result<(File, bool)> {
    match fs::open_or_create(path, 0o666) {
        Err(error) if error.kind() == Some(std::io::ErrorKind::PermissionDenied) => {
            // The answer to who may not make it is the first one.
            let file = fs::open_regular(path, Access::Read).map_err(|_| error)?;
            Ok((file, false))
        }
        opened => opened.map(|file| (file, true)),
    }
}

fn is_at(file: &File, path: &Path) -> Result<bool> {
    let ours = fs::stat_file(file, path)?;
    let there = fs::stat(path).optional()?;
    Ok(there.is_some_and(|there| (there.device, there.inode) == (ours.device, ours.inode)))
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

/// An open lock file of `pins/` or `owners/`; `None` where there is none. Anything but a regular file is an error.
pub(super) fn open_existing(path: &Path) -> Result<Option<File>> {
    fs::open_regular(path, Access::Read).optional()
}
