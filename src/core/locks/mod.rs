//! Locks: a killed holder never blocks anybody, a living one is never robbed.
//!
//! # Files
//! For a lock at `<dir>/K` (see docs/protocol.md, "Locks", for their contents):
//!
//! * `K/owner.json`: what mkdir locks look at. The directory appears finished and leaves in one rename.
//! * `.K.guard`: under flock in kernel mode. Made once, never unlinked or replaced by us.
//! * `.K.lease/<n>.json`: numbered records, the truth in both modes; the highest counts. `<n>.free` once given back.
//! * `.K.spare`: the directory of the last holder, for the next one.
//! * `.K.observed`: since when something that nobody can verify has not changed.
//! * `.K.<token>.tmp`, `.K.<uuid>.next.tmp`, `.K.<uuid>.tomb`: temporary, swept.
//!
//! # What is at the path
//! ([`lock_directory`]) A user may lock an ordinary folder. A directory is taken over only if it is empty or holds nothing but
//! a readable `owner.json` of a dead holder. A few small files may be another program's lock and are waited for; anything
//! else is refused. No tree is ever removed: only known files, one by one, and then the empty directory.
//!
//! # Other users
//! ([`neighbours`]) In a directory that everybody may write to, entries of other users are read and waited for, but not
//! removed, renamed or reused. The directory of the records may be another user's, if everybody may change it. It is held
//! open from the look at the highest record to the release, and all records are written relative to that descriptor
//! ([`record_log`]): what somebody puts in its place is never followed.
//!
//! # Taking
//! ([`attempt`]) A record is a finished file that link(2) gives the name `<n+1>.json`, n being the highest that
//! stands: of several takers exactly one succeeds. n may be followed when it is absent, was given back, or its
//! holder is dead by the [`liveness`]. After the link the record must be the highest, else the taker starts
//! again: a slow one can link a number whose owner has long been followed and removed. Then lower records are
//! removed and K is published without replacing anything. Another program's K is waited for before there is a record
//! of ours: the record of one who only waits would keep others out while its process is stopped.
//!
//! # Giving back
//! K is moved to the spare (or, where there is one, to a tombstone), then `<n>.json` is renamed to `<n>.free`, then
//! the guard is unlocked. Four renames, a link, two unlinks and one new file of a kilobyte are all that a taking and
//! its release change on disk: no directory is made or removed, no file is replaced.
//!
//! # Modes
//! *Kernel*, on filesystems of the allow list, decided by statfs before any lock call: first flock on the guard. It
//! orders our takers and makes death visible at once: a record in kernel mode whose guard is the one we have locked
//! has a dead holder. A record with another guard, mode or boot needs the verdict. *Lease*, elsewhere or asked for:
//! no flock to take it, and none at all where that cannot be trusted. A living holder changes its record each third
//! of its lease; one that was not seen to change for one and a half leases is followed. A holder stops itself at
//! nine tenths of its lease. Holders beat in both modes, so that a container and its host can share a directory.
//!
//! # Waiting
//! One thread ([`reactor`]) waits for all callers, and takes for them what is free: a caller costs two changes of
//! thread. Another one ([`alarm`]) tells the ends of waits and leases where a filesystem does not answer. The
//! callers of one lock in one process stand in a queue ([`group`]) of which only the first tries. The guard is kept
//! open, unlocked, while waiting: closing it would wake the waiters of all other processes.
//!
//! A free lock in memory (tmpfs), where no call waits for a disk, is taken on the caller's own thread
//! ([`take_now`]). That is faster than a waiter wakes up, and a process that loops would always be first: so who
//! waits in kernel mode marks the guard, and who comes and finds the mark goes the waiters' way.
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

mod alarm;
mod attempt;
mod fence;
mod group;
mod guard_file;
mod handle;
mod heartbeat;
mod heirs;
mod hold_state;
mod inspect;
mod liveness;
mod lock_directory;
mod neighbours;
mod path;
mod reactor;
mod record;
mod record_file;
mod record_log;
mod shared;
mod staleness;
mod sweep;
mod waiter;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::oneshot;

pub use fence::publish_fenced;
pub use handle::{Held, Release};
pub use inspect::{Inspection, inspect};
pub use path::LockPath;
pub use record::{Failure, Holder, Mode, OwnerFormat, Progress, Record};
pub use sweep::{Swept, sweep};
pub use waiter::{Acquired, OnWait};

use crate::core::error::{Code, Error, Result};
use crate::core::sys::cancel::Cancel;
use crate::core::sys::deadline::Deadline;
pub use crate::core::sys::identity::Liveness;
use crate::core::sys::{fs, thread};

use attempt::Attempt;
use reactor::Mailbox;
use waiter::{Answer, Outcome, Waiter, WaiterId};

