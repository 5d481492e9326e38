//! Options of a snapshot.

use std::path::PathBuf;
use std::time::Duration;

use crate::core::archives::exclude::Excludes;
use crate::core::caches::guards::Guard;
use crate::core::caches::key::Key;
use crate::core::caches::pointer::Producer;
use crate::core::caches::ticket::Ticket;

/// Options of a snapshot.
#[derive(Debug, Clone)]
pub struct SnapshotOptions {
    /// Key to write.
    pub key: Key,
    /// Directory to upload.
    pub from: PathBuf,
    /// Ticket of the restore that this snapshot is based on.
    pub ticket: Option<Ticket>,
    /// What goes into the archive, and how it is compressed.
    pub packing: PackOptions,
    /// Minimum requirements on the tree.
    pub guard: Guard,
    /// Time for which the tree must be unchanged. Zero disables the check.
    pub quiet: Duration,
    /// Creator of the generation.
    pub producer: Producer,
}

/// What goes into an archive, and how it is compressed.
#[derive(Debug, Clone)]
pub struct PackOptions {
    /// Excluded entries.
    pub excludes: Excludes,
    /// Compression level. Without it, the default of the format.
    pub level: Option<i32>,
    /// Maximum number of files.
    pub max_files: u64,
    /// Maximum total bytes of the files.
    pub max_bytes: u64,
}
