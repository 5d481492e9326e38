//! One attempt to acquire a lock. Each step reads the state on disk and acquires the lock if it is free. Otherwise it
//! returns the current holder and what to watch. No step waits.

use std::io::ErrorKind;
use std::sync::Arc;

use super::alarm;
use super::attempt_context::AttemptContext;
use super::blocker::Blocker;
use super::guard_file::{Attempted, GuardFile, LockedGuard};
use super::handle::LockHandle;
use super::heartbeat;
use super::lock_directory;
use super::new_record::{Linked, NewRecord};
use super::obstacles::Obstacles;
use super::path::LockPath;
use super::record::{LockMode, OwnerFormat, Record};
use super::record_log::RecordLog;
use super::removal;
use super::request::{Goal, ModeChoice, Request};
use super::staleness;
use crate::core::error::{Code, Error, Result};
use crate::core::sys::errno;
use crate::core::sys::identity::Liveness;

/// Result of a step.
pub(super) enum Step {
    Acquired(Arc<LockHandle>),
    /// No holder has the lock, and what a dead holder left was removed.
    Vacant {
        orphaned: bool,
    },
    Blocked(Box<Blocker>),
}

/// The attempt of one caller, over all of its steps.
pub(super) struct Attempt {
    context: AttemptContext,
    obstacles: Obstacles,
    /// Open but not locked. Closing it would wake the other waiters.
    guard: Option<GuardFile>,
}

impl Attempt {
    /// Creates an attempt, and starts the threads that a holder depends on.
    pub(super) fn new(lock: &LockPath, request: Arc<Request>) -> Result<Self> {
        let context = AttemptContext::new(lock, request)?;
        heartbeat::start_thread(context.device)?;
        alarm::start()?;
        Ok(Self {
            context,
            obstacles: Obstacles::default(),
            guard: None,
        })
    }

    pub(super) fn mode(&self) -> LockMode {
        self.context.mode
    }

    /// Acquires a free lock on the calling thread, if its files are in memory, so that no call waits for a disk.
    /// Otherwise returns `None`.
    pub(super) fn try_acquire_inline(mut self) -> Result<Option<Arc<LockHandle>>> {
        if self.context.mode != LockMode::Kernel || !self.context.filesystem.is_in_memory() {
            return Ok(None);
        }
        match self.step()? {
            Step::Acquired(handle) => Ok(Some(handle)),
            Step::Vacant { .. } | Step::Blocked(_) => Ok(None),
        }
    }

    /// Marks the guard file, so that callers that find the lock free let this waiter acquire it first.
    pub(super) fn mark_waiting(&mut self) {
        if let Some(guard) = &mut self.guard {
            guard.mark_waiting();
        }
    }

    /// Continues with the open guard file and the observations of an attempt that was abandoned.
    pub(super) fn inherit(&mut self, earlier: &mut Self) {
        self.guard = earlier.guard.take();
        self.obstacles = std::mem::take(&mut earlier.obstacles);
    }

    /// Tries once. Tries a second time if the files were deleted during the attempt.
    pub(super) fn step(&mut self) -> Result<Step> {
        match self.try_step() {
            // Deleted during the attempt: by a user who removed the lock files, or our own directory by a sweep.
            Err(error) if error.is_not_found() => {
                self.context.restore_directory()?;
                self.try_step()
            }
            step => step,
        }
    }

    fn try_step(&mut self) -> Result<Step> {
        match self.context.request.goal {
            Goal::Acquire => self.try_acquire(),
            Goal::Vacancy => self.check_vacancy(),
        }
    }

    /// Acquires the lock only to remove what a dead holder left.
    fn check_vacancy(&mut self) -> Result<Step> {
        let (found, directory) = self.obstacles.survey(&self.context)?;
        if let Some(directory) = directory {
            directory.refuse_folder()?;
        }
        let Some(holder) = found.holder else {
            return Ok(Step::Vacant { orphaned: false });
        };
        match self.try_acquire() {
            Ok(Step::Acquired(handle)) => {
                handle.release(None);
                Ok(Step::Vacant {
                    orphaned: handle.took_over_from().is_some(),
                })
            }
            // Callers with read-only access also wait for a live holder.
            Err(error) if is_refused(&error) && found.liveness == Some(Liveness::Alive) => {
                Ok(Step::Blocked(Box::new(Blocker {
                    process: holder.pid,
                    is_foreign: holder.format != OwnerFormat::Warmswap,
                    holder: Some(holder),
                    liveness: Liveness::Alive,
                    retry_after: None,
                })))
            }
            step => step,
        }
    }

