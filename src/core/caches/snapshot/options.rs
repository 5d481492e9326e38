//! What to snapshot and when not to.

use std::path::PathBuf;
use std::time::Duration;

use crate::core::archives::exclude::Excludes;
use crate::core::caches::guards::Guard;
use crate::core::caches::key::Key;
use crate::core::caches::pointer::Producer;
use crate::core::caches::ticket::Ticket;

/// What to snapshot and when not to.
#[derive(Debug, Clone)]
pub struct SnapshotOptions {
    /// Its name.
    pub key: Key,
    /// The tree.
    pub from: PathBuf,
    /// Of the restore that this snapshot builds on.
    pub ticket: Option<Ticket>,
    /// What goes into the archive and how.
    pub packing: PackOptions,
    /// What may become a generation.
    pub guard: Guard,
    /// How long the tree must have been unchanged; zero is off.
    pub quiet: Duration,
    /// Who makes it.
    pub producer: Producer,
}

/// What goes into an archive and how.
#[derive(Debug, Clone)]
pub struct PackOptions {
    /// What stays out.
    pub excludes: Excludes,
    /// Of the compression; the format's own default if absent.
    pub level: Option<i32>,
    /// Most files.
    pub max_files: u64,
    /// Most bytes of the files.
    pub max_bytes: u64,
}
