//! The HTTP transport under OpenDAL. It defines the behaviour that OpenDAL does not define, for every request.
//!
//! * Idle timeout: no header and no piece of a body may take longer than the call's `idle`, in either direction.
//! * Ranges: the response to a request with `Range` must have status 206 and exactly that `Content-Range`. OpenDAL
//!   itself
//!   accepts a 200 (services/s3/src/reader.rs).
//! * Retries: a request is sent again, as often as the call allows, if the server refused it temporarily (429, 5xx, 409
//!   on
//!   a conditional write) or the connection broke before the response. Whole bodies are in memory, so a part can be
//!   repeated.
//! * Status: recorded in the [`Exchange`], because OpenDAL maps several statuses to one kind of error.
//! * Size: every response has a limit (see [`super::body`]).
//! * Redirects: the client follows none. [`super::redirect`] decides.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request, Response, StatusCode, header};
use opendal::raw::{Operation, ServiceOperation};
use opendal::{Buffer, HttpBody, HttpTransport, Result};
use reqwest::Url;

use super::answer::{Answer, cause_of, is_document, letters};
use super::body::{BodyProgress, Bound, Incoming, Outgoing};
use super::call_context::{CallContext, pause};
use super::client::client_for;
use super::exchange::{Exchange, STAT};
use super::kind::Kind;
use super::redirect::{self, MAX_REDIRECTS, Next};
use crate::core::failure::Cause;
use crate::core::sys::cancel::Cancel;

/// Longest pause before a retry. If the store requests a longer pause, the request is not repeated.
const MAX_PAUSE: Duration = Duration::from_secs(10);

/// Generation in a condition that the transport removes, since it holds for no object. With any condition, OpenDAL uploads
/// to Cloud Storage in parts of one resumable session.
pub(super) const ANY_GENERATION: &str = "1";

/// Stands for a length that a response does not declare.
pub(super) const NO_LENGTH: u64 = u64::MAX;

/// Transport for assuming a role. OpenDAL calls STS outside the store operation. The time limit of credentials applies
/// to it.
pub(super) struct StsTransport(pub(super) Duration);

impl HttpTransport for StsTransport {
    async fn fetch(&self, request: Request<Buffer>) -> Result<Response<HttpBody>> {
        let context = Arc::new(CallContext::new(Cancel::new(), self.0, 1));
        let exchange = Arc::new(Exchange::new(context, Kind::S3, None));
        Transport(exchange).fetch(request).await
    }
}

/// Transport of one store operation.
pub(super) struct Transport(pub(super) Arc<Exchange>);

impl HttpTransport for Transport {
    async fn fetch(&self, mut request: Request<Buffer>) -> Result<Response<HttpBody>> {
        let exchange = &self.0;
        let operation = operation_of(&request);
        let is_conditional_write = self.add_condition(&mut request, operation);
        if operation.is_none() {
            exchange.context.fetching_credentials(true);
        } else {
            exchange.reaches_store();
            exchange.context.fetching_credentials(false);
        }
        let range = requested_range(&request);
        let mut attempt = 1;
        loop {
            let answer = self.answer(&request, operation, range.as_ref()).await;
            let asked = answer
                .as_ref()
                .ok()
                .and_then(|(response, _)| asked_pause(response));
            let is_transient = match &answer {
                Ok((response, has_failed)) => {
                    let is_conflict = is_conditional_write
                        && response.status() == StatusCode::CONFLICT
                        // Azure responds with 409 if the object exists.
                        && cause_of(&exchange.code()) != Some(Cause::Changed);
                    *has_failed || is_conflict
                }
                // A stall is not retried here, because only the caller knows how much time is left.
                Err(_) => exchange.failure().is_some_and(|failure| match failure.cause {
                    Cause::Unavailable => true,
                    Cause::Broken => is_document(operation),
                    _ => false,
                }),
            };
            if !is_transient || attempt >= exchange.context.attempts {
                return answer.map(|(response, _)| response);
            }
            if let Some(asked) = asked.filter(|asked| *asked > MAX_PAUSE) {
                exchange.note_asked_pause(asked.as_secs());
                return answer.map(|(response, _)| response);
            }
            exchange.context.retried();
            // The result of the next attempt counts, not the failure of this one.
            exchange.forget_failure();
            let rate_pause = match &answer {
                Ok((response, _)) if response.status() == StatusCode::TOO_MANY_REQUESTS => {
                    exchange.kind().rate_pause(attempt)
                }
                _ => Duration::ZERO,
            };
            tokio::time::sleep(pause(attempt).max(rate_pause).max(asked.unwrap_or_default())).await;
            attempt += 1;
        }
    }
}

