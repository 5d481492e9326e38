//! Named pins: records on disk that keep a generation until a time, without a process that holds it.
//!
//! A lock ends with its process. A session that resumes after a restart, or after a reboot, needs its generation for
//! longer (vercel/eve#714). A record is `named/<BLAKE3 of the name>.json`, one file for each name.
//!
//! Programs of version 0.1.0 and of other languages know no records. They keep what stopped being current less than
//! `graceMs` ago, where an end in the future counts as now. So two further files say the same for them: the
//! generation's `until` in `history` is the end of its pin, and `graceMs` in `config.json` is at least the time that is
//! left ([`super::bounds`] has the value that the user chose).

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::core::error::{Optional, Result};
use crate::core::sys::fs::{self, Kind};
use crate::core::sys::{clock, fault};

use super::head::MAX_TIME;
use super::layout::{Layout, MAX_NUMBER};

/// Far more than a record with the longest name takes.
const MAX_RECORD_BYTES: u64 = 65_536;

/// A generation that is kept under a name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NamedPin {
    /// The name, unique in the store.
    pub name: String,
    /// The generation.
    pub number: u64,
    /// When the name was given to this generation, milliseconds since the epoch.
    pub pinned_at: u64,
    /// When the pin ends by itself, milliseconds since the epoch.
    pub expires_at: u64,
}

impl NamedPin {
    pub(super) fn is_live(&self, now: u64) -> bool {
        self.expires_at > now
    }

    fn is_plausible(&self) -> bool {
        (1..=MAX_NUMBER).contains(&self.number) && self.expires_at <= MAX_TIME && self.pinned_at <= MAX_TIME
    }
}

pub(super) fn record_of(layout: &Layout, name: &str) -> PathBuf {
    let hash = blake3::hash(name.as_bytes()).to_hex();
    layout.named().join(format!("{hash}.json"))
}

/// All readable records with their files. A file that is no record of the name that it is called after pins nothing.
pub(super) fn records(layout: &Layout) -> Result<Vec<(PathBuf, NamedPin)>> {
    let entries = fs::read_directory(&layout.named()).optional()?;
    let mut records = Vec::new();
    for entry in entries.unwrap_or_default() {
        let path = layout.named().join(&entry.name);
        let Some(stat) = fs::stat(&path).optional()? else {
            continue;
        };
        if stat.kind != Kind::File || stat.size > MAX_RECORD_BYTES {
            continue;
        }
        let bytes = fs::read_capped(&path, MAX_RECORD_BYTES).optional()?;
        let record = bytes.and_then(|bytes| serde_json::from_slice::<NamedPin>(&bytes).ok());
        if let Some(record) =
            record.filter(|record| record.is_plausible() && record_of(layout, &record.name) == path)
        {
            records.push((path, record));
        }
    }
    Ok(records)
}

/// The named pins that have not ended, in the order of their names.
pub(super) fn live(layout: &Layout) -> Result<Vec<NamedPin>> {
    if fault::is_seeded("protocol-1") || fault::is_seeded("named-pin-ends-with-process") {
        return Ok(Vec::new());
    }
    let now = clock::wall_millis();
    let mut pins: Vec<NamedPin> = records(layout)?
        .into_iter()
        .map(|(_, record)| record)
        .filter(|record| record.is_live(now))
        .collect();
    pins.sort_unstable_by(|one, other| one.name.cmp(&other.name));
    Ok(pins)
}
