//! Parser for response bodies: XML of S3 and Azure, JSON of Cloud Storage. An error of S3 can also be in a response with
//! status 200.

use http::StatusCode;

use super::exchange::STAT;
use crate::core::failure::Cause;

/// Number of bytes that must contain the first element of a document.
const BEGINNING: usize = 1024;

/// What Cloud Storage reports for a bucket that does not exist. Its name for the error is that of a missing object.
const NO_BUCKET: &str = "The specified bucket does not exist";

/// Errors after which the same request can succeed.
const TRANSIENT: [&str; 13] = [
    "InternalError",
    "OperationAborted",
    "RequestTimeout",
    "ServiceUnavailable",
    "SlowDown",
    "TooManyRequests",
    "XMinioServerNotInitialized",
    // Azure.
    "OperationTimedOut",
    "ServerBusy",
    // Cloud Storage.
    "backendError",
    "internalError",
    "rateLimitExceeded",
    "userRateLimitExceeded",
];

/// Errors about the credentials, as reported by any store. They do not concern permissions.
const CREDENTIALS: [&str; 20] = [
    "AccountProblem",
    "ExpiredToken",
    "ExpiredTokenException",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "InvalidSecurity",
    "InvalidSecurityToken",
    "InvalidToken",
    "NotSignedUp",
    "RequestTimeTooSkewed",
    "SecurityTokenExpired",
    "SignatureDoesNotMatch",
    "TokenRefreshRequired",
    "Unauthorized",
    "UnrecognizedClientException",
    // Azure.
    "AuthenticationFailed",
    "InvalidAuthenticationInfo",
    "NoAuthenticationInformation",
    // Cloud Storage.
    "accountDisabled",
    "authError",
];

/// Whether the response to this operation is a document with status 200. S3 starts to send it before it is complete, so it
/// can contain an error or end early. All of these requests are safe to repeat.
pub(super) fn is_document(operation: Option<&str>) -> bool {
    matches!(
        operation,
        Some(
            STAT | "CompleteMultipartUpload"
                | "CreateMultipartUpload"
                | "ListBlobs"
                | "ListObjects"
                | "ListObjectsV2"
        )
    )
}

/// Facts from the body of a response.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Answer {
    /// Name of the error, such as `NoSuchBucket`. Empty if there is none.
    pub(super) code: String,
    /// Region of the bucket, if the error names it.
    pub(super) region: Option<String>,
    /// Host that the error names for the bucket.
    pub(super) endpoint: Option<String>,
    /// Whether the same request can succeed when it is repeated.
    pub(super) is_transient: bool,
    /// Whether the document is truncated.
    pub(super) is_cut: bool,
}

impl Answer {
    /// Parses the body of a response. White space before the document only keeps the connection alive.
    pub(super) fn read(status: StatusCode, body: &[u8]) -> Self {
        let body = body.trim_ascii();
        if body.starts_with(b"{") {
            return Self::read_json(status, body);
        }
        // A page of a listing is large, and only its beginning and its end matter.
        let beginning = String::from_utf8_lossy(&body[..body.len().min(BEGINNING)]);
        let root = root(&beginning);
        if status.is_success() && root != "Error" {
            let is_whole =
                !root.is_empty() && (body.ends_with(format!("{root}>").as_bytes()) || body.ends_with(b"/>"));
            return Self {
                is_cut: !is_whole,
                ..Self::default()
            };
        }
        let text = String::from_utf8_lossy(body);
        let code = match letters(element(&text, "Code")) {
            code if code.is_empty() && text.starts_with(NO_BUCKET) => "NoSuchBucket".to_owned(),
            code => code,
        };
        let endpoint = element(&text, "Endpoint").filter(|host| is_host(host));
        Self {
            is_transient: TRANSIENT.contains(&code.as_str()),
            is_cut: status.is_success() && code.is_empty(),
            region: element(&text, "Region").map(str::to_owned),
            endpoint: endpoint.map(str::to_owned),
            code,
        }
    }

