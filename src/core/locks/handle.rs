//! A lock that is held: given back once, by whoever still has it; kept alive by the heartbeat; noticed when
//! it is lost.

use std::os::fd::RawFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Duration;

use super::alarm::Alarm;
use super::guard_file::Guard;
use super::hold_state::{OnLost, Tenure};
use super::neighbours::Neighbours;
use super::path::LockPath;
use super::record::{self, Contents, Failure, GuardId, Holder, Mode, Progress, Record};
use super::record_file::Written;
use super::record_log::{Numbered, RecordsId, Top};
use super::{Request, fence, heartbeat, lock_directory};
use crate::core::error::{Code, Error, Result};
use crate::core::sys::identity::boot_micros;
use crate::core::sys::{fault, fs};

const FOLLOWED: &str = "another holder has taken it, or its files were deleted";
const TAKEN_BY_ANOTHER: &str = "its directory was removed and taken by another program";

/// Whose the lock directory is, as its holder sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Directory {
    Ours,
    Anothers,
    Gone,
    Unknown,
}

/// How a release ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Release {
    /// The lock was ours and is free now.
    Released,
    /// It was not ours any more: nothing of the new holder was touched.
    Lost,
}

/// A record that was just taken.
pub(super) struct Claim {
    pub(super) lock: LockPath,
    pub(super) neighbours: Arc<Neighbours>,
    pub(super) numbered: Numbered,
    pub(super) record: Record,
    pub(super) written: Written,
    pub(super) guard: Option<Guard>,
    /// The predecessor did not give it back.
    pub(super) is_orphan: bool,
    pub(super) predecessor: Option<Box<Record>>,
    pub(super) request: Arc<Request>,
    /// That its files are on: those of one are renewed by one thread.
    pub(super) device: u64,
    /// Microseconds of the boot before its record was there: from then on its lease counts.
    pub(super) begun: u64,
}

/// A lock that is held.
pub struct Held {
    lock: LockPath,
    neighbours: Arc<Neighbours>,
    records_id: RecordsId,
    token: String,
    n: u64,
    base: u64,
    mode: Mode,
    ttl: Duration,
    device: u64,
    covers_children: bool,
    /// A child may have the descriptor.
    is_handed_out: AtomicBool,
    /// The predecessor did not give the lock back.
    is_orphan: bool,
    predecessor: Option<Box<Record>>,
    inherited_failure: Option<Failure>,
    tenure: Arc<Tenure>,
    /// A release has met a check or a renewal that was at the files: that one clears away what there is.
    is_left_to_another: AtomicBool,
    took_over_from: Mutex<Option<Holder>>,
    /// When it is watched from.
    watch: Mutex<Option<Alarm>>,
    /// What the holder said last and the heartbeat has not written yet.
    news: Mutex<Option<Progress>>,
    /// Held over I/O.
    files: Mutex<Files>,
}

/// What this holder has on disk.
struct Files {
    record: Record,
    /// The directory that the record was linked into, which stays the same whatever is put in its place. `None` once the
    /// lock is given back.
    numbered: Option<Numbered>,
    /// The record as it was linked, and as it stays in the lock directory. `None` once it is given back, and in lease mode:
    /// there an answer may be an old one that was kept (NFS), or inodes may not be one file's alone (FUSE).
    written: Option<Written>,
    guard: Option<Guard>,
    is_published: bool,
}

impl Files {
    /// Whether what was linked stands there, as far as that can be told without reading it.
    fn is_written_at(&self, path: &Path) -> bool {
        self.written.as_ref().is_some_and(|written| written.is_at(path))
    }
}

