//! Locks: a killed holder never blocks anybody, a living one is never robbed.
//!
//! # Files
//! For a lock at `<dir>/K` (see docs/protocol.md, "Locks", for their contents):
//!
//! * `K/owner.json`: what mkdir locks look at. The directory appears finished and leaves in one rename.
//! * `.K.guard`: under flock in kernel mode. Made once, never unlinked or replaced by us.
//! * `.K.lease/<n>.json`: numbered records, the truth in both modes; the highest counts.
//! * `.K.observed`: since when something that nobody can verify has not changed.
//! * `.K.<token>.tmp`, `.K.<token>.next.tmp`, `.K.<token>.tomb`: temporary, swept.
//!
//! # Taking
//! ([`attempt`]) A record is a finished file that link(2) gives the name `<n+1>.json`, n being the highest that
//! stands: of several takers exactly one succeeds. n may be followed when it is absent, was given back, or its
//! holder is dead by the [`verdict`]. After the link the record must be the highest, else the taker starts
//! again: a slow one can link a number whose owner has long been followed and removed. Then lower records are
//! removed and K is published without replacing anything. Another program's K is waited for while our record
//! stands, so that only one of us looks at it.
//!
//! # Modes
//! *Kernel*, on filesystems of the allow list, decided by statfs before any lock call: first flock on the guard.
//! It orders our takers and makes death visible at once: a record in kernel mode whose guard is the one we have
//! locked has a dead holder. A record with another guard, mode or boot needs the verdict. *Lease*, elsewhere or
//! asked for: no flock at all. A living holder changes its record each third of its lease; one that was not seen
//! to change for one and a half leases is followed. A holder stops itself at nine tenths of its lease. Holders
//! beat in both modes, so that a container and its host can share a directory.
//!
//! # Waiting
//! One thread ([`reactor`]) waits for all callers; the callers of one lock in one process stand in a queue
//! ([`group`]) of which only the first tries. The guard is kept open, unlocked, while waiting: closing it would
//! wake the waiters of all other processes.
//!
//! # Invariants
//! I1 exclusion always; I2 a killed holder blocks nobody; I3 no instruction is fatal, `owner.json` is never
//! partial; I4 one taker-over, everybody served; I5 a living holder is never robbed; I6 identity beats the pid;
//! I7 release only what is mine; I8 loss is noticed; I9 late orphans cannot publish; I10, I11 children do not
//! keep the lock; I12 worker threads are owners; I13 Node stays responsive; I14 waiting keeps the process alive,
//! holding does not; I15 cancelling is immediate and clean; I16 waiting is bounded; I17, I18 no convoy, rough
//! fairness; I19 mkdir locks and we respect each other; I20 untrusted filesystems are recognised; I20a two
//! kernels can share a directory; I21 litter does not pile up; I22 hostile input is refused; I23 what is told is
//! true. Each is a test of that name.
//!
//! # What is not promised
//! * Lease mode excludes as long as a holder that was stopped (SIGSTOP, a frozen VM) for longer than its lease
//!   looks before it acts: `assert_held`, the lost signal, `publish`. Two system calls of a holder that is stopped
//!   in between are the window.
//! * A lock that is free again does not mean that the dead holder's children have stopped: fence what they write.
//! * Among mkdir locks of other programs their own races remain.
//! * Whoever waited longest is not always next: between processes the kernel decides.

mod attempt;
mod directory;
mod fence;
mod group;
mod guard;
mod heartbeat;
mod held;
mod inspect;
mod numbered;
mod observation;
mod paths;
mod reactor;
mod record;
mod sweep;
mod verdict;
mod waiter;

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use serde_json::Value;

pub use fence::publish_fenced;
pub use held::{Held, Release};
pub use inspect::{Inspection, inspect};
pub use paths::LockPath;
pub use record::{Failure, Holder, Mode, OwnerFormat, Progress, Record};
pub use sweep::{Swept, sweep};
pub use waiter::{Acquired, OnWait};

use crate::core::error::{Code, Error, Result};
use crate::core::sys::cancel::Cancel;
use crate::core::sys::deadline::Deadline;
pub use crate::core::sys::identity::Liveness;
use crate::core::sys::{filesystem, fs};

use reactor::Mailbox;
use waiter::{Outcome, Waiter, WaiterId};

/// What a taker asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ModeChoice {
    /// By the type of the filesystem.
    Auto,
    /// flock, or an error where it cannot be trusted.
    Kernel,
    /// No flock at all.
    Lease,
}

/// What somebody waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Goal {
    /// The lock.
    Take,
    /// That nobody has it.
    Vacancy,
}

