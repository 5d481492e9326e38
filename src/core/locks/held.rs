//! A lock that is held: given back once, by whoever still has it; kept alive by the heartbeat; noticed when
//! it is lost.

use std::os::fd::RawFd;
use std::path::Path;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::guard::Guard;
use super::numbered::Numbered;
use super::paths::LockPath;
use super::record::{Contents, Failure, GuardId, Holder, Mode, Progress, Record};
use super::{Request, directory, fence, heartbeat};
use crate::core::error::{Code, Error, Result};
use crate::core::sys::identity::monotonic_micros;
use crate::core::sys::{clock, fault, fs};

/// Longest phase that is kept, in characters.
const MAX_PHASE: usize = 512;

const HELD: u8 = 0;
const LOST: u8 = 1;
const RELEASED: u8 = 2;

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
    pub(super) record: Record,
    pub(super) guard: Option<Guard>,
    pub(super) predecessor: Option<Box<Record>>,
    pub(super) request: Arc<Request>,
}

type OnLost = Box<dyn FnOnce(&str) + Send>;

/// A lock that is held.
pub struct Held {
    lock: LockPath,
    numbered: Numbered,
    token: String,
    n: u64,
    base: u64,
    mode: Mode,
    ttl: Duration,
    covers_children: bool,
    inherited_failure: Option<Failure>,
    state: AtomicU8,
    /// Monotonic microseconds at which the last renewal that succeeded was begun.
    renewed_at: AtomicU64,
    inner: Mutex<Inner>,
    on_lost: Mutex<Option<OnLost>>,
}

struct Inner {
    record: Record,
    guard: Option<Guard>,
    is_published: bool,
    predecessor: Option<Box<Record>>,
    took_over_from: Option<Holder>,
    lost_because: Option<String>,
}

