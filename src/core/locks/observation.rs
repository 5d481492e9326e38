//! What nobody can verify is left when it has not changed for long enough, as seen from this machine, on a
//! clock that stops in suspend. The first sight is kept on disk: else an orphan would outlive every waiter
//! whose timeout is shorter than the window.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::paths::LockPath;
use crate::core::error::{Optional as _, Result};
use crate::core::sys::identity::{monotonic_micros, this_process};
use crate::core::sys::{fault, fs};

/// `.K.observed`.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Observation {
    /// Of everything that a living holder would change.
    hash: String,
    /// Boot whose clock it is.
    boot_id: Option<String>,
    /// Monotonic microseconds of the first sight.
    since_micros: u64,
}

/// How long `evidence` has been seen unchanged on this machine, this look included.
pub(super) fn unchanged_for(lock: &LockPath, evidence: &[u8]) -> Result<Duration> {
    let now = monotonic_micros();
    let hash = blake3::hash(evidence).to_hex().to_string();
    let boot_id = this_process().boot_id.clone();
    let path = lock.observed();
    if fault::mutant("lock-wall-clock-staleness") {
        return Ok(age_by_wall_clock(lock));
    }
    let known = fs::read_capped(&path, 4096).optional().ok().flatten();
    let known = known.and_then(|bytes| serde_json::from_slice::<Observation>(&bytes).ok());
    if let Some(known) = known
        && known.hash == hash
        && known.boot_id == boot_id
        && known.since_micros <= now
    {
        return Ok(Duration::from_micros(now - known.since_micros));
    }
    let observation = Observation {
        hash,
        boot_id,
        since_micros: now,
    };
    let bytes = serde_json::to_vec(&observation).unwrap_or_default();
    let unique = uuid::Uuid::new_v4().to_string();
    fs::replace(&path, &lock.next(&unique), &bytes, 0o666)?;
    Ok(Duration::ZERO)
}

/// Forgets what was seen.
pub(super) fn forget(lock: &LockPath) -> Result<()> {
    fs::remove_file(&lock.observed()).optional().map(drop)
}

/// The seeded bug of nearly every peer.
fn age_by_wall_clock(lock: &LockPath) -> Duration {
    let modified = fs::stat(lock.directory()).map_or(0, |stat| stat.modified_ns / 1_000_000);
    let now = i128::from(crate::core::sys::clock::wall_millis());
    Duration::from_millis(u64::try_from(now - modified).unwrap_or(0))
}
