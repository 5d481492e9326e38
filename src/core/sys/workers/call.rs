//! Runs work on a thread and waits for it.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::job::{Answered, Class, GroupKey, Outcome, Stopped};
use super::pool;
use crate::core::error::{Code, Error, Result};
use crate::core::sys::cancel::Cancel;
use crate::core::sys::deadline::Deadline;

/// Minimum time of a call with a deadline. A deadline in the past still allows one attempt.
const ONE_TRY: Duration = Duration::from_millis(250);
/// Extra time that [`within`] waits beyond the deadline of the work.
const MOMENT: Duration = Duration::from_millis(50);
/// Runs blocking `work` on a thread that is counted for the filesystem of `path`.
///
/// # Errors
/// `ERR_IO` if no thread is available. A panic of `work` continues in the caller.
pub async fn run<T: Send + 'static>(
    class: Class,
    path: &Path,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T> {
    run_at(class, vec![path.to_path_buf()], work).await
}

/// Like [`run`], for work on several paths. It is counted for the filesystem of the last path, after all of them
/// respond.
///
/// # Errors
/// Same as [`run`].
pub async fn run_at<T: Send + 'static>(
    class: Class,
    paths: Vec<PathBuf>,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T> {
    start(class, paths, work).wait().await
}

/// One step of asynchronous core code that depends only on the filesystems of these paths.
///
/// # Errors
/// Errors of the work, and the errors of [`run`].
pub async fn step<T: Send + 'static>(
    paths: Vec<PathBuf>,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    run_at(Class::Short, paths, work).await?
}

/// Starts `work` like [`run_at`], without waiting for it.
pub fn start<T: Send + 'static>(
    class: Class,
    paths: Vec<PathBuf>,
    work: impl FnOnce() -> T + Send + 'static,
) -> Running<T> {
    submit(None, class, paths, work, false)
}

/// Starts `work` that runs even if no caller waits for it. If no thread is available, it is dropped.
pub fn detach(class: Class, path: &Path, work: impl FnOnce() + Send + 'static) {
    drop(submit(None, class, vec![path.to_path_buf()], work, true));
}

/// Starts the resolution of a host name. If no thread is available, it is dropped.
pub(in super::super) fn detach_name(work: impl FnOnce() + Send + 'static) {
    drop(submit(Some(GroupKey::Names), Class::Long, Vec::new(), work, true));
}

fn submit<T: Send + 'static>(
    key: Option<GroupKey>,
    class: Class,
    paths: Vec<PathBuf>,
    work: impl FnOnce() -> T + Send + 'static,
    is_detached: bool,
) -> Running<T> {
    let (caller, outcome) = oneshot::channel();
    let work = Answered {
        work,
        caller,
        is_detached,
    };
    pool::submit(key, class, paths, work);
    Running(outcome)
}

/// Work that was started.
pub struct Running<T>(oneshot::Receiver<Outcome<T>>);

impl<T> Running<T> {
    /// Waits for its result.
    ///
    /// # Errors
    /// Same as [`run`].
    pub async fn wait(self) -> Result<T> {
        match self.0.await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(Stopped::Refused(error))) => Err(error),
            Ok(Err(Stopped::Panicked(panic))) => std::panic::resume_unwind(panic),
            Err(_) => Err(Error::new(Code::Closed, "The work was dropped before it began")),
        }
    }
}

/// Waits for work of [`run`], with a limit for a filesystem that does not respond. The work then continues in the
/// background.
///
/// # Errors
/// Errors of the work. `ERR_ABORTED`. `ERR_TIMEOUT` shortly after the deadline, because work with its own deadline can
/// return a more specific error.
pub async fn within<T>(
    deadline: Deadline,
    cancel: &Cancel,
    path: &Path,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    let since = Instant::now();
    let end = async {
        match deadline.remaining() {
            Some(left) => tokio::time::sleep(left.max(ONE_TRY) + MOMENT).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        biased;
        done = work => done,
        () = cancel.cancelled() => Err(Cancel::error()),
        () = end => Err(Error::new(
            Code::Timeout,
            format!(
                "'{}' did not respond within {} ms: its filesystem hangs or is very slow. Check its mount, or raise timeoutMs",
                path.display(),
                since.elapsed().as_millis()
            ),
        )
        .at(path)),
    }
}

#[cfg(test)]
mod tests {
    use std::panic::AssertUnwindSafe;
    use std::sync::mpsc;

    use super::*;
    use crate::core::sys::sync::Mutex;

    fn wait<T>(running: Running<T>) -> Result<T> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .expect("a runtime");
        runtime.block_on(running.wait())
    }

    #[test]
    fn more_jobs_than_threads_of_one_filesystem_all_run() {
        let root = tempfile::tempdir().expect("a temporary directory");
        let started: Vec<_> = (0..100)
            .map(|number| start(Class::Short, vec![root.path().join("x")], move || number))
            .collect();
        let sum: usize = started
            .into_iter()
            .map(|running| wait(running).expect("run"))
            .sum();
        assert_eq!(sum, 99 * 50);
    }

    #[test]
    fn jobs_that_hang_fill_only_their_class_on_their_filesystem() {
        // A filesystem other than that of the temporary directory, whose class is full.
        let root = tempfile::tempdir_in("/dev/shm").expect("a temporary directory in /dev/shm");
        let elsewhere = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).expect("a temporary directory");
        let (release, hung) = mpsc::channel::<()>();
        let hung = std::sync::Arc::new(Mutex::new(hung));
        let stuck: Vec<_> = (0..40)
            .map(|_| {
                let hung = std::sync::Arc::clone(&hung);
                start(Class::Short, vec![root.path().join("x")], move || {
                    let _ended = hung.lock().recv();
                })
            })
            .collect();
        wait(start(Class::Short, vec![elsewhere.path().join("x")], || ())).expect("another filesystem");
        wait(start(Class::Long, vec![root.path().join("x")], || ())).expect("another class");
        let late = start(Class::Short, vec![root.path().join("x")], || ());
        drop(late);
        drop(release);
        for running in stuck {
            wait(running).expect("run");
        }
    }

    #[test]
    fn a_panic_continues_in_the_caller_and_the_thread_survives() {
        let root = tempfile::tempdir().expect("a temporary directory");
        let failing = start(Class::Short, vec![root.path().to_path_buf()], || panic!("seeded"));
        let caught = std::panic::catch_unwind(AssertUnwindSafe(|| wait::<()>(failing)));
        assert_eq!(caught.expect_err("it panics").downcast_ref(), Some(&"seeded"));
        wait(start(Class::Short, vec![root.path().to_path_buf()], || ())).expect("run");
    }
}
