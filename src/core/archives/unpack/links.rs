//! Checks whether symbolic links stay inside the tree, with the archive's own entries, never with the disk.

use crate::core::sys::cancel::Cancel;
use crate::core::sys::name;

use crate::core::archives::directory_cache::split_path;
use crate::core::archives::tree::Tree;
use crate::core::archives::unpack::options::Symlinks;
use crate::core::archives::unpack::texts::{Text, Texts};
use crate::core::failure::{Failure, Result};

/// Number of links that are followed before the path counts as a loop (40 in Linux).
const MAX_FOLLOWED: usize = 40;
/// Number of path components that are checked for all links together, plus some for each link. A malicious link leads
/// through 40 others of 2000 components each, a real one through a few.
const PARTS: u64 = 1_000_000;
const PARTS_OF_A_LINK: u64 = 64;

/// One symbolic link of the archive.
pub(super) struct Link<'a> {
    pub(super) path: &'a [u8],
    pub(super) target: &'a [u8],
    pub(super) modified_ns: i64,
}

/// A stored link. Its path is that of the entry with this number.
struct Kept {
    index: u32,
    target: Text,
    modified_ns: i64,
}

/// Symbolic links of the archive. They are created after everything else, so that nothing is written through one.
#[derive(Default)]
pub(super) struct Links {
    all: Vec<Kept>,
    targets: Texts,
}

impl Links {
    pub(super) fn add(
        &mut self,
        index: u32,
        path: &[u8],
        target: &[u8],
        modified_ns: i64,
        symlinks: Symlinks,
    ) -> Result<()> {
        let refuse = |why: &str| {
            Err(Failure::refused(format!(
                "the link '{}' to '{}' {why}",
                path.escape_ascii(),
                target.escape_ascii()
            )))
        };
        match symlinks {
            Symlinks::Reject => return refuse("is not allowed, because symlinks is 'reject'"),
            Symlinks::Contained | Symlinks::Relative if name::is_absolute_link(target) => {
                return refuse("is absolute. Use symlinks 'verbatim' to create it");
            }
            Symlinks::Contained | Symlinks::Relative => {
                if let Some(why) = name::link_refusal(target) {
                    return refuse(&format!("cannot be created on this system: {why}"));
                }
            }
            Symlinks::Verbatim => {}
        }
        self.all.push(Kept {
            index,
            target: self.targets.add(target)?,
            modified_ns,
        });
        Ok(())
    }

    /// Text and time of the link with this number.
    pub(super) fn get(&self, index: u32) -> Option<(Vec<u8>, i64)> {
        let at = self.all.binary_search_by_key(&index, |kept| kept.index).ok()?;
        let kept = &self.all[at];
        Some((self.targets.get(kept.target).to_vec(), kept.modified_ns))
    }

    /// Keeps the links of the numbers for which `keep` is true.
    pub(super) fn retain(&mut self, keep: impl Fn(u32) -> bool) {
        self.all.retain(|kept| keep(kept.index));
    }

    /// All links, in the order of the archive.
    pub(super) fn all<'a>(&'a self, tree: &'a Tree) -> impl Iterator<Item = Link<'a>> {
        self.all.iter().map(|kept| self.link(kept, tree))
    }

    fn link<'a>(&'a self, kept: &Kept, tree: &'a Tree) -> Link<'a> {
        Link {
            path: tree.path_at(kept.index),
            target: self.targets.get(kept.target),
            modified_ns: kept.modified_ns,
        }
    }

