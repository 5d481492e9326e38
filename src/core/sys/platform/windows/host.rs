//! This process's machine and limits, and its own end.

use std::ffi::OsString;
use std::os::windows::ffi::OsStringExt as _;

use windows_sys::Win32::System::SystemInformation::{ComputerNameDnsHostname, GetComputerNameExW};

/// Users have no numbers.
pub(crate) fn effective_uid() -> u32 {
    0
}

/// The name of this machine, as `os.hostname()` of Node returns it.
pub(crate) fn hostname() -> OsString {
    let mut buffer = [0_u16; 256];
    let mut length = 256;
    // SAFETY: the buffer has `length` units.
    let is_read =
        unsafe { GetComputerNameExW(ComputerNameDnsHostname, buffer.as_mut_ptr(), &raw mut length) };
    if is_read == 0 {
        return OsString::new();
    }
    OsString::from_wide(&buffer[..length as usize])
}

/// There is no limit of a user.
pub(crate) fn thread_limit() -> Option<u64> {
    None
}

/// Ends this process as a kill from outside does.
#[cfg(feature = "testing")]
pub(crate) fn kill_self() -> std::io::Result<()> {
    use windows_sys::Win32::System::Threading::{GetCurrentProcess, TerminateProcess};

    // SAFETY: the handle of this process is always valid.
    unsafe { TerminateProcess(GetCurrentProcess(), 1) };
    Err(std::io::Error::last_os_error())
}

/// No public call stops a process.
#[cfg(feature = "testing")]
pub(crate) fn stop_self() -> std::io::Result<()> {
    Err(std::io::ErrorKind::Unsupported.into())
}