impl Transport {
    /// Adds the condition of an upload to Cloud Storage. The signature does not cover the address there: it is a bearer
    /// token. Returns whether the request is a write with a condition.
    fn add_condition(&self, request: &mut Request<Buffer>, operation: Option<&str>) -> bool {
        let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
        let has = |name| request.headers().contains_key(name);
        let by_header = !is_read && (has(header::IF_MATCH) || has(header::IF_NONE_MATCH));
        if self.0.kind() != Kind::Gcs
            || !matches!(operation, Some("InsertObject" | "InitiateResumableUpload"))
        {
            return by_header;
        }
        let placeholder = format!("&ifGenerationNotMatch={ANY_GENERATION}");
        let address = request.uri().to_string().replace(&placeholder, "");
        let condition = self.0.upload_parameter();
        let address = condition.map_or_else(|| address.clone(), |condition| format!("{address}&{condition}"));
        // Digits and letters are added to an address that was parsed before.
        if let Ok(address) = address.parse() {
            *request.uri_mut() = address;
        }
        condition.is_some()
    }

    /// Makes one attempt. Also returns whether the body allows a retry.
    async fn answer(
        &self,
        request: &Request<Buffer>,
        operation: Option<&str>,
        range: Option<&Range<u64>>,
    ) -> Result<(Response<HttpBody>, bool)> {
        let exchange = &self.0;
        let response = self.send_following(request, operation.is_some()).await?;
        let status = response.status();
        // The clean-up after a failure has its own status, which is not recorded.
        let operation = operation
            .filter(|operation| !matches!(*operation, "AbortMultipartUpload" | "CancelResumableUpload"));
        if let Some(operation) = operation {
            exchange.note_status(operation, status);
        }
        if status.is_success() && matches!(operation, Some("GetBlob" | "GetObject")) {
            // Cloud Storage has the whole name of an object in one encoded component of the path.
            self.check_encoding(&request.uri().path().replace("%2F", "/"), &response)?;
        }
        if let Some(range) = range.filter(|_| status.is_success()) {
            self.check_range(range, &response)?;
        }
        let bound = Bound::of(operation, range, status);
        let response = self.wrap(response, bound, request.method() == Method::HEAD)?;
        let says_more = if status.is_success() {
            is_document(operation)
        } else {
            operation.is_some() && status.as_u16() < 500
        };
        if says_more {
            let host = request.uri().host().unwrap_or_default();
            return self.read_answer(response, host).await;
        }
        Ok((response, is_transient(status)))
    }

    /// Parses the body of a response of the store. An error with status 200 gets status 500, because OpenDAL does not
    /// check for such errors in all responses.
    async fn read_answer(
        &self,
        response: Response<HttpBody>,
        host: &str,
    ) -> Result<(Response<HttpBody>, bool)> {
        let exchange = &self.0;
        let (mut parts, mut body) = response.into_parts();
        let status = parts.status;
        // Combined into one buffer: parsing a listing from thousands of pieces takes seconds.
        let body = body.to_buffer().await?.to_bytes();
        let mut answer = Answer::read(status, &body);
        if answer.code.is_empty() {
            // The response to a HEAD request has no body. Azure names the error in a header.
            let code = parts
                .headers
                .get("x-ms-error-code")
                .filter(|_| !status.is_success());
            answer.code = letters(code.and_then(|code| code.to_str().ok()));
        }
        exchange.note_code(&answer.code);
        if let Some(region) = exchange.region() {
            self.note_address(&mut answer, host, region);
        }
        if status.is_success() && answer.is_failure() {
            parts.status = StatusCode::INTERNAL_SERVER_ERROR;
        }
        if answer.is_cut {
            drop(exchange.fail(Cause::Broken, "the response of the store is truncated".to_owned()));
        }
        let length = body.len() as u64;
        let body = HttpBody::new(futures::stream::iter([Ok(Buffer::from(body))]), Some(length));
        Ok((
            Response::from_parts(parts, body),
            is_transient(status) || answer.is_transient || answer.is_cut,
        ))
    }

