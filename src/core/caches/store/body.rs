//! Bodies of requests and answers. An answer has a limit in bytes, an unneeded one also in time, and silence in the
//! middle of a needed one is an error.
//!
//! A store is not trusted to end: the body of an error, of a PUT or of a list page can be endless, chunked or with a
//! length that is not true. The limit counts the bytes that arrive. (The client decodes no `Content-Encoding`.)

use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use http::StatusCode;
use opendal::{Buffer, Result};

use super::call_context::{CallContext, Waiting};
use super::exchange::Exchange;
use crate::core::failure::Cause;

/// Largest body of an error, of credentials, and of an answer that only confirms; S3's have less than 4 KiB.
const ANSWER_BYTES: u64 = 64 << 10;
/// Largest page of a list, whose 1000 keys have at most 1 KiB each.
const PAGE_BYTES: u64 = 8 << 20;

/// How much of a body is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bound {
    /// The rest is left unread, because status and headers say what counts.
    Cut(u64),
    /// A longer body is a failure.
    Refuse(u64),
    /// The reader knows how much it expects, and stops.
    Reader,
}

impl Bound {
    /// The limit of an answer to an operation of OpenDAL's S3 service, or to a request for credentials.
    pub(super) fn of(operation: Option<&str>, range: Option<&Range<u64>>, status: StatusCode) -> Self {
        if crate::core::sys::fault::is_seeded("read-answers-whole") {
            return Self::Reader;
        }
        match operation {
            _ if !status.is_success() => Self::Cut(ANSWER_BYTES),
            Some("GetObject") => range.map_or(Self::Reader, |range| Self::Refuse(range.end - range.start)),
            Some("ListObjects" | "ListObjectsV2" | "ListObjectVersions" | "DeleteObjects") => {
                Self::Refuse(PAGE_BYTES)
            }
            None | Some("CreateMultipartUpload" | "CompleteMultipartUpload") => Self::Refuse(ANSWER_BYTES),
            Some(_) => Self::Cut(ANSWER_BYTES),
        }
    }

    pub(super) fn is_cut(self) -> bool {
        matches!(self, Self::Cut(_))
    }

    /// Refuses a body that announces more than its limit, before any of it is read.
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
    let message = format!("the answer has more than {limit} bytes, the most that is read of such an answer");
    exchange.refuse(Cause::Malformed, &message)
}

/// Whether a request's body moved since the last check.
#[derive(Default)]
pub(super) struct BodyProgress {
    moved: AtomicBool,
}

impl BodyProgress {
    pub(super) fn has_moved(&self) -> bool {
        self.moved.swap(false, Ordering::Relaxed)
    }
}

/// A request body that reports each piece that leaves.
pub(super) struct Outgoing {
    body: Buffer,
    context: Option<Arc<CallContext>>,
    progress: Arc<BodyProgress>,
}

impl Outgoing {
    pub(super) fn new(body: Buffer, context: Option<Arc<CallContext>>, progress: Arc<BodyProgress>) -> Self {
        Self {
            body,
            context,
            progress,
        }
    }
}

impl Stream for Outgoing {
    type Item = std::result::Result<Bytes, std::convert::Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, _task: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        // Pieces small enough that a slow line shows progress within the idle time.
        const PIECE_BYTES: usize = 64 * 1024;
        if self.body.is_empty() {
            return Poll::Ready(None);
        }
        let size = self.body.len().min(PIECE_BYTES);
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
    /// While the next piece is waited for; of a body that is cut, since the first wait.
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

    /// Ends a body whose rest does not count. Dropping the stream closes the connection.
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
        // Bytes that trickle in do not prolong an answer whose body does not count.
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
    /// Whether the idle time has passed since the first call with this silence.
    fn is_late(&mut self, task: &mut Context<'_>) -> bool {
        let context = Arc::clone(&self.exchange.context);
        let idle = context.idle;
        let (sleep, _) = self
            .silence
            .get_or_insert_with(|| (Box::pin(tokio::time::sleep(idle)), context.wait()));
        sleep.as_mut().poll(task).is_ready()
    }
}
