//! What an answer says in its body: the error of S3, which can also be in an answer with status 200.

use http::StatusCode;

use crate::core::failure::Cause;

/// Bytes in which the first element of a document begins.
const BEGINNING: usize = 1024;

/// Errors of S3 after which the same request can succeed.
const TRANSIENT: [&str; 7] = [
    "InternalError",
    "OperationAborted",
    "RequestTimeout",
    "ServiceUnavailable",
    "SlowDown",
    "TooManyRequests",
    "XMinioServerNotInitialized",
];

/// Errors about the credentials, by any of the stores that speak S3. They say nothing of permissions.
const CREDENTIALS: [&str; 15] = [
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
];

/// Whether the answer to this operation is an XML document in an answer with status 200. S3 begins to answer before
/// the document is complete, so that it can be an error or end early. All of these requests are safe to repeat.
pub(super) fn is_document(operation: Option<&str>) -> bool {
    matches!(
        operation,
        Some("CompleteMultipartUpload" | "CreateMultipartUpload" | "ListObjects" | "ListObjectsV2")
    )
}

/// What an answer says in its body.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Answer {
    /// The name of the error, such as `NoSuchBucket`; empty without one.
    pub(super) code: String,
    /// The region of the bucket, if the error names it.
    pub(super) region: Option<String>,
    /// The host that the error names for the bucket.
    pub(super) endpoint: Option<String>,
    /// Whether the same request can succeed when it is repeated.
    pub(super) is_transient: bool,
    /// Whether a document ends before its end.
    pub(super) is_cut: bool,
}

impl Answer {
    /// Reads the body of an answer. White space before the document keeps the connection alive and means nothing.
    pub(super) fn read(status: StatusCode, body: &[u8]) -> Self {
        let body = body.trim_ascii();
        // A page of a list is large, and only its beginning and its end count.
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
        let code = letters(element(&text, "Code"));
        let endpoint = element(&text, "Endpoint").filter(|host| is_host(host));
        Self {
            is_transient: TRANSIENT.contains(&code.as_str()),
            is_cut: status.is_success() && code.is_empty(),
            region: element(&text, "Region").map(str::to_owned),
            endpoint: endpoint.map(str::to_owned),
            code,
        }
    }

    /// Whether the answer is no success, whatever its status is.
    pub(super) fn is_failure(&self) -> bool {
        !self.code.is_empty() || self.is_cut
    }
}

/// The cause that the name of an error stands for, with any status; `None` if the status says more.
pub(super) fn cause_of(code: &str) -> Option<Cause> {
    Some(match code {
        "NoSuchBucket"
        | "InvalidBucketName"
        | "NotImplemented"
        | "SecondLevelDomainForbidden"
        | "PathStyleDomainForbidden" => Cause::Misconfigured,
        "NoSuchKey" => Cause::NotFound,
        "PreconditionFailed" => Cause::Changed,
        "ConditionalRequestConflict" | "OperationAborted" => Cause::Conflict,
        "AccessDenied" | "AllAccessDisabled" => Cause::Denied,
        "InsufficientCapacity"
        | "QuotaExceeded"
        | "StorageFull"
        | "XMinioAdminBucketQuotaExceeded"
        | "XMinioStorageFull" => Cause::NoSpace,
        // Aborted by a lifecycle rule, or completed by a request whose answer was lost.
        "NoSuchUpload" => Cause::Unavailable,
        _ if TRANSIENT.contains(&code) => Cause::Unavailable,
        _ if CREDENTIALS.contains(&code) => Cause::CredentialsRefused,
        _ => return None,
    })
}

/// The letters, digits and dots at the beginning (`KMS.NotFoundException`): nothing else of an answer, which may repeat the request, gets into a
/// message.
pub(super) fn letters(text: Option<&str>) -> String {
    text.unwrap_or_default()
        .chars()
        .take_while(|letter| letter.is_ascii_alphanumeric() || *letter == '.')
        .take(64)
        .collect()
}

/// Whether a text is the name of a host, and nothing else.
fn is_host(text: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
    text.len() <= 253 && text.contains('.') && text.bytes().all(is_letter)
}

/// The name of the first element that is no declaration.
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

/// The text of the first element of this name.
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
    fn an_error_is_found_behind_white_space_and_namespaces() {
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
    fn a_document_that_ends_early_is_no_success() {
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
    fn an_endpoint_is_the_name_of_a_host() {
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
    fn a_region_and_a_code_are_read_and_nothing_else_is_repeated() {
        let answer = of(
            400,
            "<Error><Code>AuthorizationHeaderMalformed</Code><Region>eu-west-1</Region></Error>",
        );
        assert_eq!(answer.region.as_deref(), Some("eu-west-1"));
        assert_eq!(of(403, "<Error><Code>a secret=b</Code></Error>").code, "a");
        assert_eq!(of(404, "<html>not found</html>").code, "");
    }
}
