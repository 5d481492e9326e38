//! Work for a thread, and what it is counted by.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;

use tokio::sync::oneshot;

use crate::core::error::{Error, Result};
use crate::core::sys::fault;
use crate::core::sys::mounts::Mounts;

/// From so many paths on that are asked for at the same time, which is a sign of one that hangs, those on one remote mount
/// share a turn.
const MANY_PROBES: usize = 4;

/// What a job waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// Only the disk.
    Short,
    /// Also other jobs, other processes or the network: it must not keep those from running that it waits for.
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

/// What jobs are counted by.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum GroupKey {
    /// Jobs that ask for the devices of these paths, or of the remote mounts that they are on.
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

/// Work, and how its caller hears of it.
pub(super) trait Work: Send {
    /// Runs, or answers with the reason why there is no thread.
    fn run(self: Box<Self>, start: Result<()>);
    /// Whether nobody waits for it any more.
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
    /// A job that nobody waits for is done all the same.
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
        // The caller may have given up: what the work made is dropped here, where it may block.
        drop(caller.send(outcome));
    }

    fn is_abandoned(&self) -> bool {
        !self.is_detached && self.caller.is_closed()
    }
}
