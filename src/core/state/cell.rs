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

/// What a cell holds at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// `None` before the first write.
    pub bytes: Option<Arc<[u8]>>,
    /// 0 before the first write; one more with each write.
    pub version: u64,
}

/// How a compare-and-set ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Swap {
    /// The value was written; this is its version.
    Written(u64),
    /// Somebody else was first; this is the version that stands.
    Refused(u64),
}

/// A versioned value of the process; see the module's documentation.
#[derive(Debug)]
pub struct Cell {
    latest: watch::Sender<Snapshot>,
    word: AtomicU64,
}

/// The cell of this key, made if there is none. Keys are opaque bytes.
pub fn cell(key: &[u8]) -> &'static Cell {
    let mut cells = CELLS.lock();
    if let Some(known) = cells.get(key) {
        return known;
    }
    // Leaked on purpose: its word is mapped into environments whose end is nobody's to know.
    let made: &'static Cell = Box::leak(Box::new(Cell {
        latest: watch::Sender::default(),
        word: AtomicU64::new(0),
    }));
    cells.insert(key.to_vec(), made);
    made
}

impl Cell {
    /// Value and version, of one moment.
    pub fn read(&self) -> Snapshot {
        self.latest.borrow().clone()
    }

    /// The version of the latest write.
    pub fn version(&self) -> u64 {
        self.word.load(Ordering::Acquire)
    }

    /// Where the version is published.
    pub fn word(&'static self) -> &'static AtomicU64 {
        &self.word
    }

    /// Writes whatever stood there; returns the new version.
    pub fn write(&self, bytes: &[u8]) -> u64 {
        let bytes = Arc::from(bytes);
        let mut version = 0;
        self.latest.send_if_modified(|latest| {
            version = self.put(latest, bytes);
            !fault::is_seeded("state-write-wakes-nobody")
        });
        version
    }

    /// Writes only onto the version that the caller has seen.
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

    /// Resolves with the latest version once it is not `since`.
    pub async fn changed(&self, since: u64, deadline: Deadline, cancel: &Cancel) -> Result<u64> {
        let mut changes = self.latest.subscribe();
        tokio::select! {
            // The sender is never dropped, so the wait cannot fail.
            latest = changes.wait_for(|latest| latest.version != since) => Ok(latest.map_or(since, |latest| latest.version)),
            () = cancel.cancelled() => Err(Cancel::error()),
            () = passed(deadline) => Err(Error::new(Code::Timeout, "the cell did not change in time")),
        }
    }

    /// How many waits are pending.
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
