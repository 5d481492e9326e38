//! Locks: a killed holder never blocks anybody, a living one is never robbed.
//!
//! # Files
//! For a lock at `<dir>/K` (see docs/protocol.md, "Locks", for their contents):
//!
//! * `K/owner.json`: what mkdir locks look at. The directory appears finished and leaves in one rename.
//! * `.K.guard`: under flock in kernel mode. Made once and never replaced; only a sweep removes it ([`disused`]).
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
//! # Sweeping
//! ([`sweep`], [`disused`]) What killed processes left is removed. So are guard, records and spare of a lock that nobody has
//! used for a day: by its holder, which the sweep becomes for that.
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
//! ([`try_acquire_inline`]). That is faster than a waiter wakes up, and a process that loops would always be first: so who
//! waits in kernel mode marks the guard, and who comes and finds the mark goes the waiters' way.
//!
//! # Guarantees
//! docs/guarantees/locks.md lists them, each with its tests.
//!
//! # What is not promised
//! * Lease mode excludes as long as a holder that was stopped (SIGSTOP, a frozen VM) for longer than its lease
//!   looks before it acts: `assert_held`, the lost signal, `publish`. Two system calls of a holder that is stopped
//!   in between are the window.
//! * A lock that is free again does not mean that the dead holder's children have stopped: fence what they write.
//! * Among mkdir locks of other programs their own races remain.
//! * Whoever waited longest is not always next: between processes the kernel decides.

mod acquire;
mod alarm;
mod attempt;
mod attempt_context;
mod blocker;
mod disused;
mod fence;
mod group;
mod guard_file;
mod handle;
mod heartbeat;
mod heirs;
mod hold_files;
mod hold_state;
mod inspect;
mod inspection;
mod liveness;
mod lock_directory;
mod neighbours;
mod new_record;
mod obstacles;
mod path;
mod prepared_directory;
mod queue;
mod reactor;
mod record;
mod record_file;
mod record_log;
mod record_name;
mod removal;
mod request;
mod scope;
mod shared;
mod staleness;
mod sweep;
mod wait;
mod waiter;

pub use acquire::{acquire, try_acquire_inline};
pub use fence::publish_fenced;
pub use handle::{LockHandle, Release};
pub use inspect::inspect;
pub use inspection::Inspection;
pub use path::LockPath;
pub use record::{FailedRun, Holder, HolderProgress, LockMode, OwnerFormat, Record};
pub use request::{Goal, ModeChoice, Request, WaitInfo};
pub use scope::LockScope;
pub use sweep::{Swept, sweep};
pub use waiter::{Acquired, OnWait};

pub use crate::core::sys::identity::Liveness;
