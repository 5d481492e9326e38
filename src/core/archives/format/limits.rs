//! Limits of a reader. Everything is counted while it is read or written, never taken from a header.
//!
//! The compression ratio is checked over the whole archive if its size is known in advance (a file, an object),
//! otherwise over what was read so far. Bytes that a pointer declares are exempt unless the caller sets a ratio,
//! because a file of zeros has 1:30 000 without being a decompression bomb. The numbers of the pointer limit a bomb in
//! that case: they are checked against `max_bytes` and `max_files` before the download, and no byte beyond them is
//! written. The ratio still applies to the other decoded data (headers, padding).

use crate::core::sys::name;
use crate::core::sys::path::MAX_PATH_BYTES;

use crate::core::archives::codec::WindowLimits;
use crate::core::archives::tree::{NodeKind, Tree};
use crate::core::failure::{Failure, Result};

/// Maximum size of an extension header in bytes. A pax header of 256 MiB is 8 KiB compressed.
pub(in crate::core::archives) const MAX_META_BYTES: u64 = 1 << 20;
/// Maximum depth of a path.
pub(in crate::core::archives) const MAX_DEPTH: usize = 256;
/// Maximum number of zero bytes after the end. GNU tar pads to 10 KiB by default, tapes to some MiB.
pub(in crate::core::archives) const MAX_TRAILING_ZEROS: usize = 64 << 20;
/// Memory of an extraction's buffers and queues in bytes, in addition to the decoder's window.
const BUFFER_BYTES: u64 = 32 << 20;
/// Memory for each directory in bytes, in addition to its path: its table entry and the allocation.
pub(in crate::core::archives) const DIRECTORY_BYTES: usize = 96;
/// Number of decoded bytes below which the ratio is not checked.
const RATIO_MATTERS_FROM: u64 = 64 << 20;
/// Same limit as node-tar (CVE-2026-59873).
const DEFAULT_RATIO: u64 = 1000;

/// Limits of one extraction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Total bytes of all files. Default 64 GiB.
    pub max_bytes: u64,
    /// Number of entries. Default 5 000 000.
    pub max_files: u64,
    /// Bytes of one file. Default 64 GiB.
    pub max_file_bytes: u64,
    /// Decoded bytes for each compressed byte, checked after 64 MiB of decoded data. Default 1000. By default, bytes
    /// that a pointer declares are exempt.
    pub max_ratio: Option<u64>,
    /// Memory in bytes for the decoder and its buffers. Default 192 MiB.
    pub max_memory_bytes: u64,
    /// Bytes that must stay free on the disk. Default 64 MiB.
    pub min_free_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_bytes: 64 << 30,
            max_files: 5_000_000,
            max_file_bytes: 64 << 30,
            max_ratio: None,
            max_memory_bytes: 192 << 20,
            min_free_bytes: 64 << 20,
        }
    }
}

impl Limits {
    /// Largest zstd window that fits into the memory together with the buffers.
    pub(in crate::core::archives) fn window(&self) -> WindowLimits {
        WindowLimits {
            max_window: self.max_memory_bytes.saturating_sub(BUFFER_BYTES).max(1 << 20),
            max_memory: self.max_memory_bytes,
            buffers: BUFFER_BYTES,
        }
    }

    /// Number of connections that may hold a part at the same time, at most `wanted`.
    pub(in crate::core) fn connections(&self, wanted: usize, part_bytes: u64) -> usize {
        let fit = usize::try_from(self.max_memory_bytes / 2 / part_bytes).unwrap_or(usize::MAX);
        wanted.min(fit).max(1)
    }

    pub(in crate::core::archives) fn check_entries(&self, entries: u64) -> Result<()> {
        if entries > self.max_files {
            return Err(Failure::over_limit(format!(
                "the archive has more than {} entries (limits.maxFiles)",
                self.max_files
            )));
        }
        Ok(())
    }

    /// Checks the memory that all entries need until the end of the archive.
    pub(in crate::core::archives) fn check_memory(&self, bytes: u64) -> Result<()> {
        if bytes > self.max_memory_bytes {
            return Err(Failure::over_limit(format!(
                "the names of the archive's entries take more than {} bytes (limits.maxMemoryBytes)",
                self.max_memory_bytes
            )));
        }
        Ok(())
    }

    pub(in crate::core::archives) fn check_file(&self, size: u64, path: &[u8]) -> Result<()> {
        if size > self.max_file_bytes {
            return Err(Failure::over_limit(format!(
                "'{}' has {size} bytes, more than {} (limits.maxFileBytes)",
                path.escape_ascii(),
                self.max_file_bytes
            )));
        }
        Ok(())
    }

