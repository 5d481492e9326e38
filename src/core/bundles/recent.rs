//! Cache of the generation that a handle pinned last.

use std::path::PathBuf;
use std::sync::Arc;

use crate::core::sys::sync::Mutex;

use super::layout::Layout;
use super::store_identity::EntryVersion;

/// Paths of one generation, and the version of its tree at the last comparison through this handle.
#[derive(Debug)]
pub(super) struct GenerationPaths {
    pub(super) number: u64,
    pub(super) pin: PathBuf,
    pub(super) tree: PathBuf,
    pub(super) compared: Mutex<Option<EntryVersion>>,
}

/// The generation that a handle pinned last. Most pins are of the same generation again. Such a pin needs no new paths.
/// If the tree has not changed, it also needs no check of the store's id.
#[derive(Debug, Default)]
pub(super) struct Recent(Mutex<Option<Arc<GenerationPaths>>>);

impl Recent {
    pub(super) fn paths(&self, layout: &Layout, number: u64) -> Arc<GenerationPaths> {
        let mut recent = self.0.lock();
        match &*recent {
            Some(paths) if paths.number == number => Arc::clone(paths),
            _ => Arc::clone(recent.insert(Arc::new(GenerationPaths {
                number,
                pin: layout.pin(number),
                tree: layout.tree(number),
                compared: Mutex::default(),
            }))),
        }
    }
}
