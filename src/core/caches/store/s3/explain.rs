//! What the failure of an operation means.

use opendal::ErrorKind;

use crate::core::caches::store::exchange::Exchange;
use crate::core::failure::{Cause, Failure};

pub(super) fn explain(error: &opendal::Error, exchange: &Exchange, path: &str) -> Failure {
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
    let code = code_of(error);
    let cause = match (error.kind(), status) {
        (ErrorKind::ConfigInvalid, _) => Cause::Misconfigured,
        (_, 404) | (ErrorKind::NotFound, _) => Cause::NotFound,
        (_, 401 | 403) => Cause::Denied,
        (_, 412) | (ErrorKind::ConditionNotMatch, _) => Cause::Changed,
        (_, 409) => Cause::Conflict,
        (_, 300..=399 | 400 | 405 | 501) => Cause::Misconfigured,
        // The error of a completion, which S3 names after it has begun to answer 200.
        (_, 200..=299) if !code.is_empty() => Cause::Unavailable,
        (_, 200..=299 | 416) => Cause::Malformed,
        _ => Cause::Unavailable,
    };
    let region = exchange.named_region().map_or_else(String::new, |region| {
        format!(" (the bucket is in region '{region}')")
    });
    Failure::new(
        cause,
        format!("'{path}': the store answered {status}{code}{region}"),
    )
}

/// S3's own word for it, such as ` NoSuchBucket`: letters only, so that nothing else of the answer, which may
/// repeat the request, gets into a message.
fn code_of(error: &opendal::Error) -> String {
    let after = error
        .message()
        .split_once("code: \"")
        .map_or("", |(_, rest)| rest);
    let code: String = after
        .chars()
        .take_while(char::is_ascii_alphanumeric)
        .take(64)
        .collect();
    if code.is_empty() { code } else { format!(" {code}") }
}
