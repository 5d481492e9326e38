//! Waits with kqueue for changes of files and directories, ended processes, and wake-ups by other threads.
//!
//! `EVFILT_VNODE` posts `NOTE_FUNLOCK` when a flock(2) is released, also by the last close of a killed holder.

use std::collections::HashMap;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustix::event::kqueue::{
    Event, EventFilter, EventFlags, ProcessEvents, UserDefinedFlags, UserFlags, VnodeEvents, kevent, kqueue,
};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::process::Pid;

use crate::core::error::{At as _, Result};
use crate::core::sys::events::{Interest, WatchId, Woken};
use crate::core::sys::sync::Mutex;

/// The descriptor is used for events only. It does not prevent the volume from being unmounted.
const EVENTS_ONLY: OFlags = OFlags::from_bits_retain(libc::O_EVTONLY.cast_unsigned());
const UNLOCKED: VnodeEvents = VnodeEvents::from_bits_retain(libc::NOTE_FUNLOCK);
/// The `EVFILT_USER` event of a [`Waker`].
const WAKE_UP: isize = 0;

/// Wakes the waiting thread, from any thread.
#[derive(Debug)]
pub struct Waker(OwnedFd);

impl Waker {
    /// Ends the current wait, or the next one.
    pub fn wake(&self) {
        apply(&self.0, &[wake_up(EventFlags::empty(), UserFlags::TRIGGER)]);
    }
}

/// A process whose end ends a wait.
#[derive(Debug)]
pub struct ProcessWatch(Pid);

impl ProcessWatch {
    /// Returns `None` if no process can have this pid.
    pub fn new(pid: u32) -> Option<Self> {
        Pid::from_raw(i32::try_from(pid).ok()?).map(Self)
    }
}

/// Events that one thread waits for.
pub struct Events {
    waker: Arc<Waker>,
    /// One descriptor per inode. It is also the id of the watch, so two watches of one inode share it.
    watched: Mutex<HashMap<(u64, u64), OwnedFd>>,
}

impl Events {
    /// Creates a set without watches.
    pub fn new() -> Result<Self> {
        let queue = kqueue().at("kqueue", Path::new("."))?;
        rustix::io::fcntl_setfd(&queue, rustix::io::FdFlags::CLOEXEC).at("kqueue", Path::new("."))?;
        apply(
            &queue,
            &[wake_up(EventFlags::ADD | EventFlags::CLEAR, UserFlags::NOINPUT)],
        );
        Ok(Self {
            waker: Arc::new(Waker(queue)),
            watched: Mutex::default(),
        })
    }

    /// Waker for other threads.
    pub fn waker(&self) -> Arc<Waker> {
        Arc::clone(&self.waker)
    }

    /// Watches a path. Returns `None` if it cannot be watched. Then only the tick finds its changes.
    pub fn watch(&self, path: &Path, interest: Interest) -> Option<WatchId> {
        let flags = EVENTS_ONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let opened = rustix::fs::openat(CWD, path, flags, Mode::empty()).ok()?;
        let stat = super::super::unix::files::stat_handle(&opened).ok()?;
        let gone = VnodeEvents::DELETE | VnodeEvents::RENAME | VnodeEvents::REVOKE;
        let wanted = match interest {
            // An open file that loses one of several names is reported as NOTE_LINK.
            Interest::FileClosed => UNLOCKED | VnodeEvents::LINK | gone,
            Interest::Entries => VnodeEvents::WRITE | VnodeEvents::LINK | gone,
        };
        let mut watched = self.watched.lock();
        let descriptor = watched
            .entry((stat.device, stat.inode))
            .or_insert(opened)
            .as_raw_fd();
        let filter = EventFilter::Vnode {
            vnode: descriptor,
            flags: wanted,
        };
        apply(
            &self.waker.0,
            &[event(filter, EventFlags::ADD | EventFlags::CLEAR)],
        );
        Some(WatchId(descriptor))
    }

    /// Ends a watch. Closing its descriptor removes it from the queue.
    pub fn unwatch(&self, id: WatchId) {
        self.watched
            .lock()
            .retain(|_, descriptor| descriptor.as_raw_fd() != id.0);
    }

    /// Waits for an event, at most for `timeout`.
    pub fn wait(&self, timeout: Option<Duration>, processes: &[&ProcessWatch]) -> Woken {
        let changes: Vec<Event> = processes
            .iter()
            .map(|process| {
                let filter = EventFilter::Proc {
                    pid: process.0,
                    flags: ProcessEvents::EXIT,
                };
                event(filter, EventFlags::ADD | EventFlags::ONESHOT)
            })
            .collect();
        self.take(&changes, Duration::ZERO, processes)
            .or_else(|| self.take(&[], timeout.unwrap_or(Duration::MAX), processes))
            .unwrap_or_default()
    }

    /// Changes the events of the queue, waits, and returns what has happened. `None` if nothing has.
    fn take(&self, changes: &[Event], timeout: Duration, processes: &[&ProcessWatch]) -> Option<Woken> {
        // A refused change also occupies a place in the result.
        let mut buffer = vec![MaybeUninit::uninit(); changes.len() + 64];
        // SAFETY: each descriptor of the queue is in `watched`, which closes it only after it was removed from the
        // queue.
        let found = unsafe { kevent(&self.waker.0, changes, buffer.as_mut_slice(), Some(timeout)) };
        let mut woken = Woken::default();
        // EINTR counts as a wake-up without an event.
        let Ok((found, _)) = found else { return Some(woken) };
        // A process that no longer exists is refused with ESRCH. The tick covers other refused changes.
        let has_happened = |event: &&Event| {
            !event.flags().contains(EventFlags::ERROR)
                || event.data() == i64::from(Errno::SRCH.raw_os_error())
        };
        let mut events = found.iter().filter(has_happened).peekable();
        events.peek()?;
        for each in events {
            match each.filter() {
                EventFilter::Vnode { vnode, .. } => woken.watches.push(WatchId(vnode)),
                EventFilter::Proc { pid, .. } => {
                    let of_pid =
                        |(index, process): (usize, &&ProcessWatch)| (process.0 == pid).then_some(index);
                    woken
                        .processes
                        .extend(processes.iter().enumerate().filter_map(of_pid));
                }
                _ => {}
            }
        }
        Some(woken)
    }
}

fn event(filter: EventFilter, flags: EventFlags) -> Event {
    Event::new(filter, flags, std::ptr::null_mut())
}

fn wake_up(flags: EventFlags, user: UserFlags) -> Event {
    let filter = EventFilter::User {
        ident: WAKE_UP,
        flags: user,
        user_flags: UserDefinedFlags::new(0),
    };
    event(filter, flags)
}

/// Changes the events of a queue. The tick covers refused changes.
fn apply(queue: &OwnedFd, changes: &[Event]) {
    let none: &mut [MaybeUninit<Event>] = &mut [];
    // SAFETY: the descriptors of the changes are open, and stay open until they were removed from the queue.
    let _refused = unsafe { kevent(queue, changes, none, Some(Duration::ZERO)) };
}