    /// Refuses the archive if a link leads out of the tree.
    pub(super) fn check_contained(&self, tree: &Tree, cancel: &Cancel) -> Result<()> {
        let path_of = |kept: &Kept| tree.path_at(kept.index);
        let mut by_path: Vec<&Kept> = self.all.iter().collect();
        by_path.sort_unstable_by(|one, other| path_of(one).cmp(path_of(other)));
        let target_of = |path: &[u8]| {
            let at = by_path.binary_search_by(|kept| path_of(kept).cmp(path)).ok()?;
            Some(self.targets.get(by_path[at].target))
        };
        let mut parts_left = PARTS + PARTS_OF_A_LINK * self.all.len() as u64;
        let (mut first, mut leaving) = (None, 0);
        for link in self.all(tree) {
            cancel.check()?;
            let Some(is_leaving) = leaves(link.path, link.target, target_of, &mut parts_left) else {
                return Err(Failure::over_limit(
                    "the symbolic links of the archive lead through too many other links",
                ));
            };
            if is_leaving {
                leaving += 1;
                first.get_or_insert(link);
            }
        }
        let Some(first) = first else {
            return Ok(());
        };
        Err(Failure::refused(format!(
            "{} of {} symbolic links lead out of the tree. The first one is '{}' to '{}'. Use symlinks 'relative' to create them",
            leaving,
            self.all.len(),
            first.path.escape_ascii(),
            first.target.escape_ascii()
        )))
    }
}

/// Whether a text alone would lead out of the tree, without other links.
pub(in crate::core::archives) fn leaves_by_text(path: &[u8], target: &[u8]) -> bool {
    let mut parts_left = PARTS;
    name::is_absolute_link(target) || leaves(path, target, |_| None, &mut parts_left).unwrap_or(true)
}

/// Follows a link like the kernel: `a/..` is not its starting point if `a` is itself a link. `target_of` returns the
/// target of a link by its path. Returns `None` when `parts_left` is used up.
fn leaves<'a>(
    path: &[u8],
    target: &'a [u8],
    target_of: impl Fn(&[u8]) -> Option<&'a [u8]>,
    parts_left: &mut u64,
) -> Option<bool> {
    let (parent, _) = split_path(path);
    let mut at: Vec<u8> = parent.to_vec();
    let mut rest: Vec<&[u8]> = parts(target);
    let mut followed = 0;
    while let Some(part) = rest.pop() {
        *parts_left = parts_left.checked_sub(1)?;
        match part {
            b"" | b"." => {}
            b".." if at.is_empty() => return Some(true),
            b".." => at.truncate(split_path(&at).0.len()),
            name => {
                let parent = at.len();
                if parent > 0 {
                    at.push(b'/');
                }
                at.extend_from_slice(name);
                if let Some(target) = target_of(&at) {
                    followed += 1;
                    if followed > MAX_FOLLOWED {
                        // A loop leads to no entry.
                        return Some(false);
                    }
                    at.truncate(parent);
                    rest.extend(parts(target));
                }
            }
        }
    }
    Some(false)
}

/// Components of a path, in reverse order.
fn parts(path: &[u8]) -> Vec<&[u8]> {
    path.rsplit(|byte| *byte == b'/').collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::archives::tree::{Hash, NodeKind};

    fn check(links: &[(&str, &str)]) -> bool {
        let (mut all, mut tree) = (Links::default(), Tree::new());
        for (index, (path, target)) in (0_u32..).zip(links) {
            let (path, target) = (path.as_bytes(), target.as_bytes());
            tree.push(path, NodeKind::Symlink, 0o777, 0, Hash::default())
                .expect("a short path");
            if all.add(index, path, target, 0, Symlinks::Contained).is_err() {
                return false;
            }
        }
        all.check_contained(&tree, &Cancel::new()).is_ok()
    }

    #[test]
    fn a_link_that_stays_inside_is_contained() {
        assert!(check(&[
            ("a/b/c", "../../d"),
            ("bin/x", "../pkg/x.js"),
            ("self", "."),
            ("dangling", "no/where")
        ]));
    }

    #[test]
    fn a_link_that_leaves_is_detected() {
        assert!(!check(&[("a", "..")]));
        assert!(!check(&[("a/b", "../../x")]));
        assert!(!check(&[("a", "/etc/passwd")]));
    }

    #[test]
    fn links_that_leave_only_together_are_detected() {
        assert!(!check(&[("p/q/r", "../.."), ("s", "p/q/r/../x")]));
        assert!(!check(&[
            ("a", "b/c"),
            ("b/c", "../d/e/f"),
            ("x", "a/../../../..")
        ]));
    }

    #[test]
    fn a_loop_is_detected() {
        assert!(check(&[("a", "b"), ("b", "a")]));
    }
}
