//! Where everything of a store is, and how generations are named.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use crate::core::error::{Optional, Result};
use crate::core::sys::fs;

/// Content of `FORMAT`: the name and the major version of the layout.
pub(super) const FORMAT: &str = "warmswap bundles 1\n";

/// Largest number of a generation and of a fence: as for locks, a further one is exact in a JavaScript number too. What
/// names a larger one was not written by a store.
pub(super) const MAX_NUMBER: u64 = 1 << 52;

/// The directories that every store has.
pub(super) const DIRECTORIES: [&str; 5] = ["gens", "pins", "owners", "stage", "trash"];

/// The paths of one store.
#[derive(Debug, Clone)]
pub struct Layout {
    root: PathBuf,
    /// Made once: each pin reads it twice.
    pointer: PathBuf,
}

impl Layout {
    pub(super) fn new(root: PathBuf) -> Self {
        Self {
            pointer: root.join("current"),
            root,
        }
    }

    /// The store's own directory, canonical.
    pub fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// The store's own name, random: a store that is made again at the same path has another one.
    pub(super) fn id(&self) -> PathBuf {
        self.file("id")
    }

    /// The symlink that names the current generation: the one authority.
    pub fn pointer(&self) -> &Path {
        &self.pointer
    }

    /// The symlink that names the view to which links such as `dist` lead; it exists once the store has had a link.
    pub fn view(&self) -> PathBuf {
        self.file("view")
    }

    /// Where the copies are that links lead to.
    pub fn views(&self) -> PathBuf {
        self.file("views")
    }

    /// Directories of the user that a link replaced. Nothing here removes them.
    pub fn set_aside(&self) -> PathBuf {
        self.file("set-aside")
    }

    /// The records of named pins; it exists once the store has had one.
    pub(super) fn named(&self) -> PathBuf {
        self.file("named")
    }

    /// The file that mirrors the pointer for watchers and remembers what was current.
    pub fn mirror(&self) -> PathBuf {
        self.file("current.json")
    }

    /// Locked by publish, rollback, collect and open, for milliseconds; never unlinked.
    pub fn writer_lock(&self) -> PathBuf {
        self.file("writer.lock")
    }

    /// Locked while somebody builds; never unlinked.
    pub fn build_lock(&self) -> PathBuf {
        self.file("build.lock")
    }

    /// A generation with its manifest.
    pub fn generation(&self, number: u64) -> PathBuf {
        self.root.join("gens").join(name_of(number))
    }

    /// What users of a generation see.
    pub fn tree(&self, number: u64) -> PathBuf {
        self.generation(number).join("tree")
    }

    /// The list of a generation's entries.
    pub fn manifest(&self, number: u64) -> PathBuf {
        self.generation(number).join("manifest.json")
    }

    /// The lock file and head of a generation: outside of it, so that a read-only generation can be locked.
    pub fn pin(&self, number: u64) -> PathBuf {
        self.root.join("pins").join(name_of(number))
    }

    /// The lock of whoever writes the stage of this name.
    pub fn owner(&self, id: &str) -> PathBuf {
        self.root.join("owners").join(id)
    }

    /// A tree that is being built: as deep as a generation, so that relative links keep their meaning.
    pub fn stage(&self, id: &str) -> PathBuf {
        self.root.join("stage").join(id)
    }

    pub(super) fn trash(&self, name: &str) -> PathBuf {
        self.root.join("trash").join(name)
    }
}

/// The name of a generation: padded, so that listings sort.
pub(super) fn name_of(number: u64) -> String {
    format!("{number:06}")
}

/// The number behind a name, 1 to [`MAX_NUMBER`]; `None` for what is no generation of ours.
pub(super) fn number_of(name: &OsStr) -> Option<u64> {
    let name = name.to_str()?;
    // Only the canonical form: `+7` and `0000007` parse, but no writer makes them.
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
/// The generations that a directory of the store names, in order.
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
    fn a_name_is_canonical_or_no_generation() {
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