impl Held {
    /// Begins to keep a record alive.
    pub(super) fn start(claim: Claim) -> Arc<Self> {
        let Claim {
            lock,
            record,
            guard,
            predecessor,
            request,
        } = claim;
        let orphan = predecessor.as_ref().filter(|record| !record.released);
        let held = Arc::new(Self {
            numbered: Numbered::of(&lock),
            lock,
            token: record.token.clone(),
            n: record.n,
            base: record.base,
            mode: record.mode,
            ttl: request.lease_ttl,
            covers_children: request.covers_children,
            inherited_failure: predecessor.as_ref().and_then(|record| record.failure.clone()),
            state: AtomicU8::new(HELD),
            renewed_at: AtomicU64::new(monotonic_micros()),
            on_lost: Mutex::default(),
            inner: Mutex::new(Inner {
                took_over_from: orphan.map(|record| record.holder()),
                record,
                guard,
                is_published: false,
                predecessor,
                lost_because: None,
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
        self.inner().took_over_from.clone()
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
        let inner = self.inner();
        let fd = inner.guard.as_ref().map(Guard::raw_fd);
        fd.ok_or_else(|| self.lost_error("it was released"))
    }

    /// Calls once when the lock is lost, at once if it is lost already.
    pub fn on_lost(&self, call: OnLost) {
        let mut slot = self.on_lost.lock().unwrap_or_else(PoisonError::into_inner);
        if self.state.load(Ordering::SeqCst) == LOST {
            drop(slot);
            call(&self.lost_reason());
        } else {
            *slot = Some(call);
        }
    }

    /// `ERR_LOCK_LOST` unless the lock is held. Needs no system call but the clock.
    pub fn assert_held(&self) -> Result<()> {
        match self.state.load(Ordering::SeqCst) {
            HELD if self.has_expired() => {
                self.lose("its lease was not renewed in time");
                Err(self.lost_error(&self.lost_reason()))
            }
            HELD => Ok(()),
            LOST => Err(self.lost_error(&self.lost_reason())),
            _ => Err(self.lost_error("it was released")),
        }
    }

    /// Tells waiters what is being done. Written by the heartbeat thread, soon.
    pub fn progress(&self, phase: &str) {
        let phase = phase.chars().take(MAX_PHASE).collect();
        self.inner().record.progress = Some(Progress {
            phase,
            at: clock::iso8601(),
        });
        heartbeat::hurry(&self.token);
    }

    /// Renames `from` to `to` unless a later generation exists.
    pub fn publish_file(&self, from: &Path, to: &Path) -> Result<()> {
        self.assert_held()?;
        fence::publish(&self.lock, self.generation(), Some(self), from, to)
    }

    /// Gives the lock back. Doing it twice is fine.
    pub fn release(&self, failure: Option<Failure>) -> Release {
        let mut inner = self.inner();
        if self.has_expired() {
            self.lose_in(&mut inner, "its lease was not renewed in time");
        }
        if fault::mutant("lock-release-without-token") {
            drop(fs::remove_tree(self.lock.directory()));
        }
        if self.state.load(Ordering::SeqCst) == HELD && !self.is_still_ours() {
            self.lose_in(&mut inner, "another holder has taken it");
        }
        let ended = match self.state.load(Ordering::SeqCst) {
            RELEASED => return Release::Released,
            LOST => Release::Lost,
            _ => Release::Released,
        };
        // Unlocking comes after the rename: a successor that is in could be robbed of its directory by it.
        let tombstone = self.withdraw(&inner);
        if ended == Release::Released {
            self.state.store(RELEASED, Ordering::SeqCst);
            self.write_released(&mut inner, failure);
        } else {
            self.remove_own_record();
        }
        if let Some(guard) = inner.guard.take() {
            // Closing frees it too.
            drop(guard.release());
        }
        if let Some(tombstone) = tombstone {
            // What cannot be removed now is swept later.
            drop(fs::remove_tree(&tombstone));
        }
        heartbeat::forget(&self.token);
        self.on_lost.lock().unwrap_or_else(PoisonError::into_inner).take();
        ended
    }

    /// Ends our part when the environment ends: a lock that covers children stays with them.
    pub fn leave(&self) {
        if !self.covers_children {
            self.release(None);
            return;
        }
        heartbeat::forget(&self.token);
        if let Some(guard) = self.inner().guard.take() {
            guard.leave_to_children();
        }
    }

    /// Moves our lock directory away, if it is ours.
    fn withdraw(&self, inner: &Inner) -> Option<std::path::PathBuf> {
        if !inner.is_published {
            drop(fs::remove_tree(&self.lock.prepared(&self.token)));
            return None;
        }
        if directory::token(&self.lock).ok().flatten().as_deref() != Some(&*self.token) {
            return None;
        }
        let tombstone = self.lock.tombstone(&self.token);
        fs::rename(self.lock.directory(), &tombstone)
            .ok()
            .map(|()| tombstone)
    }

    fn write_released(&self, inner: &mut Inner, failure: Option<Failure>) {
        let was = inner.record.failure.take();
        inner.record.released = true;
        inner.record.failure = failure.or(was).or_else(|| self.inherited_failure.clone());
        // A full disk takes no new record, but lets the old one go; the base is lost with it, and the next
        // one starts at the wall clock, which is later.
        if self.write(&inner.record).is_err() {
            drop(self.numbered.remove(self.n));
        }
    }

    fn remove_own_record(&self) {
        if let Ok(Some((_, Contents::Record(record)))) = super::record::read(&self.numbered.path(self.n))
            && record.token == self.token
        {
            drop(self.numbered.remove(self.n));
        }
    }

    fn write(&self, record: &Record) -> Result<()> {
        let next = self.lock.next(&self.token);
        fs::replace(&self.numbered.path(self.n), &next, &record.to_bytes()?, 0o644).inspect_err(|_| {
            drop(fs::remove_file(&next));
        })
    }

    /// Whether our record is the highest that stands.
    pub(super) fn is_still_ours(&self) -> bool {
        match self.numbered.top() {
            Ok(Some(top)) => top.record.is_some_and(|record| record.token == self.token),
            Ok(None) => false,
            // A disk that fails now and then has not given the lock to anybody else.
            Err(_) => true,
        }
    }

    /// One heartbeat: a changed record, and fresh times for those who go by them.
    pub(super) fn renew(&self) {
        let begun = monotonic_micros();
        let mut inner = self.inner();
        if self.state.load(Ordering::SeqCst) != HELD {
            return;
        }
        if self.has_expired() {
            return self.lose_in(&mut inner, "its lease was not renewed in time");
        }
        if !self.is_still_ours() {
            return self.lose_in(
                &mut inner,
                "another holder has taken it, or its files were deleted",
            );
        }
        inner.record.lease.seq += 1;
        if self.write(&inner.record).is_err() {
            return;
        }
        // A successor that came between look and rename.
        if !self.is_still_ours() {
            return self.lose_in(&mut inner, "another holder has taken it");
        }
        self.renewed_at.store(begun, Ordering::SeqCst);
        if inner.is_published {
            drop(fs::touch(&self.lock.owner()));
            drop(fs::touch(self.lock.directory()));
        }
    }

    /// Looks whether the lock is still ours, after something near it has changed.
    pub(super) fn check(&self) {
        let mut inner = self.inner();
        if self.state.load(Ordering::SeqCst) != HELD {
            return;
        }
        if self.has_expired() {
            return self.lose_in(&mut inner, "its lease was not renewed in time");
        }
        if !self.is_still_ours() {
            return self.lose_in(
                &mut inner,
                "another holder has taken it, or its files were deleted",
            );
        }
        if inner.is_published && matches!(fs::stat(self.lock.directory()), Err(error) if error.is_not_found())
        {
            self.publish_again(&mut inner);
        }
    }

    /// Mkdir locks release by path, without a look at whose it is: our directory may be gone.
    fn publish_again(&self, inner: &mut Inner) {
        let prepared = self.lock.prepared(&self.token);
        let published = inner
            .record
            .to_bytes()
            .and_then(|bytes| directory::prepare(&prepared, &bytes))
            .and_then(|()| directory::publish(&self.lock, &prepared));
        if !matches!(published, Ok(true)) {
            drop(fs::remove_tree(&prepared));
        }
        if matches!(published, Ok(false)) {
            self.lose_in(inner, "its directory was removed and taken by another program");
        }
    }

    /// Makes the lock directory appear; see [`directory::publish`].
    pub(super) fn publish(&self) -> Result<bool> {
        let mut inner = self.inner();
        let prepared = self.lock.prepared(&self.token);
        let published = match directory::publish(&self.lock, &prepared) {
            // Somebody took it for litter while another program's directory was waited for.
            Err(error) if error.is_not_found() => {
                directory::prepare(&prepared, &inner.record.to_bytes()?)?;
                directory::publish(&self.lock, &prepared)?
            }
            published => published?,
        };
        inner.is_published |= published;
        Ok(published)
    }

    /// Whether this record belongs to one that we or our predecessors have followed.
    pub(super) fn follows(&self, record: &Record) -> bool {
        let inner = self.inner();
        let is_predecessor = inner
            .predecessor
            .as_ref()
            .is_some_and(|known| known.token == record.token);
        is_predecessor || (record.base == self.base && record.n < self.n)
    }

    pub(super) fn guard_id(&self) -> Option<GuardId> {
        self.inner().guard.as_ref().map(Guard::id)
    }

    /// Remembers whose directory was in the way.
    pub(super) fn note_orphan(&self, holder: Holder) {
        self.inner().took_over_from.get_or_insert(holder);
    }

    pub(super) fn is_lost(&self) -> bool {
        self.state.load(Ordering::SeqCst) == LOST
    }

    pub(super) fn is_held(&self) -> bool {
        self.state.load(Ordering::SeqCst) == HELD
    }

    pub(super) fn ttl(&self) -> Duration {
        self.ttl
    }

    /// What is left of the time after which the holder stops itself; `None` in kernel mode.
    pub(super) fn lease_left(&self) -> Option<Duration> {
        if self.mode == Mode::Kernel {
            return None;
        }
        let age =
            Duration::from_micros(monotonic_micros().saturating_sub(self.renewed_at.load(Ordering::SeqCst)));
        Some(self.self_stop().saturating_sub(age))
    }

    /// A tenth of the lease is the margin for one call that is under way.
    fn self_stop(&self) -> Duration {
        self.ttl.saturating_sub(self.ttl / 10)
    }

    fn has_expired(&self) -> bool {
        self.lease_left().is_some_and(|left| left.is_zero())
    }

    fn lose(&self, why: &str) {
        self.lose_in(&mut self.inner(), why);
    }

    fn lose_in(&self, inner: &mut Inner, why: &str) {
        if self
            .state
            .compare_exchange(HELD, LOST, Ordering::SeqCst, Ordering::SeqCst)
            .is_err()
        {
            return;
        }
        inner.lost_because = Some(why.to_owned());
        let call = self.on_lost.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(call) = call {
            call(why);
        }
    }

    fn lost_reason(&self) -> String {
        self.inner().lost_because.clone().unwrap_or_default()
    }

    fn lost_error(&self, why: &str) -> Error {
        let path = self.lock.directory();
        let message = format!("the lock '{}' is not held any more: {why}", path.display());
        Error::new(Code::LockLost, message).at(path)
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if self.state.load(Ordering::SeqCst) != RELEASED {
            self.leave();
        }
    }
}
