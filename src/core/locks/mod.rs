//! Locks: a killed holder never blocks others, and the lock of a live holder is never stolen.
//!
//! # Files
//! The files of a lock at `<dir>/K` (docs/protocol/locks.md, "Locks", describes their contents):
//!
//! * `K/owner.json`: what mkdir locks check. The directory appears complete and is removed by one rename.
//! * `.K.guard`: under flock in kernel mode. Created once and never replaced. Only a sweep removes it ([`disused`]).
//! * `.K.lease/<n>.json`: numbered records, which decide in both modes. The highest one counts. Renamed to `<n>.free`
//!   by a
//!   release.
//! * `.K.spare`: directory of the last holder, reused by the next one.
//! * `.K.observed`: since when an unverifiable state has not changed.
//! * `.K.<token>.tmp`, `.K.<uuid>.next.tmp`, `.K.<uuid>.tomb`: temporary, removed by a sweep.
//!
//! # An ordinary directory at the path ([`lock_directory`]) A user may lock an ordinary directory. A directory is taken
//! over only if it is empty or contains nothing but a readable `owner.json` of a dead holder. A few small files may be
//! another program's lock, so callers wait for them. Anything else is refused. No tree is ever removed: only known
//! files, one by one, and then the empty directory.
//!
//! # Other users ([`neighbours`]) In a directory that everybody may write to, entries of other users are read and
//! waited for, but not removed, renamed or reused. The directory of the records may belong to another user, if
//! everybody may change it. It is kept open from the first read of the highest record to the release. All records are
//! written relative to that descriptor ([`record_log`]), so a replacement at its path is never followed.
//!
//! # Acquiring
//! ([`attempt`]) A record is a complete file that link(2) gives the name `<n+1>.json`, where n is the highest existing
//! number. Exactly one of several acquirers succeeds. Record n may be superseded if it does not exist, was released, or
//! its holder is dead according to [`liveness`]. After the link, the record must be the highest one. Otherwise the
//! acquirer starts again: a slow one can link a number whose holder was superseded and removed long ago. Then lower
//! records are removed, and K is published without replacing anything. An acquirer waits for another program's K before
//! it links a record. Otherwise the record of a waiter would block others while its process is stopped.
//!
//! # Releasing K is moved to the spare (or to a tombstone, if there already is a spare). Then `<n>.json` is renamed to
//! `<n>.free`, and the guard is unlocked. Acquiring and releasing together change the disk by four renames, a link, two
//! unlinks and one new file of a kilobyte. No directory is created or removed, and no file is replaced.
//!
//! # Sweeping ([`sweep`], [`disused`]) A sweep removes what killed processes left. It also removes guard, records and
//! spare of a lock that was not used for a day. For that it first acquires the lock.
//!
//! # Modes
//! *Kernel* mode is for filesystems on the allow list, which statfs decides before any lock call. It starts with flock
//! on the guard. The guard serialises the acquirers of warmswap and makes death visible immediately: if a record in
//! kernel mode names the guard that we have locked, its holder is dead. A record with another guard, mode or boot needs
//! the check in [`liveness`]. *Lease* mode is for all other filesystems, or on request. It acquires without flock, and
//! never calls flock where it is not trusted. A live holder changes its record at every third of its lease. A record
//! that did not change for one and a half leases is superseded. A holder gives up at nine tenths of its lease. Holders
//! send heartbeats in both modes, so that a container and its host can share a directory.
//!
//! # Waiting One thread ([`reactor`]) waits for all callers and acquires free locks for them, so that a caller costs
//! two thread switches. Another thread ([`alarm`]) ends waits and leases on time if a filesystem does not respond. The
//! callers of one lock in one process form a queue ([`group`]), of which only the first one makes attempts. While
//! waiting, the guard is kept open and unlocked: closing it would wake the waiters of all other processes.
//!
//! A free lock in memory (tmpfs), where no call waits for a disk, is acquired on the calling thread
//! ([`try_acquire_inline`]). That is faster than a waiter wakes up, so a process that acquires in a loop would always
//! be first. Waiters in kernel mode therefore mark the guard, and a caller that finds the mark joins the queue.
//!
//! # Guarantees
//! docs/guarantees/locks.md lists them, each with its tests.
//!
//! # Limits
//! * In lease mode, exclusion depends on a holder that was stopped (SIGSTOP, a frozen VM) for longer than its lease. It
//!   has to check before it acts: `assert_held`, the lost signal or `publish`. The race window is two system calls.
//! * A free lock does not mean that the dead holder's children have stopped. Use fencing for what they write.
//! * The races of mkdir locks of other programs among themselves remain.
//! * The longest waiter is not always next: between processes, the kernel decides.

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
