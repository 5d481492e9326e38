//! Work for a thread, and the group that it is counted in.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;

use tokio::sync::oneshot;

use crate::core::error::{Error, Result};
use crate::core::sys::fault;
use crate::core::sys::mounts::Mounts;

/// Number of concurrent probes of different paths from which those on one remote mount share a turn. So many probes
/// suggest that a mount hangs.
const MANY_PROBES: usize = 4;

/// What a job waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// Only the disk.
    Short,
    /// Also other jobs, other processes or the network. It must not block the jobs that it waits for.
    Long,
}

impl Class {
    fn limit(self) -> usize {
        match self {
            Self::Short => 16,
            Self::Long => 64,
        }
    }
}

/// Group in which jobs are counted.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum GroupKey {
    /// Jobs that determine the devices of these paths, or of the remote mounts that contain them.
    Probe(Vec<PathBuf>),
    Device(Class, u64),
    /// Resolution of host names, which needs no filesystem.
    Names,
}

impl GroupKey {
    pub(super) fn probe(class: Class, paths: &[PathBuf], probes: usize) -> Self {
        if fault::is_seeded("workers-shared") {
            return Self::Device(class, 0);
        }
        if probes < MANY_PROBES {
            return Self::Probe(paths.to_vec());
        }
        let mounts = Mounts::read();
        Self::Probe(
            paths
                .iter()
                .map(|path| mounts.place(path).to_path_buf())
                .collect(),
        )
    }

    pub(super) fn limit(&self) -> usize {
        match self {
            Self::Probe(_) => 1,
            Self::Device(class, _) => class.limit(),
            Self::Names => 64,
        }
    }
}

/// Work, and how its caller gets the result.
pub(super) trait Work: Send {
    /// Runs the work, or returns the error if there is no thread.
    fn run(self: Box<Self>, start: Result<()>);
    /// Whether the caller no longer waits for it.
    fn is_abandoned(&self) -> bool;
}

pub(super) struct Job {
    pub(super) class: Class,
    pub(super) paths: Vec<PathBuf>,
    pub(super) work: Box<dyn Work>,
}

pub(super) struct Answered<T, F> {
    pub(super) work: F,
    pub(super) caller: oneshot::Sender<Outcome<T>>,
    /// Whether the job runs even if no caller waits for it.
    pub(super) is_detached: bool,
}

pub(super) type Outcome<T> = std::result::Result<T, Stopped>;

pub(super) enum Stopped {
    Refused(Error),
    Panicked(Box<dyn Any + Send>),
}

impl<T: Send, F: FnOnce() -> T + Send> Work for Answered<T, F> {
    fn run(self: Box<Self>, start: Result<()>) {
        let Self { work, caller, .. } = *self;
        let outcome = match start {
            Ok(()) => std::panic::catch_unwind(AssertUnwindSafe(work)).map_err(Stopped::Panicked),
            Err(error) => Err(Stopped::Refused(error)),
        };
        // The caller may have given up. The result of the work is then dropped here, where it may block.
        drop(caller.send(outcome));
    }

    fn is_abandoned(&self) -> bool {
        !self.is_detached && self.caller.is_closed()
    }
}
