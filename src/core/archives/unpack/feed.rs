//! Reader of pushed bytes, with back-pressure. It never blocks after the call has ended.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use tokio::sync::Notify;

use crate::core::error::{Code, Error};
use crate::core::sys::cancel::Cancel;
use crate::core::sys::sync::{Condvar, Mutex};

use crate::core::failure::Failure;

/// Number of unread bytes at which the feeder has to wait.
const MAX_BUFFERED_BYTES: usize = 8 << 20;
/// Interval at which a waiting reader checks whether its call was cancelled.
const CANCEL_CHECK: Duration = Duration::from_millis(20);

/// The feeder's end. Clones share it.
#[derive(Debug, Clone)]
pub struct Feed(Arc<Shared>);

/// The reader's end.
#[derive(Debug)]
pub(super) struct FeedReader {
    shared: Arc<Shared>,
    cancel: Cancel,
    current: Vec<u8>,
    at: usize,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    filled: Condvar,
    drained: Notify,
}

#[derive(Debug, Default)]
struct State {
    chunks: VecDeque<Vec<u8>>,
    bytes: usize,
    is_ended: bool,
    failure: Option<String>,
    is_reader_closed: bool,
}

/// What the feeder does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Pushes the next bytes.
    More,
    /// Waits for [`Feed::drained`].
    Wait,
    /// Stops, because no more bytes are read.
    Stop,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

impl State {
    fn next(&self) -> Next {
        match self {
            Self {
                is_reader_closed: true,
                ..
            } => Next::Stop,
            Self { bytes, .. } if *bytes >= MAX_BUFFERED_BYTES => Next::Wait,
            _ => Next::More,
        }
    }
}

/// Creates both ends. A read fails soon after `cancel` is raised.
pub(super) fn feed(cancel: Cancel) -> (Feed, FeedReader) {
    let shared = Arc::new(Shared::default());
    let reader = FeedReader {
        shared: Arc::clone(&shared),
        cancel,
        current: Vec::new(),
        at: 0,
    };
    (Feed(shared), reader)
}

impl Feed {
    /// Adds bytes.
    pub fn push(&self, bytes: Vec<u8>) -> Next {
        let mut state = self.0.lock();
        if !bytes.is_empty() {
            state.bytes += bytes.len();
            state.chunks.push_back(bytes);
        }
        let next = state.next();
        drop(state);
        self.0.filled.notify_one();
        next
    }

    /// Marks the end of the bytes.
    pub fn end(&self) {
        self.0.lock().is_ended = true;
        self.0.filled.notify_one();
    }

    /// Reports that the source of the bytes failed.
    pub fn fail(&self, reason: String) {
        self.0.lock().failure.get_or_insert(reason);
        self.0.filled.notify_one();
    }

    /// Resolves when more bytes can be pushed, or when no more bytes are read.
    pub async fn drained(&self) -> Next {
        loop {
            let wait = self.0.drained.notified();
            match self.0.lock().next() {
                Next::Wait => {}
                next => return next,
            }
            wait.await;
        }
    }
}

impl Read for FeedReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at == self.current.len() {
            self.current = self.wait()?;
            self.at = 0;
        }
        let count = buffer.len().min(self.current.len() - self.at);
        buffer[..count].copy_from_slice(&self.current[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
}

impl FeedReader {
    fn wait(&self) -> io::Result<Vec<u8>> {
        let mut state = self.shared.lock();
        loop {
            self.cancel.check().map_err(Failure::from)?;
            if let Some(reason) = state.failure.take() {
                let error = Error::new(Code::Io, format!("the source of the archive failed: {reason}"));
                return Err(Failure::from(error).into());
            }
            if let Some(chunk) = state.chunks.pop_front() {
                state.bytes -= chunk.len();
                drop(state);
                self.shared.drained.notify_one();
                return Ok(chunk);
            }
            if state.is_ended {
                return Ok(Vec::new());
            }
            state = self.shared.filled.wait_timeout(state, CANCEL_CHECK).0;
        }
    }
}

impl Drop for FeedReader {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.is_reader_closed = true;
        state.chunks.clear();
        state.bytes = 0;
        drop(state);
        self.shared.drained.notify_one();
    }
}
