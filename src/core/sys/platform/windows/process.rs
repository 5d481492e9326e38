//! Other processes, by their handles. The creation time in units of 100 ns identifies a process together with its pid,
//! even across reboots.

use std::io;
use std::mem::offset_of;
use std::os::windows::io::{AsRawHandle as _, FromRawHandle as _, OwnedHandle};

use windows_sys::Wdk::System::SystemInformation::{NtQuerySystemInformation, SystemProcessInformation};
use windows_sys::Win32::Foundation::{ERROR_INVALID_PARAMETER, FILETIME, WAIT_OBJECT_0};
use windows_sys::Win32::Storage::FileSystem::SYNCHRONIZE;
use windows_sys::Win32::System::Registry::{
    HKEY_LOCAL_MACHINE, RRF_RT_REG_SZ, RRF_SUBKEY_WOW6464KEY, RegGetValueW,
};
use windows_sys::Win32::System::Threading::{
    GetProcessTimes, OpenProcess, PROCESS_QUERY_LIMITED_INFORMATION, PROCESS_TERMINATE, WaitForSingleObject,
};
use windows_sys::Win32::System::WindowsProgramming::SYSTEM_PROCESS_INFORMATION;
use windows_sys::core::w;

use super::super::types::LockedEntry;
use super::errno;
use crate::core::sys::identity::FIRST_PID_NAMESPACE;

/// A handle of a process. It never refers to a later process with the same pid.
pub(crate) struct Process(OwnedHandle);

/// Result of [`Process::open`].
pub(crate) enum Opened {
    Process(Process),
    /// No process has this pid.
    None,
    /// This user may not open the process.
    Unsupported,
}

impl Process {
    /// Opens the process that currently has this pid.
    pub(crate) fn open(pid: u32) -> Opened {
        if !is_pid(pid) {
            return Opened::None;
        }
        match open(pid, SYNCHRONIZE | PROCESS_QUERY_LIMITED_INFORMATION) {
            Ok(handle) => Opened::Process(Self(handle)),
            Err(error) if errno::is_one_of(&error, &[ERROR_INVALID_PARAMETER]) => Opened::None,
            Err(_) => Opened::Unsupported,
        }
    }

    /// Whether it has ended, even if other processes keep a handle of it.
    pub(crate) fn has_ended(&self) -> bool {
        // SAFETY: the handle is open.
        unsafe { WaitForSingleObject(self.0.as_raw_handle(), 0) == WAIT_OBJECT_0 }
    }

    /// Creation time.
    pub(crate) fn unique_id(&self) -> Option<u64> {
        let zero = FILETIME {
            dwLowDateTime: 0,
            dwHighDateTime: 0,
        };
        let (mut created, mut ended, mut kernel, mut user) = (zero, zero, zero, zero);
        // SAFETY: the handle is open, and all four structures outlive the call.
        let is_read = unsafe {
            GetProcessTimes(
                self.0.as_raw_handle(),
                &raw mut created,
                &raw mut ended,
                &raw mut kernel,
                &raw mut user,
            )
        };
        let time = u64::from(created.dwHighDateTime) << 32 | u64::from(created.dwLowDateTime);
        (is_read != 0).then_some(time)
    }

    /// Handle for waits.
    pub(super) fn into_handle(self) -> OwnedHandle {
        self.0
    }
}

