//! What a reader accepts at most. Everything is counted while it happens, never taken from a header.

use crate::core::sys::path::MAX_PATH_BYTES;

use super::super::codec::MAX_WINDOW_LOG;
use super::super::failure::{Failure, Result};

/// Extension headers longer than this are refused (a pax header of 256 MiB is 8 KiB compressed).
pub(super) const MAX_META_BYTES: u64 = 1 << 20;
/// Deepest path that is accepted.
pub(super) const MAX_DEPTH: usize = 256;
/// Zero blocks after the end that are read over: GNU tar pads to 10 KiB, tapes to 63.
pub(super) const MAX_TRAILING_ZEROS: u64 = 1 << 20;
/// Below this the ratio says nothing.
const RATIO_MATTERS_FROM: u64 = 64 << 20;

/// Limits of one extraction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// All files together, in bytes. @default 64 GiB
    pub max_bytes: u64,
    /// Entries. @default 5 000 000
    pub max_files: u64,
    /// One file, in bytes. @default 64 GiB
    pub max_file_bytes: u64,
    /// Decoded bytes for one compressed byte, once 64 MiB are decoded. @default 1000
    pub max_ratio: u64,
    /// What decoder and buffers may take, in bytes. @default 192 MiB
    pub max_memory_bytes: u64,
    /// What must stay free on the disk, in bytes. @default 64 MiB
    pub min_free_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_bytes: 64 << 30,
            max_files: 5_000_000,
            max_file_bytes: 64 << 30,
            // node-tar's bound (CVE-2026-59873).
            max_ratio: 1000,
            max_memory_bytes: 192 << 20,
            min_free_bytes: 64 << 20,
        }
    }
}

impl Limits {
    /// The largest zstd window that fits the memory beside 32 MiB of buffers.
    pub(super) fn max_window_log(&self) -> u32 {
        let room = self.max_memory_bytes.saturating_sub(32 << 20).max(1 << 20);
        room.ilog2().min(MAX_WINDOW_LOG)
    }

    /// How many of the wanted connections may hold a part at once.
    pub(in super::super) fn connections(&self, wanted: usize, part_bytes: u64) -> usize {
        let fit = usize::try_from(self.max_memory_bytes / 2 / part_bytes).unwrap_or(usize::MAX);
        wanted.min(fit).max(1)
    }

    pub(super) fn check_entries(&self, entries: u64) -> Result<()> {
        if entries > self.max_files {
            return Err(Failure::over_limit(format!(
                "the archive has more than {} entries (limits.maxFiles)",
                self.max_files
            )));
        }
        Ok(())
    }

    /// What is kept of all entries until the end of the archive.
    pub(super) fn check_memory(&self, bytes: u64) -> Result<()> {
        if bytes > self.max_memory_bytes {
            return Err(Failure::over_limit(format!(
                "the names of the archive's entries take more than {} bytes (limits.maxMemoryBytes)",
                self.max_memory_bytes
            )));
        }
        Ok(())
    }

    pub(super) fn check_file(&self, size: u64, path: &[u8]) -> Result<()> {
        if size > self.max_file_bytes {
            return Err(Failure::over_limit(format!(
                "'{}' has {size} bytes, more than {} (limits.maxFileBytes)",
                path.escape_ascii(),
                self.max_file_bytes
            )));
        }
        Ok(())
    }

    pub(super) fn check_bytes(&self, bytes: u64) -> Result<()> {
        if bytes > self.max_bytes {
            return Err(Failure::over_limit(format!(
                "the files have more than {} bytes (limits.maxBytes)",
                self.max_bytes
            )));
        }
        Ok(())
    }

    pub(super) fn check_ratio(&self, decoded: u64, compressed: u64) -> Result<()> {
        if decoded > RATIO_MATTERS_FROM && decoded / compressed.max(1) > self.max_ratio {
            return Err(Failure::over_limit(format!(
                "{compressed} compressed bytes became {decoded}, more than 1:{} (limits.maxRatio)",
                self.max_ratio
            )));
        }
        Ok(())
    }
}

/// Refuses what is too long or too deep for any filesystem we write to.
pub(super) fn check_path(path: &[u8]) -> Result<()> {
    let depth = path.split(|byte| *byte == b'/').count() - 1;
    if path.len() >= MAX_PATH_BYTES || depth >= MAX_DEPTH {
        return Err(Failure::over_limit(format!(
            "a path of {} bytes and {depth} directories is too long or too deep",
            path.len()
        )));
    }
    Ok(())
}