    pub(in crate::core::archives) fn check_bytes(&self, bytes: u64) -> Result<()> {
        if bytes > self.max_bytes {
            return Err(Failure::over_limit(format!(
                "the files have more than {} bytes (limits.maxBytes)",
                self.max_bytes
            )));
        }
        Ok(())
    }

    /// Checks the ratio. `compressed` is the size of the whole archive if it is known, otherwise what was read so far.
    /// `declared` is the number of bytes in the pointer.
    pub(in crate::core::archives) fn check_ratio(
        &self,
        decoded: u64,
        compressed: u64,
        declared: u64,
    ) -> Result<()> {
        let declared = if self.max_ratio.is_some() { 0 } else { declared };
        let most = self.max_ratio.unwrap_or(DEFAULT_RATIO);
        if is_over(decoded.saturating_sub(declared), compressed, most) {
            return Err(Failure::over_limit(format!(
                "{compressed} compressed bytes were decoded to {decoded}, which exceeds the ratio 1:{most} (limits.maxRatio). A file of zeros has up to 1:33000. Raise the limit for an archive that you trust"
            )));
        }
        Ok(())
    }

    /// Checks the numbers that a pointer declares, before the download.
    pub(in crate::core) fn check_declared(&self, files: u64, bytes: u64, compressed: u64) -> Result<()> {
        self.check_entries(files)?;
        self.check_bytes(bytes)?;
        match self.max_ratio {
            Some(_) => self.check_ratio(bytes, compressed, 0),
            None => Ok(()),
        }
    }

    /// Lists the limits that an archive exceeds, each with the value that a restore needs.
    pub(in crate::core) fn objections(&self, needs: &Needs) -> Vec<String> {
        let ratio = needs.decoded / needs.compressed.max(1);
        let most = self.max_ratio.unwrap_or(DEFAULT_RATIO);
        let is_over_ratio = is_over(needs.decoded, needs.compressed, most);
        [
            ("maxFiles", needs.entries, needs.entries > self.max_files),
            ("maxBytes", needs.bytes, needs.bytes > self.max_bytes),
            ("maxFileBytes", needs.largest, needs.largest > self.max_file_bytes),
            (
                "maxMemoryBytes",
                needs.memory,
                needs.memory > self.max_memory_bytes,
            ),
            ("maxRatio", ratio, is_over_ratio),
        ]
        .into_iter()
        .filter(|(_, _, is_over)| *is_over)
        .map(|(option, value, _)| format!("limits.{option} of {value}"))
        .collect()
    }
}

fn is_over(decoded: u64, compressed: u64, ratio: u64) -> bool {
    decoded > RATIO_MATTERS_FROM && decoded / compressed.max(1) > ratio
}

/// Limits that the restore of an archive needs.
#[derive(Debug, Clone, Copy, Default)]
pub struct Needs {
    entries: u64,
    bytes: u64,
    largest: u64,
    memory: u64,
    decoded: u64,
    compressed: u64,
}

impl Needs {
    /// Limits for a packed tree. Without a pointer the ratio matters: `decoded` bytes from `compressed` ones.
    pub(in crate::core) fn of(tree: &Tree, ratio: Option<(u64, u64)>) -> Self {
        let (decoded, compressed) = ratio.unwrap_or_default();
        let mut needs = Self {
            memory: tree.memory_bytes() as u64,
            decoded,
            compressed,
            ..Self::default()
        };
        for node in tree.nodes() {
            needs.entries += 1;
            match node.kind() {
                NodeKind::File => {
                    needs.bytes += node.size;
                    needs.largest = needs.largest.max(node.size);
                }
                NodeKind::Directory => needs.memory += DIRECTORY_BYTES as u64,
                NodeKind::Symlink => {}
            }
        }
        needs
    }

    /// Limits for what a pointer declares.
    pub(in crate::core) fn declared(files: u64, bytes: u64) -> Self {
        Self {
            entries: files,
            bytes,
            ..Self::default()
        }
    }
}

/// Refuses names that this operating system does not support.
pub(in crate::core::archives) fn check_names(path: &[u8]) -> Result<()> {
    for part in path.split(|byte| *byte == b'/').filter(|part| !part.is_empty()) {
        if let Some(why) = name::refusal(part) {
            return Err(Failure::refused(format!(
                "'{}' is not a valid name on this system: {why}. Rename the entry, or exclude it when you pack the tree",
                path.escape_ascii()
            )));
        }
    }
    Ok(())
}

/// Refuses paths that are too long or too deep for the supported filesystems.
pub(in crate::core::archives) fn check_path(path: &[u8]) -> Result<()> {
    let depth = path.split(|byte| *byte == b'/').count() - 1;
    if path.len() >= MAX_PATH_BYTES || depth >= MAX_DEPTH {
        return Err(Failure::over_limit(format!(
            "a path of {} bytes and {depth} directories is too long or too deep",
            path.len()
        )));
    }
    Ok(())
}