    /// Records the region or the host that the response names for the bucket.
    fn note_address(&self, answer: &mut Answer, host: &str, region: &str) {
        let endpoint = answer.endpoint.take();
        let named = answer.region.take().or_else(|| {
            let endpoint = endpoint.as_ref()?;
            redirect::region_of_host(host, endpoint, region)
        });
        match (
            named.filter(|named| redirect::is_other_region(named, region)),
            endpoint,
        ) {
            (Some(region), _) => self.0.note_region(region),
            (None, Some(endpoint)) => self.0.note_endpoint(endpoint),
            (None, None) => {}
        }
    }

    /// Sends a request, and sends it again after each redirect that may be followed.
    async fn send_following(&self, request: &Request<Buffer>, to_store: bool) -> Result<reqwest::Response> {
        let exchange = &self.0;
        let mut url = Url::parse(&request.uri().to_string()).map_err(|error| {
            exchange.fail(
                Cause::Misconfigured,
                format!("the address of the store is invalid: {error}"),
            )
        })?;
        let region = exchange.region().filter(|_| to_store);
        for _ in 0..=MAX_REDIRECTS {
            let response = self.send(request.clone(), url.clone(), to_store).await?;
            match redirect::next(&url, region, request.method(), &response) {
                Next::Answer => return Ok(response),
                Next::Region(region) => {
                    exchange.note_region(region);
                    return Ok(response);
                }
                Next::Follow(target) => url = target,
                Next::Refuse(reason) => {
                    let status = response.status().as_u16();
                    let message = format!("the redirect (status {status}) was not followed: {reason}");
                    return Err(exchange.refuse(Cause::Misconfigured, &message));
                }
            }
        }
        let message = format!("the request was redirected more than {MAX_REDIRECTS} times");
        Err(exchange.refuse(Cause::Misconfigured, &message))
    }

    async fn send(&self, request: Request<Buffer>, url: Url, to_store: bool) -> Result<reqwest::Response> {
        let exchange = &self.0;
        let (mut parts, body) = request.into_parts();
        let client = client_for(&url, to_store);
        let progress = Arc::new(BodyProgress::default());
        if !body.is_empty() {
            // A stream has no declared length, and S3 accepts no chunked bodies.
            parts.headers.insert(header::CONTENT_LENGTH, body.len().into());
        }
        let mut builder = client.request(parts.method, url).headers(parts.headers);
        if !body.is_empty() {
            let context = to_store.then(|| Arc::clone(&exchange.context));
            let outgoing = Outgoing::new(body, context, Arc::clone(&progress));
            builder = builder.body(reqwest::Body::wrap_stream(outgoing));
        }
        let _waiting = exchange.context.wait();
        let sending = builder.send();
        tokio::pin!(sending);
        loop {
            tokio::select! {
                answer = &mut sending => {
                    return answer.map_err(|error| exchange.broken(Cause::Unavailable, &error));
                }
                () = tokio::time::sleep(exchange.context.idle) => {
                    // The idle timeout counts only if no piece of the body was sent since the last check.
                    if !progress.has_moved() {
                        return Err(exchange.stalled());
                    }
                }
            }
        }
    }

