//! Cells: versioned bytes that all threads of the process share.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};

use tokio::sync::watch;

use crate::core::error::{Code, Error, Result};
use crate::core::sys::cancel::Cancel;
use crate::core::sys::deadline::Deadline;
use crate::core::sys::fault;
use crate::core::sys::sync::Mutex;

static CELLS: LazyLock<Mutex<HashMap<Vec<u8>, &'static Cell>>> = LazyLock::new(Mutex::default);

/// Content of a cell at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Value. `None` before the first write.
    pub bytes: Option<Arc<[u8]>>,
    /// Version. 0 before the first write, then one more with each write.
    pub version: u64,
}

/// Result of a compare-and-set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Swap {
    /// The value was written. Holds the new version.
    Written(u64),
    /// The cell had another version, and nothing was written. Holds the current version.
    Refused(u64),
}

/// A versioned value that the whole process shares. See the module documentation.
#[derive(Debug)]
pub struct Cell {
    latest: watch::Sender<Snapshot>,
    word: AtomicU64,
}

/// Returns the cell with this key and creates it if it does not exist. Keys are opaque bytes.
pub fn cell(key: &[u8]) -> &'static Cell {
    let mut cells = CELLS.lock();
    if let Some(known) = cells.get(key) {
        return known;
    }
    // Leaked on purpose: environments map its version word, and their end cannot be observed here.
    let made: &'static Cell = Box::leak(Box::new(Cell {
        latest: watch::Sender::default(),
        word: AtomicU64::new(0),
    }));
    cells.insert(key.to_vec(), made);
    made
}

impl Cell {
    /// Returns the value and its version, read atomically.
    pub fn read(&self) -> Snapshot {
        self.latest.borrow().clone()
    }

    /// Returns the version of the latest write.
    pub fn version(&self) -> u64 {
        self.word.load(Ordering::Acquire)
    }

    /// Memory in which the version is published.
    pub fn word(&'static self) -> &'static AtomicU64 {
        &self.word
    }

    /// Replaces the value unconditionally and returns the new version.
    pub fn write(&self, bytes: &[u8]) -> u64 {
        let bytes = Arc::from(bytes);
        let mut version = 0;
        self.latest.send_if_modified(|latest| {
            version = self.put(latest, bytes);
            !fault::is_seeded("state-write-wakes-nobody")
        });
        version
    }

    /// Replaces the value if the current version is `expected`.
    pub fn compare_and_set(&self, expected: u64, bytes: &[u8]) -> Swap {
        let bytes = Arc::from(bytes);
        let mut swap = Swap::Refused(expected);
        self.latest.send_if_modified(|latest| {
            let is_expected = latest.version == expected || fault::is_seeded("state-cas-without-compare");
            swap = if is_expected {
                Swap::Written(self.put(latest, bytes))
            } else {
                Swap::Refused(latest.version)
            };
            is_expected
        });
        swap
    }

    /// Waits until the version differs from `since`, and returns the latest version. Fails with `ERR_TIMEOUT` at the
    /// deadline and with `ERR_ABORTED` when cancelled.
    pub async fn changed(&self, since: u64, deadline: Deadline, cancel: &Cancel) -> Result<u64> {
        let mut changes = self.latest.subscribe();
        tokio::select! {
            // The sender is never dropped, so the wait cannot fail.
            latest = changes.wait_for(|latest| latest.version != since) => Ok(latest.map_or(since, |latest| latest.version)),
            () = cancel.cancelled() => Err(Cancel::error()),
            () = passed(deadline) => Err(Error::new(Code::Timeout, "The cell did not change before the timeout")),
        }
    }

    /// Number of pending waits.
    pub fn waiting(&self) -> usize {
        self.latest.receiver_count()
    }

    fn put(&self, latest: &mut Snapshot, bytes: Arc<[u8]>) -> u64 {
        latest.version += 1;
        latest.bytes = Some(bytes);
        self.word.store(latest.version, Ordering::Release);
        latest.version
    }
}

async fn passed(deadline: Deadline) {
    match deadline.instant() {
        Some(instant) => tokio::time::sleep_until(instant.into()).await,
        None => std::future::pending().await,
    }
}