    fn read_json(status: StatusCode, body: &[u8]) -> Self {
        if status.is_success() {
            return Self {
                is_cut: !body.ends_with(b"}"),
                ..Self::default()
            };
        }
        let document: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
        let text = |path: &str| document.pointer(path).and_then(|value| value.as_str());
        let code = match text("/error/message") {
            Some(message) if message.starts_with(NO_BUCKET) => "NoSuchBucket".to_owned(),
            _ => letters(text("/error/errors/0/reason")),
        };
        Self {
            is_transient: TRANSIENT.contains(&code.as_str()),
            code,
            ..Self::default()
        }
    }

    /// Whether the response reports a failure, whatever its status.
    pub(super) fn is_failure(&self) -> bool {
        !self.code.is_empty() || self.is_cut
    }
}

/// Cause of an error by its name, with any status. `None` if the status is more specific.
pub(super) fn cause_of(code: &str) -> Option<Cause> {
    Some(match code {
        "NoSuchBucket"
        | "ContainerNotFound"
        | "InvalidBucketName"
        | "InvalidResourceName"
        | "NotImplemented"
        | "SecondLevelDomainForbidden"
        | "PathStyleDomainForbidden" => Cause::Misconfigured,
        "NoSuchKey" | "BlobNotFound" => Cause::NotFound,
        "PreconditionFailed" | "BlobAlreadyExists" | "ConditionNotMet" | "conditionNotMet" => Cause::Changed,
        // Azure keeps the parts of all uploads to one object together, and forgets them when one of the uploads is complete.
        "ConditionalRequestConflict" | "OperationAborted" | "InvalidBlockList" => Cause::Conflict,
        "AccessDenied"
        | "AllAccessDisabled"
        | "AccountIsDisabled"
        | "AuthorizationFailure"
        | "AuthorizationPermissionMismatch"
        | "BlobImmutableDueToPolicy"
        | "InsufficientAccountPermissions"
        | "LeaseIdMissing"
        | "PublicAccessNotPermitted"
        | "forbidden" => Cause::Denied,
        "InsufficientCapacity"
        | "QuotaExceeded"
        | "StorageFull"
        | "XMinioAdminBucketQuotaExceeded"
        | "XMinioStorageFull" => Cause::NoSpace,
        // The upload was aborted by a lifecycle rule, or completed by a request whose response was lost.
        "NoSuchUpload" => Cause::Unavailable,
        _ if TRANSIENT.contains(&code) => Cause::Unavailable,
        _ if CREDENTIALS.contains(&code) => Cause::CredentialsRefused,
        _ => return None,
    })
}

/// Letters, digits and dots at the start of a text (`KMS.NotFoundException`). No other part of a response gets into a
/// message, because a response may repeat the request.
pub(super) fn letters(text: Option<&str>) -> String {
    text.unwrap_or_default()
        .chars()
        .take_while(|letter| letter.is_ascii_alphanumeric() || *letter == '.')
        .take(64)
        .collect()
}

/// Whether a text is a host name and nothing else.
fn is_host(text: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
    text.len() <= 253 && text.contains('.') && text.bytes().all(is_letter)
}

/// Name of the first element after declarations.
fn root(text: &str) -> &str {
    let mut rest = text;
    while let Some((_, after)) = rest.split_once('<') {
        if !after.starts_with(['?', '!']) {
            let end = after.find(|letter: char| !letter.is_ascii_alphanumeric());
            return &after[..end.unwrap_or(after.len())];
        }
        rest = after;
    }
    ""
}