    /// Refuses bytes that are not those of the object. warmswap stores objects without an encoding, so an encoding was
    /// added by a proxy. Cloud Storage decodes objects that were stored with one, and then ignores ranges.
    fn check_encoding(&self, path: &str, response: &reqwest::Response) -> Result<()> {
        let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
        let encoding = header(header::CONTENT_ENCODING.as_str()).unwrap_or_default();
        // Some servers keep the `aws-chunked` of an upload.
        let is_encoded = !matches!(encoding, "" | "identity" | "aws-chunked");
        let is_ours = path.ends_with("/current.json") || path.contains("/blobs/");
        let message = if header("x-guploader-response-body-transformations").is_some() {
            "the store decodes the object during the transfer, so its size and ranges do not match. Remove Content-Encoding from the object's metadata".to_owned()
        } else if is_ours && is_encoded {
            let encoding = letters(Some(encoding));
            format!(
                "the response has the Content-Encoding '{encoding}', which was not requested. Check for a proxy that changes responses, and check the object's metadata"
            )
        } else {
            return Ok(());
        };
        Err(self.0.fail(Cause::Misconfigured, message))
    }

    fn check_range(&self, range: &Range<u64>, response: &reqwest::Response) -> Result<()> {
        if crate::core::sys::fault::is_seeded("accept-any-range") {
            return Ok(());
        }
        if response.status() != StatusCode::PARTIAL_CONTENT {
            let status = response.status().as_u16();
            return Err(self.0.fail(
                Cause::RangeIgnored,
                format!("the store responded to a range request with status {status}. Expected 206"),
            ));
        }
        let sent = response
            .headers()
            .get(header::CONTENT_RANGE)
            .and_then(|value| value.to_str().ok());
        let wanted = format!("bytes {}-{}/", range.start, range.end - 1);
        let length = response.content_length();
        if !sent.is_some_and(|sent| sent.starts_with(&wanted))
            || length.is_some_and(|length| length != range.end - range.start)
        {
            let sent = sent.unwrap_or("no range");
            return Err(self.0.fail(
                Cause::Malformed,
                format!("expected the range '{wanted}…', but the store sent '{sent}' with length {length:?}"),
            ));
        }
        Ok(())
    }

    fn wrap(&self, response: reqwest::Response, bound: Bound, is_head: bool) -> Result<Response<HttpBody>> {
        let length = response.content_length().filter(|_| !is_head);
        bound.check_length(&self.0, length)?;
        let mut wrapped = Response::builder().status(response.status());
        if let Some(headers) = wrapped.headers_mut() {
            headers.clone_from(response.headers());
            // OpenDAL refuses an object without a length, such as a chunked response. Only `stat` reads this length.
            if response.status().is_success() && !headers.contains_key(header::CONTENT_LENGTH) {
                headers.insert(header::CONTENT_LENGTH, NO_LENGTH.into());
            }
        }
        // OpenDAL treats a body that is shorter than its declared length as broken.
        let length = length.filter(|_| !bound.is_cut());
        let body = Incoming::new(Arc::clone(&self.0), bound, response.bytes_stream());
        Ok(wrapped
            .body(HttpBody::new(body, length))
            .expect("status and headers come from a response"))
    }
}

/// Name of the operation that a request belongs to. OpenDAL marks the requests of its operations. Requests without a mark
/// are for credentials.
fn operation_of(request: &Request<Buffer>) -> Option<&'static str> {
    let extensions = request.extensions();
    let name = extensions.get().map(|ServiceOperation(name)| *name);
    let is_stat = extensions.get() == Some(&Operation::Stat);
    name.map(|name| {
        if is_stat && name == "GetObject" {
            STAT
        } else {
            name
        }
    })
}

/// Pause that the store requests. Dates are ignored, because clocks differ.
fn asked_pause(response: &Response<HttpBody>) -> Option<Duration> {
    let text = response.headers().get(header::RETRY_AFTER)?.to_str().ok()?;
    text.trim().parse().ok().map(Duration::from_secs)
}

fn is_transient(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 425 | 429 | 500 | 502 | 503 | 504)
}

fn requested_range(request: &Request<Buffer>) -> Option<Range<u64>> {
    let text = request.headers().get(header::RANGE)?.to_str().ok()?;
    let (start, end) = text.strip_prefix("bytes=")?.split_once('-')?;
    let (start, end): (u64, u64) = (start.parse().ok()?, end.parse().ok()?);
    Some(start..end + 1)
}
