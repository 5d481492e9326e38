//! Threads for blocking calls. They are started on demand, shared, and limited per filesystem, so that one that does
//! not respond (a dead mount) cannot occupy the threads of the others.
//!
//! Only the filesystem itself can report which one a path is on, and one that hangs does not. Each job therefore begins
//! with a probe (one `stat`). Of the jobs with the same path, only one probes at a time, and the others wait for its
//! result. The same applies to the jobs on one remote mount when several paths are probed. A job whose device is known
//! is counted there, with at most [`Class::limit`] at a time. A mount that hangs therefore occupies only a few threads,
//! or [`Class::limit`] if it hangs later.
//!
//! No caller has to wait for a thread: a call that gives up drops its future, and a job that has not begun is then
//! skipped.

mod call;
mod job;
mod pool;

pub(super) use call::detach_name;
pub use call::{Running, detach, run, run_at, start, step, within};
pub use job::Class;
