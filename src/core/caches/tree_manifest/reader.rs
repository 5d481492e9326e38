//! Reader of a tree manifest, entry by entry.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read};

use super::place::Place;
use super::record::{BUFFER_BYTES, END, MAGIC, Record};
use crate::core::archives::tree::{Facts, Hash, NodeKind};
use crate::core::error::Result;
use crate::core::sys::fs;

/// Reads a tree manifest entry by entry. The entries are valid only if the manifest turns out to be complete at its
/// end.
pub(super) struct ManifestReader {
    pub(super) taken_ns: i64,
    file: BufReader<File>,
    hasher: blake3::Hasher,
    path: Vec<u8>,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Reading,
    Whole,
    Damaged,
}

impl ManifestReader {
    /// Opens a tree manifest and reads its generation. Returns `None` if there is none of this version.
    pub(super) fn open(place: &Place) -> Result<Option<(String, Self)>> {
        let path = place.path();
        if place.site.stat(place.name.as_ref())?.is_none() {
            return Ok(None);
        }
        let file = place
            .site
            .directory
            .open_regular(place.name.as_ref(), fs::Access::Read, &path)?;
        if !place.site.trusts(&fs::stat_file(&file, &path)?) {
            return Ok(None);
        }
        let mut reader = Self {
            taken_ns: 0,
            file: BufReader::with_capacity(BUFFER_BYTES, file),
            hasher: blake3::Hasher::new(),
            path: Vec::new(),
            state: State::Reading,
        };
        Ok(reader.head().map(|generation| (generation, reader)))
    }

    fn head(&mut self) -> Option<String> {
        if self.read_bytes::<16>()? != *MAGIC {
            return None;
        }
        self.taken_ns = i64::from_le_bytes(self.read_bytes()?);
        self.text()?;
        String::from_utf8(std::mem::take(&mut self.path)).ok()
    }

    /// Returns the next entry, or `None` at the end and if the tree manifest is damaged.
    pub(super) fn next(&mut self) -> Option<(Record<'_>, Hash)> {
        if self.state != State::Reading {
            return None;
        }
        // Until the entry is complete.
        self.state = State::Damaged;
        let kind = match self.read_bytes::<1>()? {
            [END] => {
                self.check_sum();
                return None;
            }
            [1] => NodeKind::File,
            [2] => NodeKind::Directory,
            [3] => NodeKind::Symlink,
            _ => return None,
        };
        let mode = u16::from_le_bytes(self.read_bytes()?);
        let size = u64::from_le_bytes(self.read_bytes()?);
        let hash = self.read_bytes()?;
        let facts = Facts {
            inode: u64::from_le_bytes(self.read_bytes()?),
            modified_ns: i64::from_le_bytes(self.read_bytes()?),
            changed_ns: i64::from_le_bytes(self.read_bytes()?),
        };
        self.text()?;
        self.state = State::Reading;
        let record = Record {
            path: &self.path,
            kind,
            mode,
            size,
            facts,
        };
        Some((record, hash))
    }

    /// Whether all entries were read and match the checksum.
    pub(super) fn is_whole(&mut self) -> bool {
        self.next().is_none() && self.state == State::Whole
    }

    fn check_sum(&mut self) {
        let sum = self.hasher.finalize();
        let mut stored = [0; 32];
        let is_right = self.file.read_exact(&mut stored).is_ok() && sum == blake3::Hash::from_bytes(stored);
        // No bytes may follow the end.
        if is_right && self.file.fill_buf().is_ok_and(<[u8]>::is_empty) {
            self.state = State::Whole;
        }
    }

    fn read_bytes<const N: usize>(&mut self) -> Option<[u8; N]> {
        let mut bytes = [0; N];
        self.file.read_exact(&mut bytes).ok()?;
        self.hasher.update(&bytes);
        Some(bytes)
    }

    fn text(&mut self) -> Option<()> {
        let length = usize::from(u16::from_le_bytes(self.read_bytes()?));
        self.path.resize(length, 0);
        self.file.read_exact(&mut self.path).ok()?;
        self.hasher.update(&self.path);
        Some(())
    }
}