/// What a taker asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ModeChoice {
    /// By the type of the filesystem.
    Auto,
    /// flock, or an error where it cannot be trusted.
    Kernel,
    /// No flock to take it.
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
    /// Set by [`Wait`].
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
    cancel.check()?;
    if let Some(acquired) = take_now(&lock, &request)? {
        return Ok(acquired);
    }
    let (sender, answer) = oneshot::channel();
    let wait = Wait::for_lock(lock, request, deadline, on_wait, move |acquired| {
        drop(sender.send(acquired));
    });
    let _place = GivenBack(wait.place());
    Queue::find(&wait.waiter.lock, wait.waiter.request.mode)?.enter(wait);
    tokio::select! {
        biased;
        () = cancel.cancelled() => Err(Cancel::error()),
        answer = answer => answer.unwrap_or_else(|_| Err(Error::new(Code::Closed, "the thread that waits for locks has ended")))
    }
}

/// Takes a free lock on the caller's own thread, where nothing can make that wait: its directory is known to be in
/// memory. `None` where the lock has to be waited for, or somebody waits for it already.
///
/// # Errors
/// As [`acquire`].
pub fn take_now(lock: &LockPath, request: &Request) -> Result<Option<Acquired>> {
    let is_quick = held(&PARENTS)
        .get(lock.parent())
        .is_some_and(|device| device.is_in_memory && device.trusted);
    if !is_quick || request.mode == ModeChoice::Lease {
        return Ok(None);
    }
    // Those of this process are served in the order of their calls.
    if waiter::is_any_for(lock) || guard_file::has_line(lock).unwrap_or(true) {
        return Ok(None);
    }
    let Some(queue) = Queue::known(lock, request.mode)? else {
        return Ok(None);
    };
    let taken = Attempt::new(lock, Arc::new(request.clone()))?.take_now()?;
    Ok(taken.map(|held| {
        queue.0.watch_later(&held);
        Acquired {
            held,
            waited_since: None,
        }
    }))
}

/// One call that has not entered a queue yet.
pub struct Wait {
    waiter: Waiter,
    place: Place,
}

impl Wait {
    /// For the lock. `answer` is called once, on another thread or by [`Place::give_up`].
    pub fn for_lock(
        lock: LockPath,
        request: Request,
        deadline: Deadline,
        on_wait: Option<OnWait>,
        answer: impl FnOnce(Result<Acquired>) + Send + 'static,
    ) -> Self {
        Self::new(lock, request, deadline, on_wait, |outcome| {
            answer(outcome.map(|outcome| match outcome {
                Outcome::Acquired(acquired) => acquired,
                Outcome::Vacant { .. } => unreachable!("only asked for by for_vacancy"),
            }));
        })
    }

    /// Until nobody holds the lock. Takes nothing from anybody living, but removes what a dead holder left: `true`
    /// where there was such a thing.
    pub fn for_vacancy(
        lock: LockPath,
        request: Request,
        deadline: Deadline,
        on_wait: Option<OnWait>,
        answer: impl FnOnce(Result<bool>) + Send + 'static,
    ) -> Self {
        let request = Request {
            goal: Goal::Vacancy,
            ..request
        };
        Self::new(lock, request, deadline, on_wait, |outcome| {
            answer(outcome.map(|outcome| match outcome {
                Outcome::Vacant { orphaned } => orphaned,
                Outcome::Acquired(_) => unreachable!("only asked for by for_lock"),
            }));
        })
    }

    fn new(
        lock: LockPath,
        request: Request,
        deadline: Deadline,
        on_wait: Option<OnWait>,
        receiver: impl FnOnce(Result<Outcome>) + Send + 'static,
    ) -> Self {
        let answer = Answer::new(Box::new(receiver));
        let waiter = Waiter::new(lock, Arc::new(request), deadline, on_wait, answer.clone());
        let place = Place {
            id: waiter.id,
            answer,
            mailbox: Arc::default(),
        };
        Self { waiter, place }
    }

    /// For whoever may give up, also before there is a queue.
    pub fn place(&self) -> Place {
        self.place.clone()
    }

    /// The lock, and how it is asked for: what [`Queue::known`] wants to know.
    pub fn what(&self) -> (LockPath, ModeChoice) {
        (self.waiter.lock.clone(), self.waiter.request.mode)
    }

    /// Ends before it has begun.
    pub fn fail(self, error: Error) {
        self.waiter.fail(error);
    }
}

/// The thread that waits for the locks of local filesystems, or of one other device: a network that hangs must not stop
/// those who wait for another lock.
#[derive(Clone)]
pub struct Queue(Arc<Mailbox>);

/// What the directory of a lock is on.
#[derive(Clone, Copy)]
struct Device {
    number: u64,
    trusted: bool,
    is_in_memory: bool,
}

