//! This process's user, machine and limits, and signals to itself.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;

use rustix::process::{Resource, geteuid, getrlimit};

/// The user in whose name this process makes its calls.
pub(crate) fn effective_uid() -> u32 {
    geteuid().as_raw()
}

/// The name of this machine.
pub(crate) fn hostname() -> OsString {
    OsStr::from_bytes(rustix::system::uname().nodename().to_bytes()).to_owned()
}

/// How many threads this user may have; `None` without a limit.
pub(crate) fn thread_limit() -> Option<u64> {
    getrlimit(Resource::Nproc).current
}

/// Ends this process as a kill from outside does.
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
    // Another thread may get the signal: this one must not go on in the meantime.
    std::thread::sleep(std::time::Duration::from_millis(20));
    Ok(())
}
