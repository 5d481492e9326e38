//! State of the requests of one store operation.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering};

use http::StatusCode;
use opendal::{Error, ErrorKind};

use super::call_context::CallContext;
use super::kind::Kind;
use crate::core::failure::{Cause, Failure};
use crate::core::sys::sync::Mutex;

/// Operations that read an object, or its size and version.
const READS: [&str; 5] = ["GetBlob", "GetBlobProperties", "GetObject", "HeadObject", STAT];

/// Name of an operation that OpenDAL names like a read, because Cloud Storage responds to it with a document.
pub(super) const STAT: &str = "GetObjectMetadata";

/// State of the requests of one store operation.
pub(super) struct Exchange {
    pub(super) context: Arc<CallContext>,
    kind: Kind,
    region: Option<String>,
    /// Parameter for uploads.
    upload: Option<String>,
    reached_store: AtomicBool,
    status: AtomicU16,
    operation: Mutex<String>,
    code: Mutex<String>,
    failure: Mutex<Option<Failure>>,
    named_region: Mutex<Option<String>>,
    named_endpoint: Mutex<Option<String>>,
    asked_pause: AtomicU64,
}

impl Exchange {
    pub(super) fn new(context: Arc<CallContext>, kind: Kind, region: Option<String>) -> Self {
        Self {
            context,
            kind,
            region,
            upload: None,
            reached_store: AtomicBool::new(false),
            status: AtomicU16::new(0),
            operation: Mutex::default(),
            code: Mutex::default(),
            failure: Mutex::new(None),
            named_region: Mutex::new(None),
            named_endpoint: Mutex::new(None),
            asked_pause: AtomicU64::new(0),
        }
    }

    /// The same, with a parameter that the transport adds to uploads.
    pub(super) fn uploading(mut self, parameter: Option<String>) -> Self {
        self.upload = parameter;
        self
    }

    /// Service that the requests are sent to.
    pub(super) fn kind(&self) -> Kind {
        self.kind
    }

    /// Parameter that the transport adds to uploads.
    pub(super) fn upload_parameter(&self) -> Option<&str> {
        self.upload.as_deref()
    }

    /// Region of the bucket, if the store named another one.
    pub(super) fn named_region(&self) -> Option<String> {
        self.named_region.lock().clone()
    }

    pub(super) fn note_region(&self, region: String) {
        *self.named_region.lock() = Some(region);
    }

    /// Host that the store named for the bucket, if its region cannot be derived from it.
    pub(super) fn named_endpoint(&self) -> Option<String> {
        self.named_endpoint.lock().clone()
    }

    pub(super) fn note_endpoint(&self, host: String) {
        *self.named_endpoint.lock() = Some(host);
    }

    /// Pause in seconds that the store requested before a retry, if it is too long for a call. Otherwise 0.
    pub(super) fn asked_pause(&self) -> u64 {
        self.asked_pause.load(Ordering::Relaxed)
    }

    pub(super) fn note_asked_pause(&self, seconds: u64) {
        self.asked_pause.store(seconds, Ordering::Relaxed);
    }

    /// Region that the requests are signed for. Only S3 has one.
    pub(super) fn region(&self) -> Option<&str> {
        self.region.as_deref()
    }

    /// Records that a request is sent to the store.
    pub(super) fn reaches_store(&self) {
        if !self.reached_store.swap(true, Ordering::Relaxed) {
            // A failure of a credential provider that another provider has replaced.
            self.forget_failure();
        }
    }

    /// Records the status of a response. Its body is not read yet.
    pub(super) fn note_status(&self, operation: &str, status: StatusCode) {
        self.status.store(status.as_u16(), Ordering::Relaxed);
        operation.clone_into(&mut self.operation.lock());
        self.code.lock().clear();
    }

    /// Records the error name of the last response.
    pub(super) fn note_code(&self, code: &str) {
        code.clone_into(&mut self.code.lock());
    }

    /// Error name of the last response, such as `NoSuchBucket`. Empty if there is none.
    pub(super) fn code(&self) -> String {
        self.code.lock().clone()
    }

    /// Whether the last request read an object, or its size and version.
    pub(super) fn was_reading(&self) -> bool {
        READS.contains(&self.operation.lock().as_str())
    }

    /// Whether a request was sent to the store, which means that there were credentials.
    pub(super) fn has_reached_store(&self) -> bool {
        self.reached_store.load(Ordering::Relaxed)
    }

    /// Last status of the store. 0 before the first response.
    pub(super) fn status(&self) -> u16 {
        self.status.load(Ordering::Relaxed)
    }

    /// Failure that the transport itself found.
    pub(super) fn failure(&self) -> Option<Failure> {
        self.failure.lock().clone()
    }

    pub(super) fn forget_failure(&self) {
        *self.failure.lock() = None;
    }

    /// Whether the caller has cancelled the call.
    pub(super) fn is_cancelled(&self) -> bool {
        self.context.cancel.is_cancelled()
    }

    pub(super) fn fail(&self, cause: Cause, message: String) -> Error {
        let error = Error::new(ErrorKind::Unexpected, message.clone());
        *self.failure.lock() = Some(Failure::new(cause, message));
        error
    }

    /// Fails because of the content of a response. Before the first request to the store, it was a response to a
    /// request for credentials.
    pub(super) fn refuse(&self, cause: Cause, message: &str) -> Error {
        if self.has_reached_store() {
            return self.fail(cause, message.to_owned());
        }
        self.fail(
            Cause::CredentialsMissing,
            format!("no usable credentials: {message}"),
        )
    }

    pub(super) fn stalled(&self) -> Error {
        let idle = self.context.idle.as_millis();
        self.fail(Cause::Stalled, format!("the store sent no data for {idle} ms"))
    }

    pub(super) fn broken(&self, cause: Cause, error: &reqwest::Error) -> Error {
        // The URL can contain a presigned signature, so only the underlying cause is reported.
        let mut source: &dyn std::error::Error = error;
        while let Some(deeper) = source.source() {
            source = deeper;
        }
        self.fail(cause, format!("the connection failed: {source}"))
    }
}
