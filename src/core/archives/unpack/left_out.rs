//! Entries that are valid but not restored: pipes and devices.

use std::collections::BTreeMap;

use crate::core::archives::Skipped;
use crate::core::archives::format::limits::DIRECTORY_BYTES;

/// Skipped entries by path.
#[derive(Default)]
pub(super) struct LeftOut {
    all: BTreeMap<Box<[u8]>, &'static str>,
    path_bytes: usize,
}

impl LeftOut {
    pub(super) fn add(&mut self, path: &[u8], why: &'static str) {
        if self.all.insert(path.into(), why).is_none() {
            self.path_bytes += path.len();
        }
    }

    /// Reason why the path is skipped, if it is.
    pub(super) fn reason(&self, path: &[u8]) -> Option<&'static str> {
        self.all.get(path).copied()
    }

    /// Removes a path that a later entry uses.
    pub(super) fn remove(&mut self, path: &[u8]) -> bool {
        self.all.remove(path).is_some()
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.path_bytes + self.all.len() * DIRECTORY_BYTES
    }

    pub(super) fn paths(&self) -> impl Iterator<Item = &[u8]> {
        self.all.keys().map(AsRef::as_ref)
    }

    pub(super) fn into_skipped(self) -> Vec<Skipped> {
        self.all
            .into_iter()
            .map(|(path, why)| Skipped {
                path: String::from_utf8_lossy(&path).into_owned(),
                why,
            })
            .collect()
    }
}
