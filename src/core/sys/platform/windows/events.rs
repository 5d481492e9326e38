//! Change notifications, process handles and an event under one wait.
//!
//! Nothing reports that a file was closed or unlocked. A holder that releases a lock renames its record before it unlocks
//! the guard file, and one that is killed ends its process: both are events. The unlocking follows them within microseconds,
//! or later on a machine with little CPU. So a wait for a file to be closed ticks for a second after each event, and not at
//! other times.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::os::windows::io::{AsRawHandle as _, FromRawHandle as _, OwnedHandle};
use std::path::Path;
use std::ptr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use windows_sys::Win32::Foundation::{HANDLE, INVALID_HANDLE_VALUE, WAIT_OBJECT_0};
use windows_sys::Win32::Storage::FileSystem::{
    FILE_NOTIFY_CHANGE_DIR_NAME, FILE_NOTIFY_CHANGE_FILE_NAME, FindCloseChangeNotification,
    FindFirstChangeNotificationW, FindNextChangeNotification,
};
use windows_sys::Win32::System::Threading::{
    CreateEventW, INFINITE, SetEvent, WaitForMultipleObjects, WaitForSingleObject,
};

use super::nt::CURRENT;
use super::process::{Opened, Process};
use super::{path, stat};
use crate::core::error::{At as _, Result};
use crate::core::sys::events::{Interest, WatchId, Woken};

/// Longest wait while the wait depends on a change that no event reports.
const TICK: Duration = Duration::from_millis(25);
/// How long after an event a file may still be closed.
const UNSETTLED: Duration = Duration::from_secs(1);
/// MAXIMUM_WAIT_OBJECTS of the system.
const MOST: usize = 64;

/// Wakes the waiting thread, from any thread.
#[derive(Debug)]
pub struct Waker(OwnedHandle);

impl Waker {
    /// Ends the current wait, or the next one.
    pub fn wake(&self) {
        // SAFETY: the handle is open.
        unsafe { SetEvent(self.0.as_raw_handle()) };
    }
}

/// A process whose end ends a wait.
#[derive(Debug)]
pub struct ProcessWatch(OwnedHandle);

impl ProcessWatch {
    /// Returns `None` if the process no longer exists, or if this user may not open it.
    pub fn new(pid: u32) -> Option<Self> {
        match Process::open(pid) {
            Opened::Process(process) => Some(Self(process.into_handle())),
            Opened::None | Opened::Unsupported => None,
        }
    }
}

/// Reports that names in a directory have changed.
struct Notification(HANDLE);

// SAFETY: every thread can use a handle.
unsafe impl Send for Notification {}

impl Notification {
    fn new(directory: &Path) -> Option<Self> {
        let path = path::to_verbatim(directory).ok()?;
        let names = FILE_NOTIFY_CHANGE_FILE_NAME | FILE_NOTIFY_CHANGE_DIR_NAME;
        // SAFETY: the path ends with a NUL and outlives the call.
        let handle = unsafe { FindFirstChangeNotificationW(path.as_ptr(), 0, names) };
        (handle != INVALID_HANDLE_VALUE && !handle.is_null()).then_some(Self(handle))
    }

    /// Reports the next change. `false` where the directory no longer exists.
    fn renew(&self) -> bool {
        // SAFETY: the handle is open.
        unsafe { FindNextChangeNotification(self.0) != 0 }
    }
}

impl Drop for Notification {
    fn drop(&mut self) {
        // SAFETY: the handle is open, and no other value owns it.
        unsafe { FindCloseChangeNotification(self.0) };
    }
}

fn is_signaled(handle: HANDLE) -> bool {
    // SAFETY: the handle is open.
    unsafe { WaitForSingleObject(handle, 0) == WAIT_OBJECT_0 }
}

/// Events that one thread waits for.
pub struct Events {
    waker: Arc<Waker>,
    watches: RefCell<Watches>,
}

#[derive(Default)]
struct Watches {
    last: i32,
    known: BTreeMap<i32, Watch>,
    /// Until when files may be closed without an event.
    unsettled_until: Option<Instant>,
}

struct Watch {
    /// Device and inode.
    entry: (u64, u64),
    interest: Interest,
    /// `None` where only ticks see changes.
    notification: Option<Notification>,
}

