//! User, machine and limits of this process, and signals to itself.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;

use rustix::process::{Resource, geteuid, getrlimit};

/// Effective user of this process.
pub(crate) fn effective_uid() -> u32 {
    geteuid().as_raw()
}

/// Name of this machine.
pub(crate) fn hostname() -> OsString {
    OsStr::from_bytes(rustix::system::uname().nodename().to_bytes()).to_owned()
}

/// Maximum number of threads of this user. `None` if there is no limit.
pub(crate) fn thread_limit() -> Option<u64> {
    getrlimit(Resource::Nproc).current
}

/// Ends this process like a kill from outside.
#[cfg(feature = "testing")]
pub(crate) fn kill_self() -> std::io::Result<()> {
    signal_self(rustix::process::Signal::KILL)
}

/// Stops this process until it is continued from outside.
#[cfg(feature = "testing")]
pub(crate) fn stop_self() -> std::io::Result<()> {
    signal_self(rustix::process::Signal::STOP)
}

#[cfg(feature = "testing")]
fn signal_self(signal: rustix::process::Signal) -> std::io::Result<()> {
    rustix::process::kill_process(rustix::process::getpid(), signal)?;
    // Another thread may get the signal. This thread must not continue in the meantime.
    std::thread::sleep(std::time::Duration::from_millis(20));
    Ok(())
}
