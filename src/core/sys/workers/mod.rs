//! Threads for calls that block: started on demand, shared, and bounded for each filesystem, so that one that does not
//! answer (a dead mount) cannot use up the threads of the others.
//!
//! Which filesystem a path is on only the filesystem can say, and one that hangs does not. So each job begins by asking
//! (one `stat`). Of the jobs with the same path only one asks at a time, and the others wait for its answer; so do those
//! on one remote mount once several paths are asked for. A job that knows its device counts there, at most
//! [`Class::limit`] at a time. A mount that hangs so keeps a handful of threads, or [`Class::limit`] if it hangs later.
//!
//! Nobody waits for a thread: a call that gives up drops its future, and a job that has not begun then is skipped.

mod call;
mod job;
mod pool;

pub(super) use call::detach_name;
pub use call::{Running, detach, run, run_at, start, step, within};
pub use job::Class;