/// Text of the first element with this name.
fn element<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let (_, after) = text.split_once(&format!("<{name}>"))?;
    after.split_once("</").map(|(inside, _)| inside.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(status: u16, body: &str) -> Answer {
        Answer::read(StatusCode::from_u16(status).expect("a status"), body.as_bytes())
    }

    #[test]
    fn an_error_is_found_after_white_space_and_with_namespaces() {
        for body in [
            "<Error><Code>SlowDown</Code></Error>",
            " \n\n<?xml version=\"1.0\"?>\n <Error xmlns=\"http://s3\">\n<Code> SlowDown </Code></Error>\n",
            "<!-- a comment --><Error><Code>SlowDown</Code>",
        ] {
            let answer = of(200, body);
            assert_eq!(
                (answer.code.as_str(), answer.is_transient),
                ("SlowDown", true),
                "{body}"
            );
        }
        let denied = of(200, "<Error><Code>AccessDenied</Code></Error>");
        assert!(denied.is_failure() && !denied.is_transient && !denied.is_cut);
    }

    #[test]
    fn a_truncated_document_is_not_a_success() {
        for body in [
            "",
            " \n ",
            "<?xml version=\"1.0\"?>",
            "<Err",
            "<Error><Co",
            "<R><ETag>1</ETag>",
            "<R",
            "text",
        ] {
            assert!(of(200, body).is_cut, "{body}");
        }
        for body in [
            "<R><ETag>1</ETag></R>",
            "\n<R a=\"b\"/> ",
            "<?xml version=\"1.0\"?><R></R>",
        ] {
            assert!(!of(200, body).is_failure(), "{body}");
        }
    }

    #[test]
    fn an_error_of_cloud_storage_is_named_by_its_reason() {
        for (status, body, code, cause) in [
            (
                412,
                r#"{"error":{"code":412,"message":"x","errors":[{"reason":"conditionNotMet"}]}}"#,
                "conditionNotMet",
                Some(Cause::Changed),
            ),
            (
                429,
                r#"{"error":{"errors":[{"reason":"rateLimitExceeded","message":"secret"}]}}"#,
                "rateLimitExceeded",
                Some(Cause::Unavailable),
            ),
            (
                404,
                r#"{"error":{"message":"The specified bucket does not exist.","errors":[{"reason":"notFound"}]}}"#,
                "NoSuchBucket",
                Some(Cause::Misconfigured),
            ),
            (
                404,
                "The specified bucket does not exist.",
                "NoSuchBucket",
                Some(Cause::Misconfigured),
            ),
            (
                404,
                r#"{"error":{"message":"No such object: b/o","errors":[{"reason":"notFound"}]}}"#,
                "notFound",
                None,
            ),
            (404, "No such object: b/o", "", None),
            (400, r#"{"error":"invalid"#, "", None),
        ] {
            let answer = of(status, body);
            assert_eq!(
                (answer.code.as_str(), cause_of(&answer.code)),
                (code, cause),
                "{body}"
            );
        }
        assert!(!of(200, r#"{"kind":"storage#objects"}"#).is_failure());
        assert!(of(200, r#"{"kind":"storage#obj"#).is_cut);
    }

    #[test]
    fn an_endpoint_is_a_host_name() {
        let of_host = |host: &str| of(301, &format!("<Error><Endpoint>{host}</Endpoint></Error>")).endpoint;
        assert_eq!(
            of_host("b.s3-eu-west-1.amazonaws.com").as_deref(),
            Some("b.s3-eu-west-1.amazonaws.com")
        );
        for text in ["", "host", "a.b/c", "a.b:80", "user@a.b", "a.b secret"] {
            assert_eq!(of_host(text), None, "{text}");
        }
    }

    #[test]
    fn only_region_and_code_of_a_response_are_used() {
        let answer = of(
            400,
            "<Error><Code>AuthorizationHeaderMalformed</Code><Region>eu-west-1</Region></Error>",
        );
        assert_eq!(answer.region.as_deref(), Some("eu-west-1"));
        assert_eq!(of(403, "<Error><Code>a secret=b</Code></Error>").code, "a");
        assert_eq!(of(404, "<html>not found</html>").code, "");
    }
}
