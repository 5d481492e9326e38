//! A lock that is held: given back once, by whoever still has it; kept alive by the heartbeat; noticed when
//! it is lost.

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

const TAKEN_OVER: &str = "another holder has taken it, or its files were deleted";
const OWNED_BY_ANOTHER: &str = "its directory was removed and taken by another program";

/// How a release ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Release {
    /// The lock was ours and is free now.
    Released,
    /// It was not ours any more: nothing of the new holder was touched.
    Lost,
}

/// A lock that is held.
pub struct LockHandle {
    lock: Arc<LockPath>,
    records_id: RecordsId,
    token: String,
    n: u64,
    base: u64,
    mode: LockMode,
    covers_children: bool,
    /// A child may have the descriptor.
    is_handed_out: AtomicBool,
    /// The predecessor did not give the lock back.
    is_orphan: bool,
    predecessor: Option<Box<Record>>,
    inherited_failure: Option<FailedRun>,
    state: Arc<HoldState>,
    /// A release has met a check or a renewal that was at the files: that one clears away what there is.
    is_left_to_another: AtomicBool,
    took_over_from: Mutex<Option<Holder>>,
    heartbeat: Mutex<Option<Heartbeat>>,
    /// When it is watched from.
    watch: Mutex<Option<Alarm>>,
    /// What the holder said last and the heartbeat has not written yet.
    news: Mutex<Option<HolderProgress>>,
    /// Locked during I/O.
    files: Mutex<HoldFiles>,
}

impl LockHandle {
    /// Begins to keep a record alive.
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

    /// The path of the lock.
    pub fn lock(&self) -> &LockPath {
        &self.lock
    }

    /// The random name of this taking.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// The fencing token.
    pub fn generation(&self) -> u64 {
        self.base + self.n
    }

    /// How it is kept.
    pub fn mode(&self) -> LockMode {
        self.mode
    }

    /// The dead holder that was followed, if it did not give the lock back.
    pub fn took_over_from(&self) -> Option<Holder> {
        self.took_over_from.lock().clone()
    }

    /// The last failed run, carried on from the lock's earlier holders.
    pub fn inherited_failure(&self) -> Option<&FailedRun> {
        self.inherited_failure.as_ref()
    }

    /// The descriptor that keeps the lock while a child has it too.
    pub fn child_fd(&self) -> Result<i32> {
        if !self.covers_children {
            let accepted = "true, for a lock that its children hold on";
            return Err(Error::argument("options.coverChildren", false, accepted));
        }
        self.assert_held()?;
        let fd = self.files.lock().guard_descriptor();
        self.is_handed_out.store(true, Ordering::SeqCst);
        fd.ok_or_else(|| self.lost_error("it was released"))
    }

    /// Calls once when the lock is lost, at once if it is lost already.
    pub fn on_lost(&self, call: OnLost) {
        self.state.on_lost(call);
    }

    /// Keeps the alarm that says when to watch it.
    pub(super) fn set_watch(&self, alarm: Alarm) {
        if self.is_held() {
            *self.watch.lock() = Some(alarm);
        }
    }

    /// `ERR_LOCK_LOST` unless the lock is held. Needs no system call but the clock.
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

    /// Tells waiters what is being done. The heartbeat thread writes it soon.
    pub fn progress(&self, phase: &str) {
        *self.news.lock() = Some(HolderProgress::new(phase));
        if let Some(heartbeat) = &*self.heartbeat.lock() {
            heartbeat.beat_soon();
        }
    }

    /// Renames `from` to `to` unless a later generation exists.
    pub fn publish_file(&self, from: &Path, to: &Path) -> Result<()> {
        self.assert_held()?;
        let holder = HolderCheck {
            records_id: self.records_id,
            assert_held: &|| self.assert_held(),
        };
        fence::publish(&self.lock, self.generation(), Some(&holder), from, to)
    }

    /// Gives the lock back. Doing it twice is fine.
    pub fn release(&self, failure: Option<FailedRun>) -> Release {
        self.state.expire();
        if let Some(files) = self.files.try_lock() {
            return self.release_files(files, failure);
        }
        if !self.state.is_lost() {
            return self.release_files(self.files.lock(), failure);
        }
        // A renewal may hang. It looks at the flag once it has let go of the files; so they are tried after it is set.
        self.is_left_to_another.store(true, Ordering::SeqCst);
        match self.files.try_lock() {
            Some(files) => self.release_files(files, failure),
            None => Release::Lost,
        }
    }

    /// Gives the lock back and removes all of its files. Returns the paths that no longer exist.
    ///
    /// # Errors
    /// The lock is still held, unless it was lost: release it.
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

    /// Does what a release has left to whoever was at the files.
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
        // No list of the others is needed: who has followed us has removed our record, or is about to find it free.
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
        // Unlocking comes after the rename: a successor that is in could be robbed of its directory by it.
        let tombstone = files.withdraw(owner);
        if ended == Release::Released {
            self.state.release();
            files.free_record(failure);
        } else {
            // Lost by the clock, and nobody has followed yet.
            if matches!(files.finds_its_record(), Ok(true)) {
                files.free_record(None);
            }
        }
        files.close();
        if let Some(tombstone) = tombstone {
            // What cannot be removed now is swept later.
            drop(removal::discard(&tombstone));
        }
        self.stop_heartbeat();
        self.state.stop_notifications();
        let _unwatched = self.watch.lock().take();
        ended
    }

    /// Ends our part when the environment ends, or when nobody took what was taken: a lock whose descriptor a child may
    /// have stays with it.
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

    /// One heartbeat: a changed record, and fresh times for those who go by them.
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
        // The second look: a successor that came between the first and the rename.
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

    /// Looks whether the lock is still ours, after something near it has changed.
    pub(super) fn check(&self) {
        self.state.expire();
        // A renewal is under way: it looks itself, and may hang.
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

    /// Checks on disk that the lock is still held. A lock that another holder has by now is lost.
    fn confirm_held(&self, files: &HoldFiles) -> bool {
        self.state.expire();
        if self.is_held() && !files.is_still_current() {
            self.state.lose(TAKEN_OVER);
        }
        self.is_held()
    }

    /// Makes the lock directory appear.
    pub(super) fn publish(&self) -> Result<bool> {
        self.files.lock().publish()
    }

    /// Whether this record belongs to one that we or our predecessors have followed.
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

    /// Remembers whose directory was in the way.
    pub(super) fn note_orphan(&self, holder: Holder) {
        self.took_over_from.lock().get_or_insert(holder);
    }

    pub(super) fn is_held(&self) -> bool {
        self.state.is_held()
    }

    fn lost_error(&self, why: &str) -> Error {
        let path = self.lock.directory();
        let message = format!("the lock '{}' is not held any more: {why}", path.display());
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
