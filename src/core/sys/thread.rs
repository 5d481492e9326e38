//! Threads. If the operating system refuses a thread, the call fails with an error that names the limit, never with a
//! panic. The next call tries again, because limits can be raised and other processes end.

use std::io;
use std::thread::{Builder, Scope, ScopedJoinHandle};

use crate::core::error::{Code, Error, Result};
use crate::core::sys::errno;
use crate::core::sys::platform::{host, limits};

/// Starts a thread that is never joined.
///
/// # Errors
/// `ERR_IO` with the limits of the process if the operating system refuses a thread.
pub fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<()> {
    Builder::new()
        .name(name.to_owned())
        .spawn(work)
        .map(drop)
        .map_err(|error| refused(&error))
}

/// Starts a thread that ends with its scope.
///
/// # Errors
/// Same as [`spawn`].
pub fn spawn_scoped<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    name: &str,
    work: impl FnOnce() -> T + Send + 'scope,
) -> Result<ScopedJoinHandle<'scope, T>> {
    Builder::new()
        .name(name.to_owned())
        .spawn_scoped(scope, work)
        .map_err(|error| refused(&error))
}

/// Starts up to `most` scoped threads that share one kind of work. Starts fewer, but at least one, if the operating
/// system refuses more.
///
/// # Errors
/// Same as [`spawn`], if not even one thread was started.
pub fn spawn_some<'scope, W: FnOnce() + Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    name: &str,
    most: usize,
    mut work: impl FnMut() -> W,
) -> Result<()> {
    for number in 0..most {
        match spawn_scoped(scope, name, work()) {
            Err(_) if number > 0 => return Ok(()),
            started => drop(started?),
        }
    }
    Ok(())
}

/// Error of a call that could not start a thread.
pub fn refused(error: &io::Error) -> Error {
    Error {
        op: Some("clone"),
        source: Some(
            error
                .raw_os_error()
                .map_or_else(errno::no_threads, io::Error::from_raw_os_error),
        ),
        ..Error::new(
            Code::Io,
            format!(
                "The operating system refused another thread for this process ({error}). {} Raise the limit or end \
                 other processes, and call again",
                describe(&known_limits())
            ),
        )
    }
}

/// Converts a panic of tokio that could not start a thread to the error of the call. Returns `None` for any other
/// panic.
pub fn refused_in(panic: &(dyn std::any::Any + Send)) -> Option<Error> {
    let text = panic.downcast_ref::<String>()?;
    text.contains("can't spawn worker thread")
        .then(|| refused(&errno::no_threads()))
}

fn describe(limits: &[String]) -> String {
    if limits.is_empty() {
        return "No limit of this process is known, so memory may be exhausted.".to_owned();
    }
    format!("Limits of this process: {}.", limits.join("; "))
}

/// Limits that can refuse a thread.
fn known_limits() -> Vec<String> {
    let of_user = host::thread_limit();
    let of_user = of_user.map(|most| format!("RLIMIT_NPROC (ulimit -u) is {most} threads of this user"));
    limits::of_threads().into_iter().chain(of_user).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_thread_names_the_call_and_the_limit() {
        let error = refused(&errno::no_threads());
        assert_eq!(
            (error.op, error.errno()),
            (Some("clone"), errno::no_threads().raw_os_error())
        );
        #[cfg(target_os = "linux")]
        assert!(error.message.contains("threads-max"), "{}", error.message);
    }

    #[test]
    fn a_panic_of_tokio_is_distinguished_from_others() {
        let tokio: Box<dyn std::any::Any + Send> =
            Box::new("OS can't spawn worker thread: Resource temporarily unavailable".to_owned());
        assert!(refused_in(&*tokio).is_some());
        let other: Box<dyn std::any::Any + Send> = Box::new("index out of bounds".to_owned());
        assert!(refused_in(&*other).is_none());
    }
}