impl Held {
    /// Begins to keep a record alive.
    pub(super) fn start(claim: Claim) -> Arc<Self> {
        let Claim {
            lock,
            neighbours,
            numbered,
            record,
            written,
            guard,
            is_orphan,
            predecessor,
            request,
            device,
            begun,
        } = claim;
        let mode = record.mode;
        let orphan = predecessor.as_ref().filter(|_| is_orphan);
        let held = Arc::new(Self {
            lock,
            neighbours,
            records_id: numbered.id(),
            token: record.token.clone(),
            n: record.n,
            base: record.base,
            mode,
            ttl: request.lease_ttl,
            device,
            covers_children: request.covers_children,
            is_handed_out: AtomicBool::new(false),
            inherited_failure: record.failure.clone(),
            tenure: Tenure::start(mode, request.lease_ttl, begun),
            is_left_to_another: AtomicBool::new(false),
            is_orphan,
            took_over_from: Mutex::new(orphan.map(|record| record.holder())),
            predecessor,
            watch: Mutex::default(),
            news: Mutex::default(),
            files: Mutex::new(Files {
                record,
                numbered: Some(numbered),
                written: (mode == Mode::Kernel).then_some(written),
                guard,
                is_published: false,
            }),
        });
        heartbeat::keep(&held);
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
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// The dead holder that was followed, if it did not give the lock back.
    pub fn took_over_from(&self) -> Option<Holder> {
        lock(&self.took_over_from).clone()
    }

    /// The last failed run, carried on from the lock's earlier holders.
    pub fn inherited_failure(&self) -> Option<&Failure> {
        self.inherited_failure.as_ref()
    }

    /// The descriptor that keeps the lock while a child has it too.
    pub fn child_fd(&self) -> Result<RawFd> {
        if !self.covers_children {
            let accepted = "true, for a lock that its children hold on";
            return Err(Error::argument("options.coverChildren", false, accepted));
        }
        self.assert_held()?;
        let fd = lock(&self.files).guard.as_ref().map(Guard::raw_fd);
        self.is_handed_out.store(true, Ordering::SeqCst);
        fd.ok_or_else(|| self.lost_error("it was released"))
    }

    /// Calls once when the lock is lost, at once if it is lost already.
    pub fn on_lost(&self, call: OnLost) {
        self.tenure.on_lost(call);
    }

    /// Keeps the alarm that says when to watch it.
    pub(super) fn set_watch(&self, alarm: Alarm) {
        if self.is_held() {
            *lock(&self.watch) = Some(alarm);
        }
    }

    /// `ERR_LOCK_LOST` unless the lock is held. Needs no system call but the clock.
    pub fn assert_held(&self) -> Result<()> {
        self.tenure.expire();
        if self.is_held() {
            Ok(())
        } else if self.tenure.is_lost() {
            Err(self.lost_error(&self.tenure.because()))
        } else {
            Err(self.lost_error("it was released"))
        }
    }

    /// Tells waiters what is being done. Written by the heartbeat thread, soon.
    pub fn progress(&self, phase: &str) {
        *lock(&self.news) = Some(Progress::new(phase));
        heartbeat::hurry(self);
    }

    /// Renames `from` to `to` unless a later generation exists.
    pub fn publish_file(&self, from: &Path, to: &Path) -> Result<()> {
        self.assert_held()?;
        fence::publish(&self.lock, self.generation(), Some(self), from, to)
    }

    /// Gives the lock back. Doing it twice is fine.
    pub fn release(&self, failure: Option<Failure>) -> Release {
        self.tenure.expire();
        if let Some(files) = self.free_files() {
            return self.release_files(files, failure);
        }
        if !self.tenure.is_lost() {
            return self.release_files(lock(&self.files), failure);
        }
        // A renewal may hang. It looks at the flag once it has let go of the files; so they are tried after it is set.
        self.is_left_to_another.store(true, Ordering::SeqCst);
        match self.free_files() {
            Some(files) => self.release_files(files, failure),
            None => Release::Lost,
        }
    }

    /// The files, unless somebody is at them.
    fn free_files(&self) -> Option<MutexGuard<'_, Files>> {
        match self.files.try_lock() {
            Ok(files) => Some(files),
            Err(TryLockError::WouldBlock) => None,
            Err(TryLockError::Poisoned(files)) => Some(files.into_inner()),
        }
    }

    /// Does what a release has left to whoever was at the files.
    fn finish_release(&self) {
        if self.is_left_to_another.load(Ordering::SeqCst) {
            self.release(None);
        }
    }

    fn release_files(&self, mut files: MutexGuard<'_, Files>, failure: Option<Failure>) -> Release {
        if fault::mutant("lock-release-without-token") {
            drop(fs::remove_tree(self.lock.directory()));
        }
        self.tenure.expire();
        // No list of the others is needed: who has followed us has removed our record, or is about to find it free.
        if self.is_held()
            && !self
                .finds_its_record(&files)
                .unwrap_or_else(|error| is_kept_by_a_failure(&error))
        {
            self.tenure.lose(FOLLOWED);
        }
        let standing = self.directory(&files);
        if standing == Directory::Anothers {
            self.tenure.lose(TAKEN_BY_ANOTHER);
        }
        if self.tenure.is_released() {
            return Release::Released;
        }
        let ended = if self.tenure.is_lost() {
            Release::Lost
        } else {
            Release::Released
        };
        // Unlocking comes after the rename: a successor that is in could be robbed of its directory by it.
        let tombstone = self.withdraw(&files, standing);
        if ended == Release::Released {
            self.tenure.release();
            self.give_back(&mut files, failure);
        } else {
            // Lost by the clock, and nobody has followed yet.
            if matches!(self.finds_its_record(&files), Ok(true)) {
                self.give_back(&mut files, None);
            }
        }
        files.written = None;
        files.numbered = None;
        if let Some(guard) = files.guard.take() {
            // Closing frees it too.
            drop(guard.release());
        }
        if let Some(tombstone) = tombstone {
            // What cannot be removed now is swept later.
            drop(lock_directory::discard(&tombstone));
        }
        heartbeat::forget(self);
        self.tenure.end();
        let _unwatched = lock(&self.watch).take();
        ended
    }

