//! Other processes, by libproc and sysctl.

use std::ffi::{CStr, c_int, c_void};
use std::mem::MaybeUninit;
use std::ptr;

use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};

use super::super::types::LockedEntry;

/// A handle of a process. macOS has none.
pub(crate) enum Process {}

/// Result of [`Process::open`].
#[expect(dead_code, reason = "no process has a handle here")]
pub(crate) enum Opened {
    Process(Process),
    /// No process has this pid.
    None,
    /// The system has no such handles.
    Unsupported,
}

impl Process {
    /// Whether a process currently has this pid.
    pub(crate) fn open(pid: u32) -> Opened {
        if has_pid(pid) {
            Opened::Unsupported
        } else {
            Opened::None
        }
    }

    /// Never called.
    pub(crate) fn has_ended(&self) -> bool {
        match *self {}
    }

    /// Never called.
    pub(crate) fn unique_id(&self) -> Option<u64> {
        match *self {}
    }
}

fn pid_of(pid: u32) -> Option<Pid> {
    i32::try_from(pid).ok().and_then(Pid::from_raw)
}

/// Whether this number is a valid pid.
pub(crate) fn is_pid(pid: u32) -> bool {
    pid_of(pid).is_some()
}

/// Whether a process or zombie has this pid, as far as this process may know.
pub(crate) fn has_pid(pid: u32) -> bool {
    pid_of(pid).is_some_and(|pid| test_kill_process(pid) != Err(Errno::SRCH))
}

/// Whether this process may signal the process with this pid.
pub(crate) fn can_signal(pid: u32) -> bool {
    pid_of(pid).is_some_and(|pid| test_kill_process(pid).is_ok())
}

/// Start of a process.
pub(crate) struct Started {
    /// Microseconds since the epoch. The kernel records the time of fork(2), and later clock adjustments do not change
    /// it.
    pub(crate) ticks: u64,
    /// Whether the process has ended and its parent has not reaped it.
    pub(crate) is_zombie: bool,
}

/// Facts about a process of this user, including zombies. `None` for processes of other users.
pub(crate) fn started(pid: u32) -> Option<Started> {
    /// Argument that makes PROC_PIDTBSDINFO include zombies (xnu, bsd/kern/proc_info.c).
    const ZOMBIES_TOO: u64 = 1;
    let mut info = MaybeUninit::<libc::proc_bsdinfo>::uninit();
    let size = c_int::try_from(size_of_val(&info)).ok()?;
    // SAFETY: the kernel writes at most `size` bytes, which is the size of the structure.
    let written = unsafe {
        libc::proc_pidinfo(
            pid.try_into().ok()?,
            libc::PROC_PIDTBSDINFO,
            ZOMBIES_TOO,
            info.as_mut_ptr().cast(),
            size,
        )
    };
    if written != size {
        return None;
    }
    // SAFETY: the kernel has written the whole structure, and all its bit patterns are valid.
    let info = unsafe { info.assume_init() };
    Some(Started {
        ticks: info.pbi_start_tvsec * 1_000_000 + info.pbi_start_tvusec,
        is_zombie: info.pbi_status == libc::SZOMB,
    })
}

/// Start time of a process in milliseconds since the epoch.
pub(crate) fn started_at_wall_millis(pid: u32) -> Option<i64> {
    i64::try_from(started(pid)?.ticks / 1000).ok()
}

/// The kernel's id of this boot. `kern.boottime` is not used, because it changes when NTP adjusts the clock.
pub(crate) fn boot_id() -> Option<String> {
    let mut text = [0_u8; 64];
    let mut size = text.len();
    // SAFETY: the name is a C string. The kernel writes at most `size` bytes into `text`, and the length into `size`.
    let failed = unsafe {
        libc::sysctlbyname(
            c"kern.bootsessionuuid".as_ptr(),
            text.as_mut_ptr().cast(),
            &raw mut size,
            ptr::null_mut(),
            0,
        )
    };
    if failed != 0 {
        return None;
    }
    let text = CStr::from_bytes_until_nul(&text).ok()?;
    Some(text.to_str().ok()?.to_owned())
}

/// macOS has no pid namespaces. All processes are in one namespace, which has the number of Linux's initial one in
/// records.
#[expect(clippy::unnecessary_wraps, reason = "all systems have the same functions")]
pub(crate) fn pid_namespace() -> Option<u64> {
    Some(crate::core::sys::identity::FIRST_PID_NAMESPACE)
}

/// Arguments of another process of this user. KERN_PROCARGS2 returns their number, the path of the program, zero bytes,
/// and then the arguments, each ended by a zero byte.
pub(crate) fn arguments(pid: u32) -> Option<Vec<String>> {
    const MOST_BYTES: usize = 1 << 16;
    const COUNT_BYTES: usize = size_of::<c_int>();
    let mut name = [libc::CTL_KERN, libc::KERN_PROCARGS2, pid.try_into().ok()?];
    let mut bytes = vec![0_u8; MOST_BYTES];
    let mut size = bytes.len();
    // SAFETY: the name has three numbers. The kernel writes at most `size` bytes into `bytes`, and the length into
    // `size`.
    let failed = unsafe {
        libc::sysctl(
            name.as_mut_ptr(),
            3,
            bytes.as_mut_ptr().cast::<c_void>(),
            &raw mut size,
            ptr::null_mut(),
            0,
        )
    };
    if failed != 0 {
        return None;
    }
    bytes.truncate(size);
    let count = c_int::from_ne_bytes(bytes.get(..COUNT_BYTES)?.try_into().ok()?);
    let rest = &bytes[COUNT_BYTES..];
    let program = rest.iter().position(|byte| *byte == 0)?;
    let padding = rest[program..].iter().take_while(|byte| **byte == 0).count();
    let arguments = rest[program + padding..].split(|byte| *byte == 0);
    let text = |argument: &[u8]| String::from_utf8_lossy(argument).into_owned();
    Some(arguments.take(usize::try_from(count).ok()?).map(text).collect())
}

/// A process that always exists.
pub(crate) const ALWAYS_THERE: Option<u32> = Some(1);

/// Pids of all processes of this machine.
pub(crate) fn all() -> Option<Vec<u32>> {
    /// Space for processes that start between the two calls.
    const SPARE: usize = 64;
    // SAFETY: without a buffer the kernel only returns the number of processes.
    let count = unsafe { libc::proc_listallpids(ptr::null_mut(), 0) };
    let mut pids = vec![0_i32; usize::try_from(count).ok()? + SPARE];
    let size = c_int::try_from(size_of_val(pids.as_slice())).ok()?;
    // SAFETY: the kernel writes at most `size` bytes, which is the size of the buffer.
    let count = unsafe { libc::proc_listallpids(pids.as_mut_ptr().cast(), size) };
    pids.truncate(usize::try_from(count).ok()?);
    Some(pids.into_iter().filter_map(|pid| pid.try_into().ok()).collect())
}

/// Whether the process has the number `pid`. macOS has one namespace.
#[expect(clippy::unnecessary_wraps, reason = "all systems have the same functions")]
pub(crate) fn has_pid_in_some_namespace(process: u32, pid: u32) -> Option<bool> {
    Some(process == pid && !started(pid).is_some_and(|found| found.is_zombie))
}

/// macOS does not report which process holds a flock.
pub fn has_locked(_pid: u32, _file: LockedEntry<'_>) -> bool {
    false
}
