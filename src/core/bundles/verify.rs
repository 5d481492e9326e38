//! Comparing generations with their manifests.

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
    /// Compares a generation with its manifest, byte for byte; without a number the current one.
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

    /// What was changed in a current generation from which an open took the lock file for that reason.
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
            return Err(corrupt(number, "its manifest is another generation's"));
        }
        manifest.compare(&self.layout.tree(number), Depth::Bytes, cancel)
    }
}

/// How a generation differs from its manifest, by the times of change: nothing that costs more than a look at each
/// entry, unless something was changed after the publish.
fn find_changes(store: &Store, number: u64, cancel: &Cancel) -> Result<Vec<(String, Problem)>> {
    let published_ns = fs::stat(&store.layout.pin(number))?.changed_ns;
    Manifest::read(&store.layout, number)?.compare(
        &store.layout.tree(number),
        Depth::ChangedSince(published_ns),
        cancel,
    )
}

/// Whether a generation has a readable head and all its content, by the times of change.
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
        // A disk that answers with an error says nothing about the generation.
        Err(error) => Err(error),
    }
}