    /// Ends our part when the environment ends, or when nobody took what was taken: a lock whose descriptor a child may
    /// have stays with it.
    pub fn leave(&self) {
        if !self.is_handed_out.load(Ordering::SeqCst) {
            self.release(None);
            return;
        }
        heartbeat::forget(self);
        let mut files = lock(&self.files);
        files.numbered = None;
        if let Some(guard) = files.guard.take() {
            guard.leave_to_children();
        }
    }

    /// Moves our lock directory away, if it is ours.
    fn withdraw(&self, files: &Files, standing: Directory) -> Option<PathBuf> {
        if !files.is_published {
            drop(lock_directory::discard(&self.lock.prepared(&self.token)));
        }
        if standing != Directory::Ours {
            return None;
        }
        lock_directory::withdraw(&self.lock)
    }

    /// Whose the lock directory is.
    fn directory(&self, files: &Files) -> Directory {
        if !files.is_published {
            return Directory::Unknown;
        }
        if files.is_written_at(&self.lock.owner()) {
            return Directory::Ours;
        }
        match record::read(&self.lock.owner()) {
            Ok(Some((_, Contents::Record(record)))) if record.token == self.token => Directory::Ours,
            Ok(Some((_, Contents::Record(_) | Contents::Foreign(_)))) => Directory::Anothers,
            Ok(None) if matches!(fs::stat(self.lock.directory()), Err(error) if error.is_not_found()) => {
                Directory::Gone
            }
            // A broken owner says nothing, and one without is a mkdir lock between its two steps: the next look tells.
            _ => Directory::Unknown,
        }
    }

    fn give_back(&self, files: &mut Files, failure: Option<Failure>) {
        if let Some(failure) = failure {
            files.record.failure = Some(failure.shortened());
            // What a full disk does not take, nobody hears of; the lock is free all the same.
            drop(self.write(files));
        }
        let Some(numbered) = &files.numbered else {
            return;
        };
        // A disk that takes no new name may let the old one go; the base is lost with it, and the next one
        // starts at the wall clock, which is later.
        if numbered.free(self.n).is_err() {
            drop(numbered.remove(self.n));
        }
    }

    /// Whether the record of our number is ours, and others see it at its path.
    fn finds_its_record(&self, files: &Files) -> Result<bool> {
        let Some(numbered) = &files.numbered else {
            return Ok(false);
        };
        if files.is_written_at(&numbered.path(self.n)) {
            return Ok(true);
        }
        let record = numbered.held(self.n)?;
        Ok(record.is_some_and(|record| record.token == self.token) && numbered.is_current()?)
    }

    fn write(&self, files: &Files) -> Result<()> {
        match &files.numbered {
            Some(numbered) => numbered.replace(self.n, &self.lock.next(), &files.record.to_bytes()?),
            None => Ok(()),
        }
    }

    /// Whether our record is the highest that stands where others look.
    fn is_still_ours(&self, files: &Files) -> bool {
        let Some(numbered) = &files.numbered else {
            return false;
        };
        let is_top = |top: Top| !top.is_free && top.record.is_some_and(|record| record.token == self.token);
        let is_ours = numbered
            .top()
            .and_then(|top| Ok(top.is_some_and(is_top) && numbered.is_current()?));
        is_ours.unwrap_or_else(|error| is_kept_by_a_failure(&error))
    }

    /// Which directory its records are in.
    pub(super) fn records_id(&self) -> RecordsId {
        self.records_id
    }

    /// One heartbeat: a changed record, and fresh times for those who go by them.
    pub(super) fn renew(&self) {
        let begun = boot_micros();
        self.renew_files(&mut lock(&self.files), begun);
        self.finish_release();
    }

