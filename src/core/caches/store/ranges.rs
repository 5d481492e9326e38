//! Parallel download of one object. Several connections read parts of the same version, and a blocking thread receives
//! them in order as a stream.
//!
//! The download is parallel because one connection to S3 transfers only 85 to 90 MB/s (AWS,
//! "optimizing-performance-design-patterns"). Parts have 8 MiB, because each part costs a round trip. At most
//! `concurrency` parts, plus the one that is being read, are in memory.

use std::io::{self, Read};
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use bytes::{Buf as _, Bytes};
use futures::StreamExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::call_context::{CallContext, pause};
use super::failure::StoreResult;
use super::interface::Store;
use super::object::ObjectMeta;
use crate::core::failure::{Cause, Failure};

/// Size of one part in bytes.
pub const PART_BYTES: u64 = 8 * 1024 * 1024;

/// Bytes of a part, and the permit that it holds until it is read.
type Part = (Bytes, Option<OwnedSemaphorePermit>);

/// Bytes of an object in order, for a blocking thread.
pub struct Chunks {
    parts: mpsc::Receiver<Part>,
    current: Part,
    failure: Arc<OnceLock<Failure>>,
}

impl Chunks {
    /// Why the bytes ended early, if they did.
    pub fn failure(&self) -> Arc<OnceLock<Failure>> {
        Arc::clone(&self.failure)
    }
}

impl Read for Chunks {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.0.is_empty() {
            // The previous part is freed before the wait for the next one.
            self.current = Part::default();
            match self.parts.blocking_recv() {
                Some(part) => self.current = part,
                None => {
                    return match self.failure.get() {
                        Some(failure) => Err(failure.clone().into()),
                        None => Ok(0),
                    };
                }
            }
        }
        let (bytes, _) = &mut self.current;
        let size = buffer.len().min(bytes.len());
        bytes.copy_to_slice(&mut buffer[..size]);
        Ok(size)
    }
}

/// Starts to download an object. The download ends when the [`Chunks`] are dropped or the call is cancelled.
pub fn download(
    store: Arc<dyn Store>,
    object: ObjectMeta,
    concurrency: usize,
    context: Arc<CallContext>,
) -> Chunks {
    // The channel has space for all parts that can exist. A planner that waits for space would leave the other
    // connections idle.
    let concurrency = concurrency.max(1);
    let (sender, parts) = mpsc::channel(concurrency + 1);
    let failure = Arc::new(OnceLock::new());
    let reported = Arc::clone(&failure);
    tokio::spawn(async move {
        let cancel = context.cancel.clone();
        let pumped = tokio::select! {
            pumped = pump(store, object, concurrency, context, sender.clone()) => pumped,
            () = cancel.cancelled() => Err(Failure::new(Cause::Aborted, "the call has ended")),
            () = sender.closed() => Ok(()),
        };
        if let Err(failure) = pumped {
            drop(reported.set(failure));
        }
        // Dropping the last sender, after the failure was stored, wakes the reader.
        drop(sender);
    });
    Chunks {
        parts,
        current: Part::default(),
        failure,
    }
}

async fn pump(
    store: Arc<dyn Store>,
    object: ObjectMeta,
    concurrency: usize,
    context: Arc<CallContext>,
    sender: mpsc::Sender<Part>,
) -> StoreResult<()> {
    let mut delivered = 0;
    let permits = Arc::new(Semaphore::new(concurrency + 1));
    let read = |range| {
        let (permits, store, object, context) = (Arc::clone(&permits), &*store, &object, &context);
        async move {
            // Permits are issued in the order of the parts, so that the part that is read next never waits for a later
            // one.
            let permit = permits.acquire_owned().await.ok();
            Ok((read_part(store, object, range, context).await?, permit))
        }
    };
    let mut parts = futures::stream::iter(split(object.size))
        .map(read)
        .buffered(concurrency);
    while let Some(part) = parts.next().await {
        let part: Part = match part {
            // The server does not support ranges: one stream from the start, without the bytes that were already
            // delivered.
            Err(Failure {
                cause: Cause::RangeIgnored,
                ..
            }) => {
                drop(parts);
                return pump_stream(&*store, &object, delivered, &context, &sender).await;
            }
            part => part?,
        };
        delivered += part.0.len() as u64;
        if sender.send(part).await.is_err() {
            return Ok(());
        }
    }
    Ok(())
}

fn split(size: u64) -> impl Iterator<Item = Range<u64>> {
    let parts = size.div_ceil(PART_BYTES);
    (0..parts).map(move |part| part * PART_BYTES..((part + 1) * PART_BYTES).min(size))
}

/// Reads one part, and retries if the connection broke or stalled. A stall is retried only once, because it has already
/// cost the whole idle timeout.
async fn read_part(
    store: &dyn Store,
    object: &ObjectMeta,
    range: Range<u64>,
    context: &Arc<CallContext>,
) -> StoreResult<Bytes> {
    let expected = range.end - range.start;
    let mut attempt = 1;
    loop {
        let failure = match store
            .read(&object.path, range.clone(), &object.etag, context)
            .await
        {
            Ok(bytes) if bytes.len() as u64 == expected => return Ok(bytes),
            Ok(bytes) => Failure::new(
                Cause::Malformed,
                format!(
                    "expected {expected} bytes of '{}', got {}",
                    object.path,
                    bytes.len()
                ),
            ),
            Err(failure) => failure,
        };
        let allowed = if failure.cause == Cause::Stalled {
            context.attempts.min(2)
        } else {
            context.attempts
        };
        if !is_transient(failure.cause) || attempt >= allowed {
            return Err(failure);
        }
        context.retried();
        tokio::time::sleep(pause(attempt)).await;
        attempt += 1;
    }
}

/// Whether the same request can succeed within the same call.
fn is_transient(cause: Cause) -> bool {
    matches!(
        cause,
        Cause::Broken | Cause::Stalled | Cause::Malformed | Cause::Conflict
    )
}

async fn pump_stream(
    store: &dyn Store,
    object: &ObjectMeta,
    mut skip: u64,
    context: &Arc<CallContext>,
    sender: &mpsc::Sender<Part>,
) -> StoreResult<()> {
    let (_, mut chunks) = store.stream(&object.path, Some(&object.etag), context).await?;
    let mut left = object.size;
    while let Some(chunk) = chunks.next().await {
        let mut chunk = chunk?;
        if chunk.len() as u64 > left {
            return Err(wrong_length(object));
        }
        left -= chunk.len() as u64;
        let skipped = usize::try_from(skip).unwrap_or(usize::MAX).min(chunk.len());
        skip -= skipped as u64;
        chunk.advance(skipped);
        if !chunk.is_empty() && sender.send((chunk, None)).await.is_err() {
            return Ok(());
        }
    }
    if left > 0 {
        return Err(wrong_length(object));
    }
    Ok(())
}

fn wrong_length(object: &ObjectMeta) -> Failure {
    Failure::new(
        Cause::Malformed,
        format!(
            "'{}' does not have the expected {} bytes",
            object.path, object.size
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cover_the_object_without_gaps() {
        for size in [
            0,
            1,
            PART_BYTES - 1,
            PART_BYTES,
            PART_BYTES + 1,
            5 * PART_BYTES + 7,
        ] {
            let parts: Vec<_> = split(size).collect();
            assert_eq!(parts.last().map_or(0, |part| part.end), size);
            assert!(parts.windows(2).all(|pair| pair[0].end == pair[1].start));
        }
    }
}
