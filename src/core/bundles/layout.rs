//! Paths of a store, and names of generations.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use crate::core::error::{Optional, Result};
use crate::core::sys::fs;

/// Content of `FORMAT`: the name and the major version of the layout.
pub(super) const FORMAT: &str = "warmswap bundles 1\n";

/// Largest number of a generation and of a fence. Its successor is also exact in a JavaScript number, as for locks. A
/// store never writes a larger number.
pub(super) const MAX_NUMBER: u64 = 1 << 52;

/// Directories that every store has.
pub(super) const DIRECTORIES: [&str; 5] = ["gens", "pins", "owners", "stage", "trash"];

/// Paths of one store.
#[derive(Debug, Clone)]
pub struct Layout {
    root: PathBuf,
    /// Computed once, because each pin reads it twice.
    pointer: PathBuf,
}

impl Layout {
    pub(super) fn new(root: PathBuf) -> Self {
        Self {
            pointer: root.join("current"),
            root,
        }
    }

    /// Canonical path of the store's root.
    pub fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// File with the random id of the store. A store that is created again at the same path has another id.
    pub(super) fn id(&self) -> PathBuf {
        self.file("id")
    }

    /// Symlink to the current generation. It alone decides which generation is current.
    pub fn pointer(&self) -> &Path {
        &self.pointer
    }

    /// Symlink to the view, to which links such as `dist` lead. It exists if the store has ever had a link.
    pub fn view(&self) -> PathBuf {
        self.file("view")
    }

    /// Directory of the copies that links lead to.
    pub fn views(&self) -> PathBuf {
        self.file("views")
    }

    /// Directory of user directories that a link replaced. warmswap never removes them.
    pub fn set_aside(&self) -> PathBuf {
        self.file("set-aside")
    }

    /// The records of named pins; it exists once the store has had one.
    pub(super) fn named(&self) -> PathBuf {
        self.file("named")
    }

    /// File that mirrors the pointer for watchers and records the former generations.
    pub fn mirror(&self) -> PathBuf {
        self.file("current.json")
    }

    /// Lock of publish, rollback, collect and open. Held for milliseconds and never unlinked.
    pub fn writer_lock(&self) -> PathBuf {
        self.file("writer.lock")
    }

    /// Lock that is held during a build. Never unlinked.
    pub fn build_lock(&self) -> PathBuf {
        self.file("build.lock")
    }

    /// Directory of a generation with its manifest and tree.
    pub fn generation(&self, number: u64) -> PathBuf {
        self.root.join("gens").join(name_of(number))
    }

    /// Tree of a generation, as its readers see it.
    pub fn tree(&self, number: u64) -> PathBuf {
        self.generation(number).join("tree")
    }

    /// List of a generation's entries.
    pub fn manifest(&self, number: u64) -> PathBuf {
        self.generation(number).join("manifest.json")
    }

    /// Lock file and head of a generation. It is outside the generation, so that a read-only generation can be locked.
    pub fn pin(&self, number: u64) -> PathBuf {
        self.root.join("pins").join(name_of(number))
    }

    /// Lock file of the writer of a stage.
    pub fn owner(&self, id: &str) -> PathBuf {
        self.root.join("owners").join(id)
    }

    /// Directory of a stage. It is as deep as a generation, so that relative links keep their meaning.
    pub fn stage(&self, id: &str) -> PathBuf {
        self.root.join("stage").join(id)
    }

    pub(super) fn trash(&self, name: &str) -> PathBuf {
        self.root.join("trash").join(name)
    }
}

/// Name of a generation, padded so that listings sort by number.
pub(super) fn name_of(number: u64) -> String {
    format!("{number:06}")
}

/// Parses the name of a generation, 1 to [`MAX_NUMBER`]. Returns `None` for any other name.
pub(super) fn number_of(name: &OsStr) -> Option<u64> {
    let name = name.to_str()?;
    // Only the canonical form is valid: `+7` and `0000007` parse, but no writer creates them.
    let is_canonical = match name.len() {
        0..6 => false,
        6 => true,
        _ => !name.starts_with('0'),
    };
    if !is_canonical || !name.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    name.parse()
        .ok()
        .filter(|number| (1..=MAX_NUMBER).contains(number))
}
/// Numbers of the generations that a directory of the store contains, sorted.
pub(super) fn numbers_in(directory: &Path) -> Result<Vec<u64>> {
    let entries = fs::read_directory(directory).optional()?.unwrap_or_default();
    let mut numbers: Vec<u64> = entries
        .iter()
        .filter_map(|entry| number_of(&entry.name))
        .collect();
    numbers.sort_unstable();
    Ok(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_canonical_names_are_generations() {
        for (name, number) in [
            ("000017", Some(17)),
            ("1234567", Some(1_234_567)),
            ("17", None),
            ("+00017", None),
            ("000000", None),
            ("4503599627370496", Some(MAX_NUMBER)),
            ("4503599627370497", None),
            ("18446744073709551615", None),
            ("0000017", None),
            ("x", None),
        ] {
            assert_eq!(number_of(OsStr::new(name)), number, "{name}");
        }
    }
}