impl Watch {
    /// Whether names have changed since the last call.
    fn take(&mut self) -> bool {
        let has_changed = self
            .notification
            .as_ref()
            .is_some_and(|found| is_signaled(found.0));
        if has_changed && !self.notification.as_ref().is_some_and(Notification::renew) {
            // It would end each wait. Ticks find what replaces the directory.
            self.notification = None;
        }
        has_changed
    }
}

impl Watches {
    /// Whether changes are to be expected that no event reports.
    fn needs_ticks(&self) -> bool {
        let is_unsettled = self.unsettled_until.is_some_and(|until| Instant::now() < until);
        self.known.values().any(|watch| match watch.interest {
            Interest::FileClosed => is_unsettled,
            Interest::Entries => watch.notification.is_none(),
        })
    }

    fn note_event(&mut self) {
        self.unsettled_until = Some(Instant::now() + UNSETTLED);
    }
}

impl Events {
    /// Creates a set without watches.
    pub fn new() -> Result<Self> {
        // SAFETY: all pointers may be null.
        let event = unsafe { CreateEventW(ptr::null(), 0, 0, ptr::null()) };
        if event.is_null() {
            return Err(io::Error::last_os_error()).at("event", Path::new(""));
        }
        // SAFETY: the call has succeeded, and no other value owns this handle.
        let event = unsafe { OwnedHandle::from_raw_handle(event) };
        Ok(Self {
            waker: Arc::new(Waker(event)),
            watches: RefCell::default(),
        })
    }

    /// Waker for other threads.
    pub fn waker(&self) -> Arc<Waker> {
        Arc::clone(&self.waker)
    }

    /// Watches a path. Two watches of one entry are one.
    pub fn watch(&self, path: &Path, interest: Interest) -> Option<WatchId> {
        let found = stat::at(CURRENT, path, false).ok()?;
        let entry = (found.device, found.inode);
        let mut watches = self.watches.borrow_mut();
        let same = |watch: &Watch| watch.entry == entry && watch.interest == interest;
        if let Some((id, _)) = watches.known.iter().find(|(_, watch)| same(watch)) {
            return Some(WatchId(*id));
        }
        let notification = match interest {
            Interest::Entries => Some(Notification::new(path)?),
            Interest::FileClosed => None,
        };
        // What has happened before is no event.
        watches.note_event();
        watches.last = watches.last.wrapping_add(1);
        let id = watches.last;
        watches.known.insert(
            id,
            Watch {
                entry,
                interest,
                notification,
            },
        );
        Some(WatchId(id))
    }

    /// Ends a watch.
    pub fn unwatch(&self, id: WatchId) {
        self.watches.borrow_mut().known.remove(&id.0);
    }

    /// Waits for an event, at most for `timeout`, or a tick where changes are to be expected that no event reports.
    pub fn wait(&self, timeout: Option<Duration>, processes: &[&ProcessWatch]) -> Woken {
        let mut watches = self.watches.borrow_mut();
        let mut handles = vec![self.waker.0.as_raw_handle()];
        handles.extend(processes.iter().map(|process| process.0.as_raw_handle()));
        let notifications = watches
            .known
            .values()
            .filter_map(|watch| watch.notification.as_ref());
        handles.extend(notifications.map(|found| found.0));
        let ticks = handles.len() > MOST || watches.needs_ticks();
        handles.truncate(MOST);
        let timeout = match timeout {
            Some(timeout) if ticks => Some(timeout.min(TICK)),
            None if ticks => Some(TICK),
            timeout => timeout,
        };
        // Rounded up, because a short wait would become zero.
        let millis = timeout.map_or(INFINITE, |timeout| {
            u32::try_from(timeout.as_micros().div_ceil(1000)).unwrap_or(INFINITE - 1)
        });
        let count = u32::try_from(handles.len()).unwrap_or(1);
        // SAFETY: all handles are open: the callers keep the processes, and `watches` is borrowed.
        unsafe { WaitForMultipleObjects(count, handles.as_ptr(), 0, millis) };
        let woken = Woken {
            watches: watches
                .known
                .iter_mut()
                .filter_map(|(id, watch)| watch.take().then_some(WatchId(*id)))
                .collect(),
            overflow: ticks,
            processes: (0..processes.len())
                .filter(|index| is_signaled(processes[*index].0.as_raw_handle()))
                .collect(),
        };
        if !woken.watches.is_empty() || !woken.processes.is_empty() {
            watches.note_event();
        }
        woken
    }
}
