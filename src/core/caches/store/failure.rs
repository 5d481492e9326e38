//! Failures of stores.

use std::io::ErrorKind;

use crate::core::error::{self, Code, Error};
use crate::core::failure::{Cause, Failure, Result, Stage};

/// Result of a store operation.
pub type StoreResult<T> = Result<T>;

/// Converts the error of a system call to a failure of a store.
pub(in crate::core::caches) trait InStore<T> {
    /// Converts the error. See [`of_system`].
    fn in_store(self) -> StoreResult<T>;
}

impl<T> InStore<T> for error::Result<T> {
    fn in_store(self) -> StoreResult<T> {
        self.map_err(of_system)
    }
}

/// Failure of a store whose system call failed. A file that does not exist is a missing object.
pub(in crate::core::caches) fn of_system(error: Error) -> Failure {
    let cause = match (error.code, error.kind()) {
        (Code::Aborted, _) => Cause::Aborted,
        (Code::Untrusted, _) | (_, Some(ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem)) => {
            Cause::Denied
        }
        (_, Some(ErrorKind::NotFound | ErrorKind::NotADirectory)) => Cause::NotFound,
        (_, Some(ErrorKind::StorageFull | ErrorKind::QuotaExceeded)) => Cause::NoSpace,
        _ => Cause::Other,
    };
    Failure {
        cause,
        stage: None,
        error,
    }
}

/// Sets the stage of a store's failure. Missing credentials have their own stage, whatever they are needed for.
pub(in crate::core::caches) fn during(failure: Failure, stage: Stage) -> Failure {
    let stage = match failure.cause {
        Cause::CredentialsMissing | Cause::CredentialsTimeout => Stage::Credentials,
        _ => stage,
    };
    failure.during(stage)
}
