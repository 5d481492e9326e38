//! A held lock. It is released once, by its last owner. The heartbeat renews it, and a loss is detected and reported.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, MutexGuard};

use super::alarm::Alarm;
use super::fence::{self, HolderCheck};
use super::heartbeat::Heartbeat;
use super::hold_files::{DirectoryOwner, HoldFiles, is_kept_by_a_failure};
use super::hold_state::{HoldState, OnLost};
use super::new_record::NewRecord;
use super::path::LockPath;
use super::record::{FailedRun, GuardId, Holder, HolderProgress, LockMode, Record};
use super::record_log::RecordsId;
use super::removal;
use crate::core::error::{Code, Error, Result};
use crate::core::sys::clock::boot_micros;
use crate::core::sys::sync::Mutex;
use crate::core::sys::{fault, fs};

const TAKEN_OVER: &str = "another process acquired it, or its files were deleted";
const OWNED_BY_ANOTHER: &str = "its directory was removed, and another program created a new one";

/// Result of a release.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Release {
    /// This process held the lock, and it is free now.
    Released,
    /// This process no longer held the lock. Nothing of the new holder was changed.
    Lost,
}

/// A held lock.
pub struct LockHandle {
    lock: Arc<LockPath>,
    records_id: RecordsId,
    token: String,
    n: u64,
    base: u64,
    mode: LockMode,
    covers_children: bool,
    /// Whether a child may have the descriptor.
    is_handed_out: AtomicBool,
    /// Whether the predecessor ended without releasing the lock.
    is_orphan: bool,
    predecessor: Option<Box<Record>>,
    inherited_failure: Option<FailedRun>,
    state: Arc<HoldState>,
    /// A release found the files in use by a check or a renewal. That call then completes the release.
    is_left_to_another: AtomicBool,
    took_over_from: Mutex<Option<Holder>>,
    heartbeat: Mutex<Option<Heartbeat>>,
    /// Time from which it is watched.
    watch: Mutex<Option<Alarm>>,
    /// Latest progress of the holder that the heartbeat has not written yet.
    news: Mutex<Option<HolderProgress>>,
    /// Locked during I/O.
    files: Mutex<HoldFiles>,
}

impl LockHandle {
    /// Starts to renew a record.
    pub(super) fn start(new: NewRecord) -> Arc<Self> {
        let NewRecord {
            lock: path,
            neighbours,
            log,
            record,
            record_file,
            guard,
            is_orphan,
            predecessor,
            request,
            device,
            begun,
        } = new;
        let ttl = request.lease_ttl;
        let orphan = predecessor.as_ref().filter(|_| is_orphan);
        let held = Arc::new(Self {
            lock: Arc::clone(&path),
            records_id: log.id(),
            token: record.token.clone(),
            n: record.n,
            base: record.base,
            mode: record.mode,
            covers_children: request.covers_children,
            is_handed_out: AtomicBool::new(false),
            inherited_failure: record.failure.clone(),
            state: HoldState::start(record.mode, ttl, begun),
            is_left_to_another: AtomicBool::new(false),
            is_orphan,
            took_over_from: Mutex::new(orphan.map(|record| record.holder())),
            predecessor,
            heartbeat: Mutex::default(),
            watch: Mutex::default(),
            news: Mutex::default(),
            files: Mutex::new(HoldFiles::new(path, neighbours, record, log, record_file, guard)),
        });
        let beating = Arc::downgrade(&held);
        let heartbeat = Heartbeat::start(device, ttl / 3, move || {
            if let Some(held) = beating.upgrade() {
                held.renew();
            }
        });
        *held.heartbeat.lock() = Some(heartbeat);
        held
    }

    /// Path of the lock.
    pub fn lock(&self) -> &LockPath {
        &self.lock
    }

    /// Random id of this acquisition.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Fencing token.
    pub fn generation(&self) -> u64 {
        self.base + self.n
    }

    /// How the lock is held.
    pub fn mode(&self) -> LockMode {
        self.mode
    }

    /// Dead holder whose lock was taken over. `None` if the predecessor released the lock.
    pub fn took_over_from(&self) -> Option<Holder> {
        self.took_over_from.lock().clone()
    }

    /// Last failed run, as recorded by the lock's earlier holders.
    pub fn inherited_failure(&self) -> Option<&FailedRun> {
        self.inherited_failure.as_ref()
    }

