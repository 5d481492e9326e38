//! A packed directory as a stream of chunks, packed as fast as they are read.

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::{Mutex, mpsc};

use crate::core::archives::codec;
use crate::core::archives::pack::options::WriteOptions;
use crate::core::archives::pack::write::write;
use crate::core::error::Result;
use crate::core::failure::{self, Failure};
use crate::core::sys::cancel::Cancel;
use crate::core::sys::workers::{self, Class};
use crate::core::sys::{fs, thread};

/// Number of chunks that wait to be read.
const CHUNKS: usize = 2;

/// A directory that is packed to a stream. Packing starts with the first [`PackStream::next`]. Clones share the stream.
#[derive(Clone)]
pub struct PackStream {
    source: Arc<Mutex<Source>>,
    cancel: Cancel,
}

enum Source {
    Ready(PathBuf, WriteOptions),
    Running(mpsc::Receiver<failure::Result<Vec<u8>>>),
    Ended,
}

/// Prepares to pack a directory like [`write`]. Raising `options.cancel` stops it. Makes no I/O.
pub fn pack(directory: PathBuf, options: WriteOptions) -> Result<PackStream> {
    codec::check_level(options.format, options.level)?;
    Ok(PackStream {
        cancel: options.cancel.clone(),
        source: Arc::new(Mutex::new(Source::Ready(directory, options))),
    })
}

impl PackStream {
    /// Returns the next bytes, or `None` after the end and after a failure. The bytes are a complete archive only if
    /// the end was reached without a failure.
    pub async fn next(&self) -> failure::Result<Option<Vec<u8>>> {
        let mut source = self.source.lock().await;
        tokio::select! {
            next = source.next() => next,
            () = self.cancel.cancelled() => Err(Cancel::error().into()),
        }
    }

    /// Stops packing.
    pub fn cancel(&self) {
        self.cancel.cancel();
    }
}

impl Source {
    async fn next(&mut self) -> failure::Result<Option<Vec<u8>>> {
        if let Self::Ready(directory, _) = self {
            // Checked with a shared thread first, because a directory that does not respond must not occupy one thread
            // per caller.
            let asked = directory.clone();
            workers::run(Class::Short, directory, move || drop(fs::stat(&asked))).await?;
            if let Self::Ready(directory, options) = std::mem::replace(self, Self::Ended) {
                *self = Self::Running(start(directory, options));
            }
        }
        let Self::Running(chunks) = self else {
            return Ok(None);
        };
        let next = chunks.recv().await;
        if !matches!(next, Some(Ok(_))) {
            *self = Self::Ended;
        }
        next.transpose()
    }
}

/// Packs on a separate thread, because a slow reader must not occupy a shared one.
fn start(directory: PathBuf, options: WriteOptions) -> mpsc::Receiver<failure::Result<Vec<u8>>> {
    let (sender, receiver) = mpsc::channel(CHUNKS);
    let on_failure = sender.clone();
    let spawned = thread::spawn("warmswap-pack", move || {
        let mut sink = Chunks(sender.clone());
        if let Err(failure) = write(&directory, &mut sink, &options) {
            // Sending fails if the reader was dropped, which is then the reason for the failure.
            drop(sender.blocking_send(Err(failure)));
        }
    });
    if let Err(error) = spawned {
        drop(on_failure.try_send(Err(error.into())));
    }
    receiver
}

struct Chunks(mpsc::Sender<failure::Result<Vec<u8>>>);

impl Write for Chunks {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !bytes.is_empty() && self.0.blocking_send(Ok(bytes.to_vec())).is_err() {
            return Err(Failure::from(Cancel::error()).into());
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
