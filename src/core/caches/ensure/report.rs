//! What a caller learns during a call of `ensure`, and how it ends.

use std::path::PathBuf;

use super::wire::Facts;
use crate::core::caches::restore::RestoreReport;
use crate::core::failure::Failure;

/// How a caller got its tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Another caller built it, now or earlier.
    Restored,
    /// This caller built and published it.
    Built,
    /// This caller built it, and it was not published.
    Alone,
}

impl Role {
    /// The word that JavaScript sees.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Restored => "restored",
            Self::Built => "built",
            Self::Alone => "alone",
        }
    }
}

/// How a call of `ensure` that succeeded got its tree.
#[derive(Debug, Clone)]
pub struct EnsureReport {
    /// In one word.
    pub role: Role,
    /// Why it was built alone. Human-readable.
    pub reason: Option<String>,
    /// The generation. None for a tree that was not published.
    pub generation: Option<String>,
    /// The restore, for [`Role::Restored`].
    pub restore: Option<RestoreReport>,
    /// Milliseconds of the whole call.
    pub ms: f64,
}

/// Why a call of `ensure` has no tree. The target is unchanged.
#[derive(Debug, Clone)]
pub enum EnsureFailure {
    /// The build of this caller failed.
    Build(String),
    /// The build of another caller failed, which this call waited for.
    SharedBuild(String),
    /// A step other than the build failed.
    Step(Failure),
    /// The restore ended without the tree.
    Restore(Box<RestoreReport>),
}

impl From<Failure> for EnsureFailure {
    fn from(failure: Failure) -> Self {
        Self::Step(failure)
    }
}

/// What happens during a call.
#[derive(Debug, Clone, PartialEq)]
pub enum EnsureEvent {
    /// Another caller builds.
    Waiting {
        /// Who, and what it is doing.
        facts: Facts,
        /// Milliseconds since the call began.
        waited_ms: f64,
        /// Milliseconds until it may be taken over if its record stays unchanged.
        lease_left_ms: f64,
    },
    /// The build must stop: another caller may take over.
    Lost,
}

/// What the caller does next.
#[derive(Debug)]
pub enum EnsureStep {
    /// Build into this directory, then call [`EnsureCall::settle`](super::EnsureCall::settle). It can come again: a build
    /// whose lease was lost does not count.
    Build {
        /// An empty directory on the target's filesystem.
        directory: PathBuf,
        /// Why nobody else will get the tree, if that is known before the build.
        alone: Option<String>,
    },
    /// The call has ended.
    End(Box<Result<EnsureReport, EnsureFailure>>),
}
