//! Selects the thread that waits for a lock.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};

use super::handle::LockHandle;
use super::path::LockPath;
use super::reactor::Mailbox;
use super::request::ModeChoice;
use super::wait::Wait;
use crate::core::error::Result;
use crate::core::sys::cancel::Cancel;
use crate::core::sys::sync::Mutex;
use crate::core::sys::{fs, thread};

/// The thread that waits for locks on local filesystems, or on one other device. A network filesystem that hangs must
/// not block the waiters of other locks.
#[derive(Clone)]
pub(super) struct Queue(Arc<Mailbox>);

/// Device of a lock's directory.
#[derive(Clone, Copy)]
struct Device {
    number: u64,
    trusted: bool,
    is_in_memory: bool,
}

/// Known parent directories, so that the next caller does not need a thread to ask. This only selects the thread that
/// waits. The mode is decided again at each acquisition.
static PARENTS: LazyLock<Mutex<HashMap<PathBuf, Device>>> = LazyLock::new(Mutex::default);
/// More than any real program uses. The table is cleared when it is full.
const MAX_PARENTS: usize = 1024;
/// Waits for an unknown filesystem, by parent directory. One thread per directory asks.
static WAITS_BY_DIRECTORY: LazyLock<Mutex<HashMap<PathBuf, Vec<Wait>>>> = LazyLock::new(Mutex::default);

impl Queue {
    /// Whether the directory of this lock is known to be in memory, where no call waits for a disk.
    pub(super) fn is_in_memory(lock: &LockPath) -> bool {
        PARENTS
            .lock()
            .get(lock.parent())
            .is_some_and(|device| device.is_in_memory && device.trusted)
    }

    /// Returns the queue if it is known without a system call.
    ///
    /// # Errors
    /// `ERR_IO` if the process has no threads or descriptors left.
    pub(super) fn known(lock: &LockPath, mode: ModeChoice) -> Result<Option<Self>> {
        let known = PARENTS.lock().get(lock.parent()).copied();
        known.map(|device| Self::of(device, mode)).transpose()
    }

    /// Adds a wait, which ends with its answer or when `cancel` is raised.
    pub(super) fn start(wait: Wait, cancel: &Cancel) {
        let handle = wait.handle();
        cancel.on_raise(move || handle.give_up());
        match Self::known(&wait.waiter.lock, wait.waiter.request.mode) {
            Ok(Some(queue)) => queue.enter(wait),
            Ok(None) => Self::find_apart(wait),
            Err(error) => wait.fail(error),
        }
    }

    /// Asks the filesystem which queue to use.
    ///
    /// # Errors
    /// Errors of the system calls.
    pub(super) fn find(lock: &LockPath, mode: ModeChoice) -> Result<Self> {
        if let Some(queue) = Self::known(lock, mode)? {
            return Ok(queue);
        }
        let filesystem = lock.filesystem()?;
        let device = Device {
            trusted: filesystem.trusted,
            is_in_memory: filesystem.is_in_memory(),
            number: fs::stat_followed(lock.parent())?.device,
        };
        let mut parents = PARENTS.lock();
        if parents.len() >= MAX_PARENTS {
            parents.clear();
        }
        parents.insert(lock.parent().to_path_buf(), device);
        drop(parents);
        Self::of(device, mode)
    }

    fn of(device: Device, mode: ModeChoice) -> Result<Self> {
        if device.trusted && mode != ModeChoice::Lease {
            return Self::started(None, "warmswap-locks");
        }
        Self::started(Some(device.number), "warmswap-leases")
    }

    /// A process that has no thread or descriptor left may have some later, so a failure is not remembered.
    fn started(device: Option<u64>, name: &str) -> Result<Self> {
        static RUNNING: LazyLock<Mutex<HashMap<Option<u64>, Arc<Mailbox>>>> = LazyLock::new(Mutex::default);
        let mut running = RUNNING.lock();
        if let Some(mailbox) = running.get(&device).filter(|mailbox| !mailbox.has_ended()) {
            return Ok(Self(Arc::clone(mailbox)));
        }
        let mailbox = Mailbox::start(name)?;
        running.insert(device, Arc::clone(&mailbox));
        Ok(Self(mailbox))
    }

    /// Adds a wait to this queue.
    pub(super) fn enter(self, mut wait: Wait) {
        if let Err(error) = wait.waiter.set_alarm() {
            return wait.fail(error);
        }
        wait.set_mailbox(&self.0);
        self.0.wait(wait.waiter);
    }

    /// Watches a lock, unless it is released very soon.
    pub(super) fn watch_later(&self, handle: &Arc<LockHandle>) {
        self.0.watch_later(handle);
    }

    /// Adds a wait for a filesystem that is asked on a separate thread. If the filesystem does not respond, it blocks
    /// neither the caller nor callers on other filesystems. It costs one thread per directory, whatever the number of
    /// callers.
    fn find_apart(mut wait: Wait) {
        if let Err(error) = wait.waiter.set_alarm() {
            return wait.fail(error);
        }
        let lock = wait.waiter.lock.clone();
        let parent = lock.parent().to_path_buf();
        let mut by_directory = WAITS_BY_DIRECTORY.lock();
        let waits = by_directory.entry(parent).or_default();
        waits.push(wait);
        let is_first = waits.len() == 1;
        drop(by_directory);
        if !is_first {
            return;
        }
        let apart = lock.clone();
        let started = thread::spawn("warmswap-find", move || {
            drop(Self::find(&apart, ModeChoice::Auto));
            Self::enter_found(&apart);
        });
        if let Err(refused) = started {
            let waits = WAITS_BY_DIRECTORY.lock().remove(lock.parent());
            for wait in waits.into_iter().flatten() {
                wait.fail(refused.again());
            }
        }
    }

    /// Moves the waits that waited for this lock's filesystem into its queue.
    fn enter_found(lock: &LockPath) {
        let waits = WAITS_BY_DIRECTORY.lock().remove(lock.parent());
        for wait in waits.into_iter().flatten() {
            match Self::find(lock, wait.waiter.request.mode) {
                Ok(queue) => queue.enter(wait),
                Err(error) => wait.fail(error),
            }
        }
    }
}
