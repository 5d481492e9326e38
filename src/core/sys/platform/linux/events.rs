//! Waits with one poll for inotify, pidfd and eventfd.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::core::error::{At as _, Result};
use crate::core::sys::events::{Interest, WatchId, Woken};

/// Wakes the waiting thread, from any thread.
#[derive(Debug)]
pub struct Waker(OwnedFd);

impl Waker {
    /// Ends the current wait, or the next one.
    pub fn wake(&self) {
        // Fails only if the counter is at its maximum. Then a wake-up is already pending.
        let _pending = rustix::io::write(&self.0, &1_u64.to_ne_bytes());
    }
}

/// A process whose end ends a wait.
#[derive(Debug)]
pub struct ProcessWatch(OwnedFd);

impl ProcessWatch {
    /// Returns `None` if the process no longer exists, or if the kernel has no pidfds (before 5.3, gVisor).
    pub fn new(pid: u32) -> Option<Self> {
        let pid = Pid::from_raw(i32::try_from(pid).ok()?)?;
        pidfd_open(pid, PidfdFlags::empty()).ok().map(Self)
    }
}

/// Events that one thread waits for.
pub struct Events {
    waker: Arc<Waker>,
    // `None` if the user's inotify instances are exhausted (128 by default). Then only the tick wakes the thread.
    inotify: Option<OwnedFd>,
}

impl Events {
    /// Creates a set without watches.
    pub fn new() -> Result<Self> {
        let waker =
            eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).at("eventfd", Path::new(""))?;
        Ok(Self {
            waker: Arc::new(Waker(waker)),
            inotify: inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).ok(),
        })
    }

    /// Waker for other threads.
    pub fn waker(&self) -> Arc<Waker> {
        Arc::clone(&self.waker)
    }

    /// Watches a path. Returns `None` if it cannot be watched. Then only the tick finds its changes.
    pub fn watch(&self, path: &Path, interest: Interest) -> Option<WatchId> {
        let flags = match interest {
            // An open file that loses its name is reported as IN_ATTRIB. IN_DELETE_SELF is sent only after its last
            // close.
            Interest::FileClosed => WatchFlags::CLOSE_WRITE | WatchFlags::ATTRIB | WatchFlags::DELETE_SELF,
            Interest::Entries => {
                WatchFlags::CREATE
                    | WatchFlags::MOVED_TO
                    | WatchFlags::MOVED_FROM
                    | WatchFlags::DELETE
                    | WatchFlags::DELETE_SELF
                    | WatchFlags::MOVE_SELF
            }
        };
        let inotify = self.inotify.as_ref()?;
        inotify::add_watch(inotify, path, flags | WatchFlags::DONT_FOLLOW)
            .ok()
            .map(WatchId)
    }

    /// Ends a watch.
    pub fn unwatch(&self, id: WatchId) {
        if let Some(inotify) = &self.inotify {
            // Fails if the inode no longer exists, which has already ended the watch.
            let _gone = inotify::remove_watch(inotify, id.0);
        }
    }

    /// Waits for an event, at most for `timeout`.
    pub fn wait(&self, timeout: Option<Duration>, processes: &[&ProcessWatch]) -> Woken {
        let timeout = timeout.map(|timeout| Timespec {
            tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: timeout.subsec_nanos().into(),
        });
        let mut polled = vec![PollFd::new(&self.waker.0, PollFlags::IN)];
        polled.extend(
            processes
                .iter()
                .map(|process| PollFd::new(&process.0, PollFlags::IN)),
        );
        if let Some(inotify) = &self.inotify {
            polled.push(PollFd::new(inotify, PollFlags::IN));
        }
        // EINTR counts as a wake-up without an event.
        if poll(&mut polled, timeout.as_ref()).unwrap_or(0) == 0 {
            return Woken::default();
        }
        let ended = |(index, fd): (usize, &PollFd<'_>)| (!fd.revents().is_empty()).then_some(index);
        let processes = polled[1..=processes.len()]
            .iter()
            .enumerate()
            .filter_map(ended)
            .collect();
        drop(polled);
        let mut woken = Woken {
            processes,
            ..Woken::default()
        };
        let _empty = rustix::io::read(&self.waker.0, &mut [0_u8; 8]);
        self.drain(&mut woken);
        woken
    }

    fn drain(&self, woken: &mut Woken) {
        let Some(inotify) = &self.inotify else { return };
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = Reader::new(inotify.as_fd(), &mut buffer);
        loop {
            match reader.next() {
                Ok(event) if event.events().contains(ReadFlags::QUEUE_OVERFLOW) => woken.overflow = true,
                Ok(event) => {
                    let id = WatchId(event.wd());
                    if !woken.watches.contains(&id) {
                        woken.watches.push(id);
                    }
                }
                Err(Errno::INTR) => {}
                Err(error) => {
                    woken.overflow |= io::Error::from(error).kind() != io::ErrorKind::WouldBlock;
                    return;
                }
            }
        }
    }
}
