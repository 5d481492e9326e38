//! Bodies of requests and responses. A response has a limit in bytes. A response that is not needed also has a limit in
//! time. A pause in the middle of a needed one is an error.
//!
//! A store may send an endless body: for an error, a PUT or a page of a listing, chunked or with a wrong length. The
//! limit therefore counts the bytes that arrive. (The client decodes no `Content-Encoding`.)

use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt as _, Stream, StreamExt as _, ready};
use http::StatusCode;
use opendal::{Buffer, Result};

use super::call_context::{CallContext, Waiting};
use super::exchange::{Exchange, STAT};
use crate::core::failure::Cause;

/// Maximum body of an error, of credentials, and of a response that only confirms. Those of S3 have less than 4 KiB.
const ANSWER_BYTES: u64 = 64 << 10;
/// Maximum page of a listing. A page has up to 1000 keys of at most 1 KiB each, and up to
/// 5000 in Azure.
const PAGE_BYTES: u64 = 8 << 20;

/// Limit on the part of a body that is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bound {
    /// Bytes beyond the limit are not read, because status and headers are sufficient.
    Cut(u64),
    /// A longer body is a failure.
    Refuse(u64),
    /// The reader knows the expected size, and stops.
    Reader,
}

impl Bound {
    /// Limit for the response to an operation of one of OpenDAL's services, or to a request for credentials.
    pub(super) fn of(operation: Option<&str>, range: Option<&Range<u64>>, status: StatusCode) -> Self {
        if crate::core::sys::fault::is_seeded("read-answers-whole") {
            return Self::Reader;
        }
        match operation {
            _ if !status.is_success() => Self::Cut(ANSWER_BYTES),
            Some("GetBlob" | "GetObject") => {
                range.map_or(Self::Reader, |range| Self::Refuse(range.end - range.start))
            }
            Some("ListBlobs" | "ListObjects" | "ListObjectsV2" | "ListObjectVersions" | "DeleteObjects") => {
                Self::Refuse(PAGE_BYTES)
            }
            None
            | Some(
                STAT
                | "CreateMultipartUpload"
                | "CompleteMultipartUpload"
                | "InsertObject"
                | "UploadResumableChunk",
            ) => Self::Refuse(ANSWER_BYTES),
            Some(_) => Self::Cut(ANSWER_BYTES),
        }
    }

    pub(super) fn is_cut(self) -> bool {
        matches!(self, Self::Cut(_))
    }

    /// Refuses a body whose declared length exceeds its limit, before reading it.
    pub(super) fn check_length(self, exchange: &Exchange, length: Option<u64>) -> Result<()> {
        match self {
            Self::Refuse(limit) if length.is_some_and(|length| length > limit) => {
                Err(too_long(exchange, limit))
            }
            _ => Ok(()),
        }
    }
}

fn too_long(exchange: &Exchange, limit: u64) -> opendal::Error {
    let message = format!("the response is too large. Expected at most {limit} bytes");
    exchange.refuse(Cause::Malformed, &message)
}

/// Whether bytes of a request's body were sent since the last check.
#[derive(Default)]
pub(super) struct BodyProgress {
    moved: AtomicBool,
}

impl BodyProgress {
    pub(super) fn has_moved(&self) -> bool {
        self.moved.swap(false, Ordering::Relaxed)
    }
}

/// A request body that reports each piece that is sent.
pub(super) struct Outgoing {
    body: Buffer,
    context: Option<Arc<CallContext>>,
    progress: Arc<BodyProgress>,
    /// What the last byte waits for.
    start: Option<BoxFuture<'static, ()>>,
}

impl Outgoing {
    pub(super) fn new(body: Buffer, context: Option<Arc<CallContext>>, progress: Arc<BodyProgress>) -> Self {
        let start_line = context.as_ref().and_then(|context| context.start_line());
        Self {
            body,
            context,
            progress,
            start: start_line.map(|start_line| start_line.wait().boxed()),
        }
    }
}