    /// Descriptor that a child inherits to keep the lock.
    pub fn child_fd(&self) -> Result<i32> {
        if !self.covers_children {
            let accepted = "true, so that child processes can keep the lock";
            return Err(Error::argument("options.coverChildren", false, accepted));
        }
        self.assert_held()?;
        let fd = self.files.lock().child_descriptor()?;
        self.is_handed_out.store(true, Ordering::SeqCst);
        fd.ok_or_else(|| self.lost_error("it was released"))
    }

    /// Calls `call` once when the lock is lost, immediately if it is already lost.
    pub fn on_lost(&self, call: OnLost) {
        self.state.on_lost(call);
    }

    /// Keeps the alarm that starts watching the lock.
    pub(super) fn set_watch(&self, alarm: Alarm) {
        if self.is_held() {
            *self.watch.lock() = Some(alarm);
        }
    }

    /// Fails with `ERR_LOCK_LOST` unless the lock is held. Reads only the clock.
    pub fn assert_held(&self) -> Result<()> {
        self.state.expire();
        if self.is_held() {
            Ok(())
        } else if self.state.is_lost() {
            Err(self.lost_error(&self.state.because()))
        } else {
            Err(self.lost_error("it was released"))
        }
    }

    /// Records what the holder is doing, for waiters to see. The heartbeat thread writes it soon.
    pub fn progress(&self, phase: &str) {
        *self.news.lock() = Some(HolderProgress::new(phase));
        if let Some(heartbeat) = &*self.heartbeat.lock() {
            heartbeat.beat_soon();
        }
    }

    /// Renames `from` to `to`. Fails with `ERR_FENCED` if a later generation exists.
    pub fn publish_file(&self, from: &Path, to: &Path) -> Result<()> {
        self.assert_held()?;
        let holder = HolderCheck {
            records_id: self.records_id,
            assert_held: &|| self.assert_held(),
        };
        fence::publish(&self.lock, self.generation(), Some(&holder), from, to)
    }

    /// Releases the lock. Idempotent.
    pub fn release(&self, failure: Option<FailedRun>) -> Release {
        self.state.expire();
        if let Some(files) = self.files.try_lock() {
            return self.release_files(files, failure);
        }
        if !self.state.is_lost() {
            return self.release_files(self.files.lock(), failure);
        }
        // A renewal may be blocked. It reads the flag after it has unlocked the files, so the files are tried after the
        // flag is set.
        self.is_left_to_another.store(true, Ordering::SeqCst);
        match self.files.try_lock() {
            Some(files) => self.release_files(files, failure),
            None => Release::Lost,
        }
    }

    /// Releases the lock and removes all of its files. Returns the paths that no longer exist.
    ///
    /// # Errors
    /// After an error the lock is still held, unless it was lost: release it.
    pub(super) fn retire(&self) -> Result<Vec<PathBuf>> {
        let mut files = self.files.lock();
        if !self.confirm_held(&files) {
            return self.assert_held().map(|()| Vec::new());
        }
        let removed = files.retire()?;
        self.state.release();
        files.close();
        Ok(removed)
    }

    /// Completes a release that found the files in use.
    fn finish_release(&self) {
        if self.is_left_to_another.load(Ordering::SeqCst) {
            self.release(None);
        }
    }

    fn release_files(&self, mut files: MutexGuard<'_, HoldFiles>, failure: Option<FailedRun>) -> Release {
        if fault::is_seeded("lock-release-without-token") {
            drop(fs::remove_tree(self.lock.directory()));
        }
        self.state.expire();
        // Listing the records is not needed: a successor has removed our record, or is about to find it released.
        if self.is_held()
            && !files
                .finds_its_record()
                .unwrap_or_else(|error| is_kept_by_a_failure(&error))
        {
            self.state.lose(TAKEN_OVER);
        }
        let owner = files.directory_owner();
        if owner == DirectoryOwner::Other {
            self.state.lose(OWNED_BY_ANOTHER);
        }
        if self.state.is_released() {
            return Release::Released;
        }
        let ended = if self.state.is_lost() {
            Release::Lost
        } else {
            Release::Released
        };
        // The guard is unlocked after the rename. Otherwise the rename could move the directory of a successor away.
        let tombstone = files.withdraw(owner);
        if ended == Release::Released {
            self.state.release();
            files.free_record(failure);
        } else {
            // The lease has expired, and no successor has acquired the lock yet.
            if matches!(files.finds_its_record(), Ok(true)) {
                files.free_record(None);
            }
        }
        files.close();
        if let Some(tombstone) = tombstone {
            // A later sweep removes what cannot be removed now.
            drop(removal::discard(&tombstone));
        }
        self.stop_heartbeat();
        self.state.stop_notifications();
        let _unwatched = self.watch.lock().take();
        ended
    }