/// How a lock is to be taken: `LockOptions` of api.d.ts.
#[derive(Debug, Clone)]
pub struct Request {
    /// Kernel lock or lease.
    pub mode: ModeChoice,
    /// How long a record may stay unchanged.
    pub lease_ttl: Duration,
    /// How long another program's lock must not have changed before it is taken over.
    pub foreign_stale: Duration,
    /// What the user adds to the record.
    pub metadata: Option<Value>,
    /// `worker_threads.threadId`.
    pub thread_id: u32,
    /// The lock lives on in children that have its descriptor.
    pub covers_children: bool,
    /// Set by [`acquire`] and [`wait_for_vacancy`].
    pub goal: Goal,
}

impl Default for Request {
    fn default() -> Self {
        Self {
            mode: ModeChoice::Auto,
            lease_ttl: Duration::from_secs(30),
            foreign_stale: Duration::from_mins(10),
            metadata: None,
            thread_id: 0,
            covers_children: false,
            goal: Goal::Take,
        }
    }
}

/// Who is in the way of a waiter.
#[derive(Debug, Clone)]
pub struct WaitInfo {
    /// Since the call.
    pub waited: Duration,
    /// `None` while it is just being taken or given back.
    pub holder: Option<Holder>,
    /// Of the holder.
    pub liveness: Liveness,
}

/// Takes a lock, waiting for it until the deadline. A deadline that has passed is one try.
///
/// The future that is dropped gives its place back, and the lock too if it had just got it.
///
/// # Errors
/// `ERR_LOCK_TIMEOUT` with the holder, `ERR_ABORTED`, `ERR_UNSUPPORTED` where the filesystem cannot give what
/// was asked for, `ERR_FORMAT` where a newer version of this library holds it, `ERR_IO`.
pub async fn acquire(
    lock: LockPath,
    request: Request,
    deadline: Deadline,
    cancel: Cancel,
    on_wait: Option<OnWait>,
) -> Result<Acquired> {
    match wait(lock, request, deadline, cancel, on_wait).await? {
        Outcome::Acquired(acquired) => Ok(acquired),
        Outcome::Vacant { .. } => unreachable!("only asked for by wait_for_vacancy"),
    }
}

/// Waits until nobody holds the lock. Takes nothing from anybody living, but removes what a dead holder left:
/// `true` where there was such a thing.
///
/// # Errors
/// Those of [`acquire`].
pub async fn wait_for_vacancy(
    lock: LockPath,
    request: Request,
    deadline: Deadline,
    cancel: Cancel,
    on_wait: Option<OnWait>,
) -> Result<bool> {
    let request = Request {
        goal: Goal::Vacancy,
        ..request
    };
    match wait(lock, request, deadline, cancel, on_wait).await? {
        Outcome::Vacant { orphaned } => Ok(orphaned),
        Outcome::Acquired(_) => unreachable!("only asked for by acquire"),
    }
}

async fn wait(
    lock: LockPath,
    request: Request,
    deadline: Deadline,
    cancel: Cancel,
    on_wait: Option<OnWait>,
) -> Result<Outcome> {
    cancel.check()?;
    let mailbox = reactor_for(&lock, request.mode)?;
    let (waiter, answer) = Waiter::new(lock, Arc::new(request), deadline, on_wait);
    let mut place = Place {
        mailbox: Some(Arc::clone(&mailbox)),
        id: waiter.id,
    };
    mailbox.wait(waiter);
    tokio::select! {
        biased;
        () = cancel.cancelled() => Err(Cancel::error()),
        answer = answer => {
            place.mailbox = None;
            answer.unwrap_or_else(|_| Err(Error::new(Code::Closed, "the thread that waits for locks has ended")))
        }
    }
}

/// A place in a queue; it is given back when the wait ends without an answer.
struct Place {
    mailbox: Option<Arc<Mailbox>>,
    id: WaiterId,
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(mailbox) = &self.mailbox {
            mailbox.forget(self.id);
        }
    }
}

/// The thread for this lock's filesystem.
fn reactor_for(lock: &LockPath, mode: ModeChoice) -> Result<Arc<Mailbox>> {
    type Started = LazyLock<Option<Arc<Mailbox>>>;
    static LOCAL: Started = LazyLock::new(|| Mailbox::start("warmswap-locks").ok());
    static REMOTE: Started = LazyLock::new(|| Mailbox::start("warmswap-leases").ok());
    fs::create_directories(lock.parent())?;
    let is_local = mode != ModeChoice::Lease && filesystem::of(lock.parent())?.trusted;
    let started = if is_local { &LOCAL } else { &REMOTE };
    Option::clone(started).ok_or_else(|| {
        Error::new(
            Code::Io,
            "the thread that waits for locks could not be started: no descriptors left?",
        )
    })
}