fn open(pid: u32, access: u32) -> io::Result<OwnedHandle> {
    // SAFETY: the call takes only numbers.
    let handle = unsafe { OpenProcess(access, 0, pid) };
    if handle.is_null() {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call has succeeded, and no other value owns this handle.
    Ok(unsafe { OwnedHandle::from_raw_handle(handle) })
}

/// Whether this number is a valid pid. OpenProcess ignores the two lowest bits, which are 0 in every pid.
pub(crate) fn is_pid(pid: u32) -> bool {
    pid != 0 && pid.is_multiple_of(4)
}

/// Whether a process has this pid, or an ended one whose handle another process keeps.
pub(crate) fn has_pid(pid: u32) -> bool {
    !matches!(Process::open(pid), Opened::None)
}

/// Whether this process may end the process with this pid.
pub(crate) fn can_signal(pid: u32) -> bool {
    is_pid(pid) && open(pid, PROCESS_TERMINATE).is_ok()
}

/// Start of a process.
pub(crate) struct Started {
    /// Ticks of 10 ms since 1601.
    pub(crate) ticks: u64,
    /// Whether the process has ended and another process keeps a handle of it.
    pub(crate) is_zombie: bool,
}

/// Start time of a process.
pub(crate) fn started(pid: u32) -> Option<Started> {
    let Opened::Process(process) = Process::open(pid) else {
        return None;
    };
    Some(Started {
        ticks: process.unique_id()? / 100_000,
        is_zombie: process.has_ended(),
    })
}

/// Start time of a process in milliseconds since the epoch.
pub(crate) fn started_at_wall_millis(pid: u32) -> Option<i64> {
    /// Milliseconds from 1601 to 1970.
    const EPOCH: i64 = 11_644_473_600_000;
    let millis = i64::try_from(started(pid)?.ticks).ok()?.checked_mul(10)?;
    Some(millis - EPOCH)
}

/// Id of this installation and of its boot. The latter is the creation time of the system process (pid 4), which never
/// changes. The boot time changes with the clock. Wine has no such process.
pub(crate) fn boot_id() -> Option<String> {
    let machine = machine_guid()?;
    Some(format!("{machine}-{:x}", created_at(4).unwrap_or(0)))
}

fn machine_guid() -> Option<String> {
    let mut buffer = [0_u16; 64];
    let mut bytes = u32::try_from(size_of_val(&buffer)).unwrap_or(0);
    // SAFETY: both names end with a NUL, and the system writes at most `bytes` bytes.
    let status = unsafe {
        RegGetValueW(
            HKEY_LOCAL_MACHINE,
            w!("SOFTWARE\\Microsoft\\Cryptography"),
            w!("MachineGuid"),
            RRF_RT_REG_SZ | RRF_SUBKEY_WOW6464KEY,
            std::ptr::null_mut(),
            buffer.as_mut_ptr().cast(),
            &raw mut bytes,
        )
    };
    let text = String::from_utf16_lossy(&buffer[..bytes as usize / 2]);
    let text = text.trim_end_matches('\0');
    (status == 0 && !text.is_empty()).then(|| text.to_owned())
}

/// Creation time of a process that this user may not open.
fn created_at(pid: u32) -> Option<i64> {
    snapshot()?
        .into_iter()
        .find_map(|(found, created)| (found == pid).then_some(created))
}

/// Pids and creation times of all processes.
fn snapshot() -> Option<Vec<(u32, i64)>> {
    let mut buffer = vec![0_u64; 1 << 15];
    loop {
        let size = u32::try_from(buffer.len() * 8).ok()?;
        let mut needed = 0;
        // SAFETY: the buffer has `size` bytes.
        let status = unsafe {
            NtQuerySystemInformation(
                SystemProcessInformation,
                buffer.as_mut_ptr().cast(),
                size,
                &raw mut needed,
            )
        };
        if status >= 0 {
            break;
        }
        if needed <= size {
            return None;
        }
        // Processes may start in between.
        buffer.resize((needed as usize).div_ceil(8) + 4096, 0);
    }
    let mut found = Vec::new();
    let mut at: *const u8 = buffer.as_ptr().cast();
    loop {
        // SAFETY: the system has filled the buffer with a chain of these structures, which Wine does not align.
        // CreateTime is the fourth number of the 48 reserved bytes.
        let (process, created) = unsafe {
            let reserved = at.add(offset_of!(SYSTEM_PROCESS_INFORMATION, Reserved1));
            (
                at.cast::<SYSTEM_PROCESS_INFORMATION>().read_unaligned(),
                reserved.add(24).cast::<[u8; 8]>().read(),
            )
        };
        let pid = u32::try_from(process.UniqueProcessId as usize).unwrap_or(0);
        found.push((pid, i64::from_ne_bytes(created)));
        if process.NextEntryOffset == 0 {
            return Some(found);
        }
        // SAFETY: the next structure begins there.
        at = unsafe { at.add(process.NextEntryOffset as usize) };
    }
}

/// A process that always exists. Not needed, because Windows hides no processes.
pub(crate) const ALWAYS_THERE: Option<u32> = None;

/// Pids of all processes. `None` if the system does not list them.
pub(crate) fn all() -> Option<Vec<u32>> {
    Some(snapshot()?.into_iter().map(|(pid, _)| pid).collect())
}

/// Whether a process has this number. There are no namespaces with other numbers.
pub(crate) fn has_pid_in_some_namespace(process: u32, pid: u32) -> Option<bool> {
    Some(process == pid && started(pid).is_none_or(|found| !found.is_zombie))
}

/// Windows does not report which process has locked bytes of a file.
pub fn has_locked(_pid: u32, _file: LockedEntry<'_>) -> bool {
    false
}

/// There are no pid namespaces: all processes are in the initial one.
pub(crate) fn pid_namespace() -> Option<u64> {
    Some(FIRST_PID_NAMESPACE)
}

/// Not implemented: the arguments are in the memory of the other process.
pub(crate) fn arguments(_pid: u32) -> Option<Vec<String>> {
    None
}
