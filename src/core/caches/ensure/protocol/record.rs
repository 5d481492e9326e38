//! The one object per key and fingerprint that all participants read and write.

/// The record, as far as the protocol depends on it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Record<R> {
    /// Names the participant that wrote it.
    pub token: u128,
    /// Grows with each write of that participant, so that no two writes have the same bytes. The version of an object
    /// can be a hash of its bytes (the `ETag` of S3 is its MD5).
    pub seq: u64,
    /// How long the record may stay unchanged while its writer is alive, in milliseconds.
    pub ttl_ms: u64,
    /// When it was written, by the wall clock of its writer. For humans: no participant compares it.
    pub written_ms: u64,
    /// What is known of the result.
    pub state: State<R>,
}

/// What is known of the result.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum State<R> {
    /// The writer holds the lease and builds.
    Building,
    /// The result. Final as long as its blob verifies.
    Ready(R),
    /// The writer has given up the lease. With a message if its build failed.
    Failed(Option<String>),
}

/// What a read found.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Found<V, R> {
    /// There is no record.
    Nothing,
    /// An object that is not a record.
    Unreadable(V),
    /// A record in this version.
    Record(V, Record<R>),
}

/// When a write may happen.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Condition<V> {
    /// No object exists.
    Absent,
    /// The object is unchanged.
    Version(V),
    /// Never returned, except by seeded bugs.
    Always,
}
