//! Runs work on a thread, and waits for it.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::job::{Answered, Class, GroupKey, Outcome, Stopped};
use super::pool;
use crate::core::error::{Code, Error, Result};
use crate::core::sys::cancel::Cancel;
use crate::core::sys::deadline::Deadline;

/// What a call with a deadline may take at least: one that has passed is for one try.
const ONE_TRY: Duration = Duration::from_millis(250);
/// How much later than the work itself [`within`] gives up.
const MOMENT: Duration = Duration::from_millis(50);
/// Runs `work`, which blocks, on a thread that counts for the filesystem of `path`.
///
/// # Errors
/// `ERR_IO` where there is no thread for it. A panic of `work` goes on in the caller.
pub async fn run<T: Send + 'static>(
    class: Class,
    path: &Path,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T> {
    run_at(class, vec![path.to_path_buf()], work).await
}

/// As [`run`], for work on several paths: it counts for the filesystem of the last one, once all of them answer.
///
/// # Errors
/// As [`run`].
pub async fn run_at<T: Send + 'static>(
    class: Class,
    paths: Vec<PathBuf>,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T> {
    start(class, paths, work).wait().await
}

/// One step of asynchronous core code that waits only for the filesystems of these paths.
///
/// # Errors
/// Those of the work, and as [`run`].
pub async fn step<T: Send + 'static>(
    paths: Vec<PathBuf>,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    run_at(Class::Short, paths, work).await?
}

/// Starts `work` as [`run_at`] does, and does not wait for it.
pub fn start<T: Send + 'static>(
    class: Class,
    paths: Vec<PathBuf>,
    work: impl FnOnce() -> T + Send + 'static,
) -> Running<T> {
    submit(None, class, paths, work, false)
}

/// Starts `work` that is done whether anybody waits for it or not. Where there is no thread it is dropped.
pub fn detach(class: Class, path: &Path, work: impl FnOnce() + Send + 'static) {
    drop(submit(None, class, vec![path.to_path_buf()], work, true));
}

/// Starts the resolution of a host name. Where there is no thread it is dropped.
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
    /// Its result.
    ///
    /// # Errors
    /// As [`run`].
    pub async fn wait(self) -> Result<T> {
        match self.0.await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(Stopped::Refused(error))) => Err(error),
            Ok(Err(Stopped::Panicked(panic))) => std::panic::resume_unwind(panic),
            Err(_) => Err(Error::new(Code::Closed, "the work was dropped before it began")),
        }
    }
}

/// Waits for work of [`run`], but not without end for a filesystem that does not answer: the work stays behind.
///
/// # Errors
/// Those of the work, `ERR_ABORTED`, and `ERR_TIMEOUT` a moment after the deadline: work that has a deadline of its own
/// can say more.
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
                "'{}' did not answer within {} ms: its filesystem hangs or is very slow. Check its mount, or raise timeoutMs",
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
    fn jobs_that_hang_use_up_their_class_of_their_filesystem_and_nothing_else() {
        // Another filesystem than the temporary directory, whose class is filled.
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
    fn a_panic_goes_on_in_the_caller_and_the_thread_stays() {
        let root = tempfile::tempdir().expect("a temporary directory");
        let failing = start(Class::Short, vec![root.path().to_path_buf()], || panic!("seeded"));
        let caught = std::panic::catch_unwind(AssertUnwindSafe(|| wait::<()>(failing)));
        assert_eq!(caught.expect_err("it panics").downcast_ref(), Some(&"seeded"));
        wait(start(Class::Short, vec![root.path().to_path_buf()], || ())).expect("run");
    }
}