/// Parent directories that were looked at, so that their next caller need not ask on a thread of its own. What it decides
/// is only which thread looks: the mode is decided anew with each taking.
static PARENTS: LazyLock<Mutex<HashMap<PathBuf, Device>>> = LazyLock::new(Mutex::default);
/// More than any program has; one that makes them up begins anew.
const MAX_PARENTS: usize = 1024;
/// How much later than its deadline a call ends whose filesystem has not said what it is: a passed deadline is for one try.
const UNANSWERED: Duration = Duration::from_millis(500);
/// Who waits until a filesystem has said what it is, by parent directory: for each one thread asks.
static ASKING: LazyLock<Mutex<HashMap<PathBuf, Vec<Wait>>>> = LazyLock::new(Mutex::default);

impl Queue {
    /// Where it is known without a system call.
    ///
    /// # Errors
    /// `ERR_IO` where the process has no threads or descriptors left.
    pub fn known(lock: &LockPath, mode: ModeChoice) -> Result<Option<Self>> {
        let known = held(&PARENTS).get(lock.parent()).copied();
        known.map(|device| Self::of(device, mode)).transpose()
    }

    /// Asks the filesystem.
    ///
    /// # Errors
    /// Those of its calls.
    pub fn find(lock: &LockPath, mode: ModeChoice) -> Result<Self> {
        if let Some(queue) = Self::known(lock, mode)? {
            return Ok(queue);
        }
        let filesystem = lock.filesystem()?;
        let device = Device {
            trusted: filesystem.trusted,
            is_in_memory: filesystem.is_in_memory(),
            number: fs::stat_followed(lock.parent())?.device,
        };
        let mut parents = held(&PARENTS);
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

    /// A process that had no thread or descriptor left may have some later.
    fn started(device: Option<u64>, name: &str) -> Result<Self> {
        static RUNNING: LazyLock<Mutex<HashMap<Option<u64>, Arc<Mailbox>>>> = LazyLock::new(Mutex::default);
        let mut running = held(&RUNNING);
        if let Some(mailbox) = running.get(&device).filter(|mailbox| !mailbox.has_ended()) {
            return Ok(Self(Arc::clone(mailbox)));
        }
        let mailbox = Mailbox::start(name)?;
        running.insert(device, Arc::clone(&mailbox));
        Ok(Self(mailbox))
    }

    /// Lets a call wait.
    pub fn enter(self, mut wait: Wait) {
        if let Err(error) = wait.waiter.set_alarm() {
            return wait.fail(error);
        }
        drop(wait.place.mailbox.set(Arc::clone(&self.0)));
        self.0.wait(wait.waiter);
    }

    /// Lets a call wait whose filesystem is asked on a thread of its own: one that does not answer stops neither the caller
    /// nor anybody who works elsewhere, and costs one thread for each directory, however many ask.
    pub fn find_apart(mut wait: Wait) {
        if let Err(error) = wait.waiter.set_alarm_after(UNANSWERED) {
            return wait.fail(error);
        }
        let lock = wait.waiter.lock.clone();
        let parent = lock.parent().to_path_buf();
        let mut asking = held(&ASKING);
        let waits = asking.entry(parent).or_default();
        waits.push(wait);
        let is_first = waits.len() == 1;
        drop(asking);
        if !is_first {
            return;
        }
        let apart = lock.clone();
        let started = thread::spawn("warmswap-find", move || {
            drop(Self::find(&apart, ModeChoice::Auto));
            Self::enter_found(&apart);
        });
        if let Err(refused) = started {
            let waits = held(&ASKING).remove(lock.parent());
            for wait in waits.into_iter().flatten() {
                wait.fail(refused.again());
            }
        }
    }

    /// Whoever has waited for the answer of this lock's filesystem.
    fn enter_found(lock: &LockPath) {
        let waits = held(&ASKING).remove(lock.parent());
        for wait in waits.into_iter().flatten() {
            match Self::find(lock, wait.waiter.request.mode) {
                Ok(queue) => queue.enter(wait),
                Err(error) => wait.fail(error),
            }
        }
    }
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A place in a queue.
#[derive(Clone)]
pub struct Place {
    id: WaiterId,
    answer: Answer,
    mailbox: Arc<OnceLock<Arc<Mailbox>>>,
}

impl Place {
    /// Answers `ERR_ABORTED` at once, unless there is an answer already.
    pub fn give_up(&self) {
        if self.answer.give(Err(Cancel::error()))
            && let Some(mailbox) = self.mailbox.get()
        {
            mailbox.forget(self.id);
        }
    }
}

/// A place that is given back when its future ends.
struct GivenBack(Place);

impl Drop for GivenBack {
    fn drop(&mut self) {
        self.0.give_up();
    }
}
