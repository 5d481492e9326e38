//! Locks: a killed holder never blocks anybody, a living one is never robbed.
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
            foreign_stale: Duration::from_secs(600),
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
