//! What the failure of an operation means.

use opendal::ErrorKind;

use crate::core::caches::store::answer::{cause_of, letters};
use crate::core::caches::store::exchange::Exchange;
use crate::core::caches::store::failure::StoreResult;
use crate::core::failure::{Cause, Failure};

/// The result of an operation. OpenDAL reports success for a delete in a bucket that does not exist.
pub(super) fn conclude<T>(result: opendal::Result<T>, exchange: &Exchange, path: &str) -> StoreResult<T> {
    let result = result.and_then(|value| match exchange.code().as_str() {
        "NoSuchBucket" => Err(opendal::Error::new(ErrorKind::ConfigInvalid, "no such bucket")),
        _ => Ok(value),
    });
    result.map_err(|error| explain(&error, exchange, path))
}

fn explain(error: &opendal::Error, exchange: &Exchange, path: &str) -> Failure {
    // The last status is then that of tidying up.
    if exchange.is_cancelled() {
        return Failure::new(Cause::Aborted, "the call has ended");
    }
    if let Some(failure) = exchange.failure() {
        return Failure::new(failure.cause, format!("'{path}': {}", failure.error.message));
    }
    if !exchange.has_reached_store() {
        // reqsign's messages name providers, never values; the kind tells the rest.
        let cause = match error.kind() {
            ErrorKind::ConfigInvalid | ErrorKind::Unsupported => Cause::Misconfigured,
            _ => Cause::CredentialsMissing,
        };
        return Failure::new(
            cause,
            format!(
                "no usable credentials: set them in the environment, a profile, the pod's identity or the store ({})",
                error.kind()
            ),
        );
    }
    let status = exchange.status();
    let code = match exchange.code() {
        code if code.is_empty() => letters(error.message().split_once("code: \"").map(|(_, rest)| rest)),
        code => code,
    };
    let cause = cause_of(&code).unwrap_or(match (error.kind(), status) {
        (ErrorKind::ConfigInvalid, _) => Cause::Misconfigured,
        (_, 404) | (ErrorKind::NotFound, _) => Cause::NotFound,
        (_, 401) => Cause::CredentialsRefused,
        (_, 403) => Cause::Denied,
        (_, 412) | (ErrorKind::ConditionNotMatch, _) => Cause::Changed,
        (_, 409) => Cause::Conflict,
        (_, 300..=399 | 400 | 405 | 501) => Cause::Misconfigured,
        (_, 507) => Cause::NoSpace,
        (_, 200..=299) if !code.is_empty() => Cause::Unavailable,
        (_, 200..=299 | 416) => Cause::Malformed,
        _ => Cause::Unavailable,
    });
    let region = exchange.named_region().map_or_else(String::new, |region| {
        format!(" (the bucket is in region '{region}')")
    });
    let hides =
        cause == Cause::Denied && exchange.was_reading() && matches!(code.as_str(), "" | "AccessDenied");
    let hint = if hides {
        "; a missing object is answered like this too where s3:ListBucket is not granted"
    } else {
        ""
    };
    let space = if code.is_empty() { "" } else { " " };
    Failure::new(
        cause,
        format!("'{path}': the store answered {status}{space}{code}{region}{hint}"),
    )
}