impl Stream for Outgoing {
    type Item = std::result::Result<Bytes, std::convert::Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        // Pieces are small enough that a slow connection shows progress within the idle time.
        const PIECE_BYTES: usize = 64 * 1024;
        if self.body.is_empty() {
            return Poll::Ready(None);
        }
        if self.body.len() == 1
            && let Some(start) = &mut self.start
        {
            ready!(start.poll_unpin(task));
            self.start = None;
        }
        let held_back = usize::from(self.start.is_some());
        let size = (self.body.len() - held_back).min(PIECE_BYTES);
        let piece = self.body.split_to(size).to_bytes();
        if let Some(context) = &self.context {
            context.sent(size);
        }
        self.progress.moved.store(true, Ordering::Relaxed);
        Poll::Ready(Some(Ok(piece)))
    }
}

type Pieces = Pin<Box<dyn Stream<Item = reqwest::Result<Bytes>> + Send + Sync>>;

/// A response body with its limits.
pub(super) struct Incoming {
    exchange: Arc<Exchange>,
    bound: Bound,
    pieces: Pieces,
    received: u64,
    /// Timer while the next piece is awaited. For a body that may be cut off, it runs from the first wait.
    silence: Option<(Pin<Box<tokio::time::Sleep>>, Waiting)>,
}

impl Incoming {
    pub(super) fn new(
        exchange: Arc<Exchange>,
        bound: Bound,
        pieces: impl Stream<Item = reqwest::Result<Bytes>> + Send + Sync + 'static,
    ) -> Self {
        Self {
            exchange,
            bound,
            pieces: Box::pin(pieces),
            received: 0,
            silence: None,
        }
    }

    /// Ends a body whose rest is not needed. Dropping the stream closes the connection.
    fn cut(&mut self) -> Poll<Option<Result<Buffer>>> {
        self.silence = None;
        self.pieces = Box::pin(futures::stream::empty());
        Poll::Ready(None)
    }

    fn receive(&mut self, piece: reqwest::Result<Bytes>) -> Poll<Option<Result<Buffer>>> {
        let mut piece = match piece {
            Ok(piece) => piece,
            Err(_) if self.bound.is_cut() => return self.cut(),
            Err(error) => return Poll::Ready(Some(Err(self.exchange.broken(Cause::Broken, &error)))),
        };
        self.exchange.context.received(piece.len());
        let before = self.received;
        self.received += piece.len() as u64;
        match self.bound {
            Bound::Cut(limit) if before >= limit => return self.cut(),
            Bound::Cut(limit) => {
                let left = usize::try_from(limit - before).unwrap_or(usize::MAX);
                piece.truncate(left);
            }
            Bound::Refuse(limit) if self.received > limit => {
                self.pieces = Box::pin(futures::stream::empty());
                return Poll::Ready(Some(Err(too_long(&self.exchange, limit))));
            }
            Bound::Refuse(_) | Bound::Reader => {}
        }
        Poll::Ready(Some(Ok(Buffer::from(piece))))
    }
}

impl Stream for Incoming {
    type Item = Result<Buffer>;

    fn poll_next(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = self.pieces.poll_next_unpin(task);
        // Bytes that arrive slowly do not extend the time for a body that is not needed.
        if !self.bound.is_cut() && next.is_ready() {
            self.silence = None;
        }
        match next {
            Poll::Ready(Some(piece)) if !self.bound.is_cut() || !self.is_late(task) => self.receive(piece),
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Ready(Some(_)) => self.cut(),
            Poll::Pending => {
                if !self.is_late(task) {
                    return Poll::Pending;
                }
                if self.bound.is_cut() {
                    return self.cut();
                }
                let error = self.exchange.stalled();
                Poll::Ready(Some(Err(error)))
            }
        }
    }
}

impl Incoming {
    /// Whether the idle time has passed since the first call with this timer.
    fn is_late(&mut self, task: &mut Context<'_>) -> bool {
        let context = Arc::clone(&self.exchange.context);
        let idle = context.idle;
        let (sleep, _) = self
            .silence
            .get_or_insert_with(|| (Box::pin(tokio::time::sleep(idle)), context.wait()));
        sleep.as_mut().poll(task).is_ready()
    }
}
