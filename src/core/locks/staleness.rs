//! Decides when an unverifiable holder counts as dead: after it has not changed for long enough, as observed from this
//! machine, on a clock that stops in suspend. Each waiter remembers its own first observation. The observation is also
//! stored on disk. Otherwise an orphan would outlive every waiter whose timeout is shorter than the window.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::neighbours::Neighbours;
use super::path::LockPath;
use crate::core::error::{Optional as _, Result};
use crate::core::sys::clock::{monotonic_micros, wall_millis};
use crate::core::sys::fs::Kind;
use crate::core::sys::identity::this_process;
use crate::core::sys::{fault, fs};

/// Maximum number of observations on disk, over all boots and subjects.
const MAX_OBSERVATIONS: usize = 16;
const MAX_BYTES: u64 = 8192;

/// Observed object. Each one is observed separately, so that waiters for one do not disturb waiters for the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Subject {
    /// The highest record.
    Record,
    /// The lock directory.
    Directory,
}

/// First observation of one state. `.K.observed` contains a list of them. Each boot has its own clock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Observation {
    subject: Subject,
    /// Hash of everything that a live holder would change.
    hash: String,
    /// Boot whose clock was used.
    boot_id: Option<String>,
    /// Monotonic time in microseconds.
    since_micros: u64,
}

impl Observation {
    fn has_same_origin(&self, other: &Self) -> bool {
        self.subject == other.subject && self.boot_id == other.boot_id
    }

    fn is_same(&self, other: &Self) -> bool {
        self.has_same_origin(other) && self.hash == other.hash
    }
}

/// Observations of one waiter.
#[derive(Debug, Default)]
pub(super) struct StalenessTracker {
    observations: Vec<Observation>,
}

impl StalenessTracker {
    /// Time for which `evidence` has been observed unchanged on this machine, up to now.
    pub(super) fn unchanged_for(
        &mut self,
        lock: &LockPath,
        neighbours: &Neighbours,
        subject: Subject,
        evidence: &[u8],
    ) -> Duration {
        if fault::is_seeded("lock-wall-clock-staleness") {
            return age_by_wall_clock(lock);
        }
        let now = monotonic_micros();
        let seen = Observation {
            subject,
            hash: blake3::hash(evidence).to_hex().to_string(),
            boot_id: this_process().boot_id.clone(),
            since_micros: now,
        };
        let (on_disk, may_be_replaced) = read(lock, neighbours);
        let first = on_disk
            .iter()
            .chain(&self.observations)
            .filter(|observation| observation.is_same(&seen) && observation.since_micros <= now)
            .min_by_key(|observation| observation.since_micros)
            .cloned()
            .unwrap_or(seen);
        if may_be_replaced && !on_disk.contains(&first) {
            // On a full disk, the observation in memory is enough for this waiter.
            drop(write(lock, on_disk, first.clone()));
        }
        self.observations
            .retain(|observation| !observation.has_same_origin(&first));
        let since = first.since_micros;
        self.observations.push(first);
        Duration::from_micros(now - since)
    }
}

/// Returns the observations on disk, and whether the file may be replaced. A file of an untrusted user counts as empty:
/// a false observation would end a live holder's lease.
fn read(lock: &LockPath, neighbours: &Neighbours) -> (Vec<Observation>, bool) {
    let path = &*lock.observed();
    match fs::stat(path) {
        Err(error) => return (Vec::new(), error.is_not_found()),
        Ok(stat) if stat.kind != Kind::File || !neighbours.trusts(&stat) => return (Vec::new(), false),
        Ok(_) => {}
    }
    let bytes = fs::read_capped(path, MAX_BYTES).optional().ok().flatten();
    let observations = bytes.and_then(|bytes| parse(&bytes));
    (observations.unwrap_or_default(), true)
}

fn parse(bytes: &[u8]) -> Option<Vec<Observation>> {
    serde_json::from_slice(bytes).ok()
}

/// Whether these bytes are a file of observations.
pub(super) fn is_observation(bytes: &[u8]) -> bool {
    parse(bytes).is_some_and(|observations| !observations.is_empty())
}

/// Writes the observations. Those of other boots and subjects are kept: their clocks cannot be compared with ours, and
/// their waiters need them.
fn write(lock: &LockPath, mut observations: Vec<Observation>, first: Observation) -> Result<()> {
    observations.retain(|observation| !observation.has_same_origin(&first));
    observations.push(first);
    let oldest = observations.len().saturating_sub(MAX_OBSERVATIONS);
    let bytes = serde_json::to_vec(&observations[oldest..]).unwrap_or_default();
    let next = lock.next();
    fs::replace(&lock.observed(), &next, &bytes, 0o666).inspect_err(|_| drop(fs::remove_file(&next)))
}

/// Removes all observations.
pub(super) fn forget(lock: &LockPath, neighbours: &Neighbours) {
    let path = &*lock.observed();
    // A file that remains describes a state that never occurs again.
    if fs::stat(path).is_ok_and(|stat| neighbours.trusts(&stat)) {
        drop(fs::remove_file(path));
    }
}

/// Seeded bug that nearly every comparable library has.
fn age_by_wall_clock(lock: &LockPath) -> Duration {
    let modified = fs::stat(lock.directory()).map_or(0, |stat| stat.modified_ns / 1_000_000);
    let now = i128::from(wall_millis());
    Duration::from_millis(u64::try_from(now - modified).unwrap_or(0))
}
