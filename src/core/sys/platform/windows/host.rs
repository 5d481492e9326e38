//! Machine and limits of this process, and its own end.

use std::ffi::OsString;
use std::os::windows::ffi::OsStringExt as _;

use windows_sys::Win32::System::SystemInformation::{ComputerNameDnsHostname, GetComputerNameExW};

/// Windows users have no numeric ids.
pub(crate) fn effective_uid() -> u32 {
    0
}

/// Name of this machine, as Node's `os.hostname()` returns it.
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

/// There is no limit per user.
pub(crate) fn thread_limit() -> Option<u64> {
    None
}

/// Ends this process like a kill from outside.
#[cfg(feature = "testing")]
pub(crate) fn kill_self() -> std::io::Result<()> {
    use windows_sys::Win32::System::Threading::{GetCurrentProcess, TerminateProcess};

    // SAFETY: the handle of this process is always valid.
    unsafe { TerminateProcess(GetCurrentProcess(), 1) };
    Err(std::io::Error::last_os_error())
}

/// There is no public call that stops a process.
#[cfg(feature = "testing")]
pub(crate) fn stop_self() -> std::io::Result<()> {
    Err(std::io::ErrorKind::Unsupported.into())
}
