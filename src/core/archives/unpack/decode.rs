//! The decoder thread: it decodes chunks of the tar stream and checks the compression ratio.

use std::io::{self, Read};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender};

use crate::core::archives::codec::Decoder;
use crate::core::archives::unpack::options::ExtractOptions;
use crate::core::error::Code;
use crate::core::failure::{Cause, Failure, Result};

/// Decoded bytes in one chunk.
const CHUNK_BYTES: usize = 256 << 10;

/// Counters that the decoder updates for other threads.
#[derive(Clone, Copy)]
pub(super) struct Counters<'a> {
    /// Number of compressed bytes that were read.
    pub(super) compressed: &'a AtomicU64,
    /// Number of bytes of the tar stream.
    pub(super) decoded: &'a AtomicU64,
    /// Set before the stream ends, if the compressed data proves that nothing is missing.
    pub(super) is_complete: &'a AtomicBool,
}

/// Converts the failure if a pointer declares the archive: data of another format is then damage.
fn as_promised(failure: Failure, options: &ExtractOptions) -> Failure {
    let is_of_format = failure.cause == Cause::Refused && failure.error.code == Code::Unsupported;
    if options.expected.is_some() && is_of_format {
        return Failure::corrupt(failure.error.message);
    }
    failure
}

/// Decodes until the stream ends, a limit is exceeded or the receiver is dropped.
pub(super) fn decode(
    source: impl Read,
    options: &ExtractOptions,
    counters: Counters<'_>,
    chunks: &SyncSender<io::Result<Vec<u8>>>,
    recycled: &Receiver<Vec<u8>>,
) {
    let Counters {
        compressed,
        decoded,
        is_complete,
    } = counters;
    let limits = &options.limits;
    let whole = options.compressed_bytes.unwrap_or(0);
    let declared = options.expected.as_ref().map_or(0, |expected| expected.bytes);
    let result: Result<()> = (|| {
        let source = Counted {
            source,
            count: compressed,
        };
        let decoder = Decoder::new(source, limits.window());
        let mut reader = decoder.map_err(|failure| as_promised(failure, options))?;
        loop {
            let mut chunk = recycled.try_recv().unwrap_or_default();
            let count = fill(&mut reader, &mut chunk).map_err(Failure::of_read)?;
            let total = decoded.fetch_add(count as u64, Ordering::Relaxed) + count as u64;
            limits.check_ratio(total, compressed.load(Ordering::Relaxed).max(whole), declared)?;
            if count == 0 {
                is_complete.store(reader.proves_its_end(), Ordering::Release);
                return Ok(());
            }
            if chunks.send(Ok(chunk)).is_err() {
                return Ok(());
            }
        }
    })();
    if let Err(failure) = result {
        // After a failure of the parser itself there is no receiver.
        drop(chunks.send(Err(io::Error::from(failure))));
    }
}

/// Fills a chunk unless the stream ends. A reused chunk is not zeroed again, unlike with `read_to_end`.
fn fill(reader: &mut impl Read, chunk: &mut Vec<u8>) -> io::Result<usize> {
    chunk.resize(CHUNK_BYTES, 0);
    let mut filled = 0;
    while filled < CHUNK_BYTES {
        match reader.read(&mut chunk[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    chunk.truncate(filled);
    Ok(filled)
}

struct Counted<'a, R> {
    source: R,
    count: &'a AtomicU64,
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.source.read(buffer)?;
        self.count.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}
