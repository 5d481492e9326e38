//! The times of the protocol, and the clocks that they are measured by.

/// Longest lease that is honoured: a record with a longer one, by mistake or on purpose, blocks nobody for longer.
const MAX_TTL_MS: u64 = 600_000;
/// Shortest lease that is honoured.
const MIN_TTL_MS: u64 = 100;
/// The first pause after a failed request. It doubles with each further failure.
const FIRST_BACKOFF_MS: i64 = 100;
/// Most doublings of that pause.
const MAX_DOUBLINGS: u32 = 4;

/// The clocks of one participant, in milliseconds. Only differences count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Now {
    /// Monotonic. The age of what others wrote is measured by it: an observer that was suspended must not conclude that
    /// a holder was silent in the meantime.
    pub monotonic: i64,
    /// Monotonic, and counts suspend. A holder measures its own lease by it: others were not suspended with it.
    pub boot: i64,
    /// The wall clock, which is written for humans.
    pub wall: u64,
}

/// What a participant may do, and how long it waits.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Rules {
    /// Names this participant. Unique.
    pub token: u128,
    /// The lease that this participant asks for.
    pub ttl_ms: u64,
    /// The pause between two reads of a waiter.
    pub poll_ms: i64,
    /// How long the store may fail, or refuse writes, before the call ends without it.
    pub patience_ms: i64,
    /// Whether this participant may write.
    pub may_write: bool,
    /// Whether the failure of a build that this participant waited for is its own failure.
    pub shares_failures: bool,
}

impl Rules {
    /// How old a renewal may become before the next one.
    pub fn renew_after(&self) -> i64 {
        signed(self.ttl_ms / 3)
    }

    /// How old the last renewal may become before the holder stops its build. A clock that is slow by a fifth measures
    /// it in 5/6 of the lease, which is before anybody can take over.
    pub fn stop_after(&self) -> i64 {
        signed(self.ttl_ms * 2 / 3)
    }

    /// How long a record of another participant must have been seen unchanged before it is taken over. A clock that is
    /// fast by a quarter measures it in one lease.
    pub fn expires_after(ttl_ms: u64) -> i64 {
        let ttl = ttl_ms.clamp(MIN_TTL_MS, MAX_TTL_MS);
        signed(ttl + ttl / 4)
    }

    /// The pause after so many failures in a row.
    pub fn backoff(failures: u32) -> i64 {
        FIRST_BACKOFF_MS << failures.saturating_sub(1).min(MAX_DOUBLINGS)
    }
}

fn signed(milliseconds: u64) -> i64 {
    i64::try_from(milliseconds).unwrap_or(i64::MAX)
}