    /// Ends this process's part of the lock, when its environment ends or its handle is dropped. If a child may have
    /// the descriptor, the child keeps the lock.
    pub fn leave(&self) {
        if !self.is_handed_out.load(Ordering::SeqCst) {
            self.release(None);
            return;
        }
        self.stop_heartbeat();
        self.files.lock().leave_to_children();
    }

    fn stop_heartbeat(&self) {
        let _stopped = self.heartbeat.lock().take();
    }

    /// One heartbeat: rewrites the record with a change, and updates the file times for programs that use them.
    pub(super) fn renew(&self) {
        let begun = boot_micros();
        self.renew_files(&mut self.files.lock(), begun);
        self.finish_release();
    }

    fn renew_files(&self, files: &mut HoldFiles, begun: u64) {
        if !self.confirm_held(files) {
            return;
        }
        let news = self.news.lock().take();
        // Checked again, because a successor may have acquired the lock between the first check and the rename.
        if files.renew_record(news).is_err() || !self.confirm_held(files) {
            return;
        }
        self.state.renew(begun);
        match files.directory_owner() {
            DirectoryOwner::ThisLock => files.touch_directory(),
            DirectoryOwner::Other => self.state.lose(OWNED_BY_ANOTHER),
            DirectoryOwner::Removed | DirectoryOwner::Unknown => {}
        }
    }

    /// Checks whether the lock is still held, after a change near its files.
    pub(super) fn check(&self) {
        self.state.expire();
        // A renewal is running. It makes the same check, and it may be blocked.
        let Some(files) = self.files.try_lock() else {
            return;
        };
        self.check_files(&files);
        drop(files);
        self.finish_release();
    }

    fn check_files(&self, files: &HoldFiles) {
        if !self.confirm_held(files) {
            return;
        }
        match files.directory_owner() {
            DirectoryOwner::Removed => {
                if !files.publish_again() {
                    self.state.lose(OWNED_BY_ANOTHER);
                }
            }
            DirectoryOwner::Other => self.state.lose(OWNED_BY_ANOTHER),
            DirectoryOwner::ThisLock | DirectoryOwner::Unknown => {}
        }
    }

    /// Checks on disk that the lock is still held, and records the loss if another holder has it.
    fn confirm_held(&self, files: &HoldFiles) -> bool {
        self.state.expire();
        if self.is_held() && !files.is_still_current() {
            self.state.lose(TAKEN_OVER);
        }
        self.is_held()
    }

    /// Publishes the lock directory.
    pub(super) fn publish(&self) -> Result<bool> {
        self.files.lock().publish()
    }

    /// Whether this record belongs to a holder that this one or a predecessor has taken over from.
    pub(super) fn supersedes(&self, record: &Record) -> bool {
        let is_predecessor = self
            .predecessor
            .as_ref()
            .is_some_and(|known| known.token == record.token);
        is_predecessor || (record.base == self.base && record.n < self.n)
    }

    pub(super) fn guard_id(&self) -> Option<GuardId> {
        self.files.lock().guard_id()
    }

    pub(super) fn is_orphan(&self) -> bool {
        self.is_orphan
    }

    /// Records the dead holder whose directory was found.
    pub(super) fn note_orphan(&self, holder: Holder) {
        self.took_over_from.lock().get_or_insert(holder);
    }

    pub(super) fn is_held(&self) -> bool {
        self.state.is_held()
    }

    fn lost_error(&self, why: &str) -> Error {
        let path = self.lock.directory();
        let message = format!("The lock '{}' is no longer held: {why}", path.display());
        Error::new(Code::LockLost, message).at(path)
    }
}

impl Drop for LockHandle {
    fn drop(&mut self) {
        if !self.state.is_released() {
            self.leave();
        }
    }
}
