//! What a participant remembers of its own requests: the writes that may have landed, and how many failed.

use super::record::{Record, State};
use super::rules::{Now, Rules};
use crate::core::sys::fault;

/// Most failures that are counted.
const MAX_FAILURES: u32 = 8;

/// The writes of this participant that may have landed.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(super) struct OwnWrites {
    last_seq: u64,
    confirmed: u64,
    /// Number and begin by the boot clock, from the last one that is known to have landed.
    begun: Vec<(u64, i64)>,
}

impl OwnWrites {
    /// Begins a write.
    pub(super) fn begin<R>(&mut self, state: State<R>, rules: &Rules, now: Now) -> Record<R> {
        self.last_seq += 1;
        self.write(state, rules, now)
    }

    /// Begins the write of a renewal.
    pub(super) fn renew<R>(&mut self, state: State<R>, rules: &Rules, now: Now) -> Record<R> {
        if !fault::is_seeded("ensure-same-bytes") {
            self.last_seq += 1;
        }
        self.write(state, rules, now)
    }

    fn write<R>(&mut self, state: State<R>, rules: &Rules, now: Now) -> Record<R> {
        self.begun.push((self.last_seq, now.boot));
        Record {
            token: rules.token,
            seq: self.last_seq,
            ttl_ms: rules.ttl_ms,
            written_ms: now.wall,
            state,
        }
    }

    pub(super) fn last_seq(&self) -> u64 {
        self.last_seq
    }

    /// Whether a write may have landed that no read and no answer has confirmed.
    pub(super) fn is_unresolved(&self) -> bool {
        self.last_seq > self.confirmed
    }

    /// When the write with this number was begun. Forgets the earlier ones: the record is past them.
    pub(super) fn confirm(&mut self, seq: u64) -> Option<i64> {
        self.confirmed = self.confirmed.max(seq);
        self.begun.retain(|(number, _)| *number >= seq);
        let begun = self.begun.iter().find(|(number, _)| *number == seq);
        begun.map(|(_, begun)| *begun)
    }

    pub(super) fn rebase(&mut self, by: i64) {
        for (_, begun) in &mut self.begun {
            *begun -= by;
        }
    }
}

/// Requests that failed since the last success.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) struct Trouble {
    failures: u32,
    since: Option<i64>,
}

impl Trouble {
    /// Whether patience has run out.
    pub(super) fn is_over(self, now: Now, patience: i64) -> bool {
        self.since.is_some_and(|since| now.monotonic - since >= patience)
    }

    /// Counts a failure. Returns how long to pause, or none if patience has run out.
    pub(super) fn add(&mut self, now: Now, patience: i64) -> Option<i64> {
        self.since.get_or_insert(now.monotonic);
        self.failures = (self.failures + 1).min(MAX_FAILURES);
        (!self.is_over(now, patience)).then(|| Rules::backoff(self.failures))
    }

    pub(super) fn end(&mut self) {
        *self = Self::default();
    }

    pub(super) fn rebase(&mut self, by: i64) {
        self.since = self.since.map(|since| since - by);
    }
}
