//! Comparison of generations with their manifests.

use crate::core::error::{Code, Error, Result};
use crate::core::sys::cancel::Cancel;
use crate::core::sys::{fault, fs};

use super::errors::{corrupt, nothing_published};
use super::head::Head;
use super::hold::Hold;
use super::manifest::{Depth, Manifest, Problem};
use super::pointer;
use super::store::Store;

impl Store {
    /// Compares every byte of a generation with its manifest. Without a number, compares the current generation.
    pub fn verify(&self, number: Option<u64>, cancel: &Cancel) -> Result<Vec<(String, Problem)>> {
        self.verify_held(number, cancel)
            .map_err(|error| self.explain(error))
    }

    fn verify_held(&self, number: Option<u64>, cancel: &Cancel) -> Result<Vec<(String, Problem)>> {
        let (number, _hold) = match number {
            Some(number) => (number, Hold::acquire(self, number)?),
            None => match Hold::acquire_current(self) {
                Ok(held) => held.ok_or_else(|| nothing_published(&self.layout))?,
                Err(error) => return self.compare_refused(error, cancel),
            },
        };
        self.compare(number, cancel)
    }

    /// Differences of a current generation whose lock file an open has withdrawn because its content was changed.
    fn compare_refused(&self, error: Error, cancel: &Cancel) -> Result<Vec<(String, Problem)>> {
        match pointer::read(&self.layout)? {
            Some(number) if error.code == Code::GenerationGone => {
                Manifest::read(&self.layout, number)?.compare(&self.layout.tree(number), Depth::Bytes, cancel)
            }
            _ => Err(error),
        }
    }

    pub(super) fn compare(&self, number: u64, cancel: &Cancel) -> Result<Vec<(String, Problem)>> {
        let head = self.head(number)?;
        let manifest = Manifest::read(&self.layout, number)?;
        if manifest.digest != head.digest {
            return Err(corrupt(number, "its manifest belongs to another generation"));
        }
        manifest.compare(&self.layout.tree(number), Depth::Bytes, cancel)
    }
}

/// Differences between a generation and its manifest, found by change times. Costs one stat per entry, unless an entry
/// was changed after the publish.
fn find_changes(store: &Store, number: u64, cancel: &Cancel) -> Result<Vec<(String, Problem)>> {
    let published_ns = fs::stat(&store.layout.pin(number))?.changed_ns;
    Manifest::read(&store.layout, number)?.compare(
        &store.layout.tree(number),
        Depth::ChangedSince(published_ns),
        cancel,
    )
}

/// Whether a generation has a readable head and complete content, judged by change times.
pub(super) fn is_usable(store: &Store, number: u64, cancel: &Cancel) -> Result<bool> {
    if fault::is_seeded("trust-changed-tree") {
        return Ok(fs::stat(&store.layout.tree(number)).is_ok());
    }
    is_complete(Head::read(&store.layout, number).and_then(|_| find_changes(store, number, cancel)))
}

pub(super) fn is_intact(store: &Store, number: u64, cancel: &Cancel) -> Result<bool> {
    is_complete(store.compare(number, cancel))
}

pub(super) fn is_complete(found: Result<Vec<(String, Problem)>>) -> Result<bool> {
    match found {
        Ok(problems) if fault::is_seeded("extra-is-damage") => Ok(problems.is_empty()),
        Ok(problems) => Ok(!problems.iter().any(|(_, problem)| problem.is_of_content())),
        Err(error)
            if matches!(error.code, Code::GenerationCorrupt | Code::GenerationGone)
                || error.is_not_found() =>
        {
            Ok(false)
        }
        // A disk error proves nothing about the generation.
        Err(error) => Err(error),
    }
}
