//! Explains the failure of an operation.

use opendal::ErrorKind;

use crate::core::caches::store::answer::{cause_of, letters};
use crate::core::caches::store::exchange::Exchange;
use crate::core::caches::store::failure::StoreResult;
use crate::core::caches::store::kind::Kind;
use crate::core::failure::{Cause, Failure};

/// Converts the result of an operation. OpenDAL reports success for a delete in a bucket that does not exist.
pub(super) fn conclude<T>(result: opendal::Result<T>, exchange: &Exchange, path: &str) -> StoreResult<T> {
    let result = result.and_then(|value| match exchange.code().as_str() {
        "NoSuchBucket" | "ContainerNotFound" => {
            Err(opendal::Error::new(ErrorKind::ConfigInvalid, "no such bucket"))
        }
        _ => Ok(value),
    });
    result.map_err(|error| explain(&error, exchange, path))
}

fn explain(error: &opendal::Error, exchange: &Exchange, path: &str) -> Failure {
    // In that case the last status belongs to the clean-up.
    if exchange.is_cancelled() {
        return Failure::new(Cause::Aborted, "the call has ended");
    }
    if let Some(failure) = exchange.failure() {
        if let Some(missing) = missing_credentials(&failure, exchange) {
            return missing;
        }
        return Failure::new(failure.cause, format!("'{path}': {}", failure.error.message));
    }
    if !exchange.has_reached_store() {
        // reqsign's messages name providers, never values. The kind of the error decides the cause.
        let cause = match error.kind() {
            ErrorKind::ConfigInvalid | ErrorKind::Unsupported => Cause::Misconfigured,
            _ => Cause::CredentialsMissing,
        };
        return Failure::new(
            cause,
            format!(
                "no usable credentials ({}). {}",
                error.kind(),
                exchange.kind().credentials_advice()
            ),
        );
    }
    let status = exchange.status();
    let code = match exchange.code() {
        code if code.is_empty() => letters(error.message().split_once("code: \"").map(|(_, rest)| rest)),
        code => code,
    };
    let cause = if exchange.named_endpoint().is_some() {
        Cause::Misconfigured
    } else {
        cause_of(&code).unwrap_or_else(|| cause_of_status(error.kind(), status, &code))
    };
    let region = exchange.named_region().map_or_else(String::new, |region| {
        format!(". The bucket is in region '{region}'. Set the region of the store")
    });
    let space = if code.is_empty() { "" } else { " " };
    let advice = advice(cause, status, &code, exchange);
    Failure::new(
        cause,
        format!("'{path}': the store responded with {status}{space}{code}{region}{advice}"),
    )
}

/// Failure of the last source of credentials. A metadata server that cannot be reached is the usual end of the chains of
/// Google and Azure outside their clouds.
fn missing_credentials(failure: &Failure, exchange: &Exchange) -> Option<Failure> {
    let is_unreachable = failure.cause == Cause::Unavailable && !exchange.has_reached_store();
    (is_unreachable && exchange.kind() != Kind::S3).then(|| {
        let advice = exchange.kind().credentials_advice();
        let message = format!("no usable credentials ({}). {advice}", failure.error.message);
        Failure::new(Cause::CredentialsMissing, message)
    })
}

/// Cause of a failure by its status, for an error name that is not specific.
fn cause_of_status(kind: ErrorKind, status: u16, code: &str) -> Cause {
    match (kind, status) {
        (ErrorKind::ConfigInvalid, _) => Cause::Misconfigured,
        (_, 404) | (ErrorKind::NotFound, _) => Cause::NotFound,
        (_, 401) => Cause::CredentialsRefused,
        (_, 403) => Cause::Denied,
        (_, 412) | (ErrorKind::ConditionNotMatch, _) => Cause::Changed,
        (_, 409) => Cause::Conflict,
        (_, 507) => Cause::NoSpace,
        (_, 200..=299) if !code.is_empty() => Cause::Unavailable,
        (_, 200..=299 | 416) => Cause::Malformed,
        (_, 408 | 425 | 429) => Cause::Unavailable,
        (_, 300..=499 | 501) => Cause::Misconfigured,
        _ => Cause::Unavailable,
    }
}

/// Advice for responses that do not name a solution.
fn advice(cause: Cause, status: u16, code: &str, exchange: &Exchange) -> String {
    /// Errors of AWS and R2 about the region that a request is signed for.
    const REGION: [&str; 8] = [
        "AuthorizationHeaderMalformed",
        "AuthorizationQueryParametersError",
        "IllegalLocationConstraintException",
        "InvalidLocationConstraint",
        "InvalidRegionName",
        "PermanentRedirect",
        "Redirect",
        "TemporaryRedirect",
    ];
    let signed_for = exchange.region().unwrap_or_default();
    if let Some(endpoint) = exchange.named_endpoint() {
        return format!(
            ". The bucket is at '{endpoint}'. Set the endpoint of the store, or its region (currently '{signed_for}')"
        );
    }
    if exchange.named_region().is_some() {
        return String::new();
    }
    if exchange.region().is_some() && (matches!(status, 300..=399) || REGION.contains(&code)) {
        return format!(
            ". The bucket is in another region or at another endpoint, which the store does not name. Set the region (currently '{signed_for}') or the endpoint of the store"
        );
    }
    match code {
        "RequestTimeTooSkewed" => {
            ". The clock of this machine differs too much from that of the store".to_owned()
        }
        // Alibaba OSS, Tencent COS.
        "SecondLevelDomainForbidden" | "PathStyleDomainForbidden" => {
            ". Set pathStyle of the store to false".to_owned()
        }
        _ if exchange.asked_pause() > 0 => {
            format!(
                ". Try again after {} s, as the store requests",
                exchange.asked_pause()
            )
        }
        _ if cause == Cause::Denied
            && exchange.was_reading()
            && matches!(code, "" | "AccessDenied" | "forbidden") =>
        {
            exchange
                .kind()
                .list_permission()
                .map_or_else(String::new, |permission| {
                    format!(
                        ". Without the permission {permission}, a missing object is reported in the same way"
                    )
                })
        }
        _ => String::new(),
    }
}