    fn renew_files(&self, files: &mut Files, begun: u64) {
        if !self.look(files) {
            return;
        }
        if let Some(news) = lock(&self.news).take() {
            files.record.progress = Some(news);
        }
        files.record.lease.seq += 1;
        // The second look: a successor that came between the first and the rename.
        if self.write(files).is_err() || !self.look(files) {
            return;
        }
        self.tenure.renew(begun);
        match self.directory(files) {
            Directory::Ours => {
                drop(lock_directory::touch(&self.lock));
            }
            Directory::Anothers => self.tenure.lose(TAKEN_BY_ANOTHER),
            Directory::Gone | Directory::Unknown => {}
        }
    }

    /// Looks whether the lock is still ours, after something near it has changed.
    pub(super) fn check(&self) {
        self.tenure.expire();
        // A renewal is under way: it looks itself, and may hang.
        let Some(files) = self.free_files() else { return };
        self.check_files(&files);
        drop(files);
        self.finish_release();
    }

    fn check_files(&self, files: &Files) {
        if !self.look(files) {
            return;
        }
        match self.directory(files) {
            Directory::Gone => self.publish_again(&files.record),
            Directory::Anothers => self.tenure.lose(TAKEN_BY_ANOTHER),
            Directory::Ours | Directory::Unknown => {}
        }
    }

    /// Whether the lock is held; one that is another's by now is lost.
    fn look(&self, files: &Files) -> bool {
        self.tenure.expire();
        if self.is_held() && !self.is_still_ours(files) {
            self.tenure.lose(FOLLOWED);
        }
        self.is_held()
    }

    /// Mkdir locks release by path, without a look at whose it is: our directory may be gone.
    fn publish_again(&self, record: &Record) {
        // Everybody knows the token by now.
        let prepared = self.lock.prepared(&uuid::Uuid::new_v4().to_string());
        let published = record
            .to_bytes()
            .and_then(|bytes| lock_directory::prepare(&self.lock, &prepared, &bytes, &self.neighbours))
            .and_then(|_| lock_directory::publish(&self.lock, &prepared));
        if !matches!(published, Ok(true)) {
            drop(lock_directory::discard(&prepared));
        }
        if matches!(published, Ok(false)) {
            self.tenure.lose(TAKEN_BY_ANOTHER);
        }
    }

    /// Makes the lock directory appear; see [`lock_directory::publish`].
    pub(super) fn publish(&self) -> Result<bool> {
        let mut files = lock(&self.files);
        let prepared = self.lock.prepared(&self.token);
        let published = match lock_directory::publish(&self.lock, &prepared) {
            // Somebody took it for litter while another program's directory was waited for.
            Err(error) if error.is_not_found() => {
                let owner = files.record.to_bytes()?;
                lock_directory::prepare(&self.lock, &prepared, &owner, &self.neighbours)?;
                lock_directory::publish(&self.lock, &prepared)?
            }
            published => published?,
        };
        files.is_published |= published;
        Ok(published)
    }

    /// Whether this record belongs to one that we or our predecessors have followed.
    pub(super) fn follows(&self, record: &Record) -> bool {
        let is_predecessor = self
            .predecessor
            .as_ref()
            .is_some_and(|known| known.token == record.token);
        is_predecessor || (record.base == self.base && record.n < self.n)
    }

    pub(super) fn guard_id(&self) -> Option<GuardId> {
        lock(&self.files).guard.as_ref().map(Guard::id)
    }

    pub(super) fn is_orphan(&self) -> bool {
        self.is_orphan
    }

    /// Remembers whose directory was in the way.
    pub(super) fn note_orphan(&self, holder: Holder) {
        lock(&self.took_over_from).get_or_insert(holder);
    }

    pub(super) fn is_held(&self) -> bool {
        self.tenure.is_held()
    }

    pub(super) fn device(&self) -> u64 {
        self.device
    }

    pub(super) fn ttl(&self) -> Duration {
        self.ttl
    }

    fn lost_error(&self, why: &str) -> Error {
        let path = self.lock.directory();
        let message = format!("the lock '{}' is not held any more: {why}", path.display());
        Error::new(Code::LockLost, message).at(path)
    }
}

/// A disk that fails now and then has not given the lock to anybody else; a newer version has followed us.
fn is_kept_by_a_failure(error: &Error) -> bool {
    error.code != Code::Format
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Held {
    fn drop(&mut self) {
        if !self.tenure.is_released() {
            self.leave();
        }
    }
}
