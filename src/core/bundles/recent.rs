//! What a handle remembers of the generation that it pinned last.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use super::layout::Layout;
use super::presence::Facts;

/// Where one generation is, and its tree as it was when it was last compared through this handle.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) number: u64,
    pub(super) pin: PathBuf,
    pub(super) tree: PathBuf,
    pub(super) compared: Mutex<Option<Facts>>,
}

/// The generation that a handle pinned last. Most pins are of the same one again, and need neither new paths nor, if its
/// tree is the same directory without a change, a look at the store's id.
#[derive(Debug, Default)]
pub(super) struct Recent(Mutex<Option<Arc<Place>>>);

impl Recent {
    pub(super) fn place(&self, layout: &Layout, number: u64) -> Arc<Place> {
        let mut recent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &*recent {
            Some(place) if place.number == number => Arc::clone(place),
            _ => Arc::clone(recent.insert(Arc::new(Place {
                number,
                pin: layout.pin(number),
                tree: layout.tree(number),
                compared: Mutex::default(),
            }))),
        }
    }
}