    fn try_acquire(&mut self) -> Result<Step> {
        loop {
            let handle = match self.try_link_record()? {
                LinkAttempt::Record(new) => LockHandle::start(*new),
                LinkAttempt::Nothing => continue,
                LinkAttempt::Blocked(blocker) => return Ok(Step::Blocked(blocker)),
            };
            if let Some(blocker) = self.publish(&handle)? {
                // Another holder's directory appeared in between.
                handle.release(None);
                return Ok(Step::Blocked(Box::new(blocker)));
            }
            if handle.took_over_from().is_some() {
                staleness::forget(&self.context.lock, &self.context.neighbours);
            }
            return Ok(Step::Acquired(handle));
        }
    }

    /// Links a record with the next number, unless a holder blocks it.
    fn try_link_record(&mut self) -> Result<LinkAttempt> {
        let guard = match self.context.mode {
            LockMode::Lease => None,
            LockMode::Kernel => match self.lock_guard()? {
                Locked::Yes(guard) => Some(guard),
                Locked::Busy => {
                    let blocker = self.obstacles.describe_holder(&self.context)?;
                    return Ok(LinkAttempt::Blocked(Box::new(blocker)));
                }
                Locked::Unsupported => {
                    self.context.fall_back_to_lease()?;
                    None
                }
            },
        };
        let id = guard.as_ref().map(LockedGuard::id);
        let (log, highest) = RecordLog::open_and_read(&self.context.lock, Some(&self.context.neighbours))?;
        let top = highest.top.as_ref();
        let mut blocker = None;
        if let Some(top) = top {
            blocker = self.obstacles.judge_record(&self.context, top, id)?;
        }
        if blocker.is_none() {
            blocker = self.obstacles.judge_existing_directory(&self.context, top, id)?;
        }
        if let Some(blocker) = blocker {
            self.guard = guard.map(LockedGuard::unlock).transpose()?;
            return Ok(LinkAttempt::Blocked(Box::new(blocker)));
        }
        match NewRecord::link(&self.context, log, highest, guard)? {
            Linked::New(new) => Ok(LinkAttempt::Record(new)),
            Linked::TooLate(guard) => {
                // The file stays open if it is still the guard, so that no waiter is woken without reason.
                self.guard = guard.map(LockedGuard::unlock).transpose()?;
                Ok(LinkAttempt::Nothing)
            }
        }
    }

    fn lock_guard(&mut self) -> Result<Locked> {
        loop {
            let file = match self.guard.take() {
                Some(file) => file,
                None => GuardFile::open(&self.context.lock, &self.context.neighbours)?,
            };
            match file.attempt() {
                Ok(Attempted::Locked(guard)) => return Ok(Locked::Yes(guard)),
                Ok(Attempted::Busy(file)) => {
                    self.guard = Some(file);
                    return Ok(Locked::Busy);
                }
                Ok(Attempted::Replaced) => {}
                Err(error) if self.context.request.mode == ModeChoice::Auto && errno::lacks_locks(&error) => {
                    // Use a lease instead. Never pretend to hold a kernel lock.
                    return Ok(Locked::Unsupported);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Publishes the lock directory. The directory that a dead predecessor left is moved away, and so is another
    /// program's directory if it no longer blocks. Returns the blocker if the existing directory still blocks.
    fn publish(&mut self, handle: &LockHandle) -> Result<Option<Blocker>> {
        let context = &self.context;
        loop {
            if handle.publish()? {
                return Ok(None);
            }
            let Some(found) = lock_directory::read(&context.lock, Some(&context.neighbours))? else {
                continue;
            };
            let supersedes = |record: &Record| handle.supersedes(record);
            let (is_orphan, guard) = (handle.is_orphan(), handle.guard_id());
            let (blocker, holder) = self
                .obstacles
                .judge_directory(context, &found, supersedes, is_orphan, guard)?;
            if blocker.is_some() {
                return Ok(blocker);
            }
            match removal::bury(&context.lock, &found, &context.neighbours) {
                Ok(false) => {}
                Ok(true) => handle.note_orphan(holder),
                // Another user's directory cannot be moved, so it stays. It does not matter to warmswap processes, and
                // it blocks programs that only know mkdir locks just as our own directory would.
                Err(error) if found.has_record() && is_owned_by_another_user(&error) => {
                    handle.note_orphan(holder);
                    return Ok(None);
                }
                Err(error) => return Err(error),
            }
        }
    }
}

enum LinkAttempt {
    Record(Box<NewRecord>),
    /// Another caller acquired the lock first.
    Nothing,
    Blocked(Box<Blocker>),
}

enum Locked {
    Yes(LockedGuard),
    Busy,
    Unsupported,
}

/// In a sticky directory, another user's entry cannot be moved, and warmswap does not try.
fn is_owned_by_another_user(error: &Error) -> bool {
    error.code == Code::Untrusted || error.kind() == Some(ErrorKind::PermissionDenied)
}

fn is_refused(error: &Error) -> bool {
    matches!(
        error.kind(),
        Some(ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem)
    )
}
