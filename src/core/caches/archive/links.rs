//! Whether symbolic links stay inside the tree: decided over the archive's own entries, never on disk.

use std::collections::HashMap;

use super::super::failure::{Failure, Result};

/// Links on one way that are followed before it is a loop (Linux has 40).
const MAX_FOLLOWED: usize = 40;
/// Texts of all links together; they are kept until the end of the archive.
const MAX_TEXT_BYTES: usize = 64 << 20;

/// Which symbolic links are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Symlinks {
    /// Those that stay inside the tree, through whatever other links; else the archive is refused.
    #[default]
    Contained,
    /// All that are relative, also out of the tree: npm's workspaces link `node_modules/name` to `../packages/name`.
    Relative,
    /// All, whatever they say.
    Verbatim,
    /// None: an archive that has one is refused.
    Reject,
}

/// One symbolic link of the archive.
pub(super) struct Link {
    pub(super) path: Vec<u8>,
    pub(super) target: Vec<u8>,
    pub(super) modified_ns: i64,
}

/// The links of the archive; they are made after everything else, so that nothing is ever written through one.
#[derive(Default)]
pub(super) struct Links {
    all: Vec<Link>,
    text_bytes: usize,
}

impl Links {
    pub(super) fn add(&mut self, link: Link, symlinks: Symlinks) -> Result<()> {
        let refuse = |why: &str| {
            Err(Failure::refused(format!(
                "the link '{}' to '{}' {why}",
                link.path.escape_ascii(),
                link.target.escape_ascii()
            )))
        };
        match symlinks {
            Symlinks::Reject => return refuse("is there, and symlinks is 'reject'"),
            Symlinks::Contained | Symlinks::Relative if link.target.starts_with(b"/") => {
                return refuse("is absolute; symlinks 'verbatim' would make it");
            }
            _ => {}
        }
        self.text_bytes += link.path.len() + link.target.len();
        if self.text_bytes > MAX_TEXT_BYTES {
            return Err(Failure::over_limit(
                "the links of the archive have more than 64 MiB of text",
            ));
        }
        self.all.push(link);
        Ok(())
    }

    pub(super) fn all(&self) -> &[Link] {
        &self.all
    }

    /// Refuses the archive if a link leaves the tree.
    pub(super) fn check_contained(&self) -> Result<()> {
        let table: HashMap<&[u8], &[u8]> = self
            .all
            .iter()
            .map(|link| (link.path.as_slice(), link.target.as_slice()))
            .collect();
        let mut leaving = self.all.iter().filter(|link| leaves(link, &table));
        let Some(first) = leaving.next() else {
            return Ok(());
        };
        Err(Failure::refused(format!(
            "{} of {} links leave the tree, the first is '{}' to '{}'; symlinks 'relative' would make them",
            leaving.count() + 1,
            self.all.len(),
            first.path.escape_ascii(),
            first.target.escape_ascii()
        )))
    }
}

/// Whether a text would lead out of the tree if there were no other links.
pub(super) fn leaves_by_text(path: &[u8], target: &[u8]) -> bool {
    let link = Link {
        path: path.to_vec(),
        target: target.to_vec(),
        modified_ns: 0,
    };
    target.starts_with(b"/") || leaves(&link, &HashMap::new())
}

/// Walks a link as the kernel would: `a/..` is not where it started if `a` is itself a link.
fn leaves(link: &Link, table: &HashMap<&[u8], &[u8]>) -> bool {
    let (parent, _) = super::directories::cut(&link.path);
    let mut at: Vec<u8> = parent.to_vec();
    let mut rest: Vec<&[u8]> = parts(&link.target);
    let mut followed = 0;
    while let Some(part) = rest.pop() {
        match part {
            b"" | b"." => {}
            b".." if at.is_empty() => return true,
            b".." => at.truncate(super::directories::cut(&at).0.len()),
            name => {
                let parent = at.len();
                if parent > 0 {
                    at.push(b'/');
                }
                at.extend_from_slice(name);
                if let Some(target) = table.get(at.as_slice()) {
                    followed += 1;
                    if followed > MAX_FOLLOWED {
                        // A loop leads nowhere.
                        return false;
                    }
                    at.truncate(parent);
                    rest.extend(parts(target));
                }
            }
        }
    }
    false
}

/// The parts of a path, the first one last.
fn parts(path: &[u8]) -> Vec<&[u8]> {
    path.rsplit(|byte| *byte == b'/').collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(links: &[(&str, &str)]) -> bool {
        let mut all = Links::default();
        for (path, target) in links {
            let link = Link {
                path: path.as_bytes().to_vec(),
                target: target.as_bytes().to_vec(),
                modified_ns: 0,
            };
            if all.add(link, Symlinks::Contained).is_err() {
                return false;
            }
        }
        all.check_contained().is_ok()
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
    fn a_link_that_leaves_is_found() {
        assert!(!check(&[("a", "..")]));
        assert!(!check(&[("a/b", "../../x")]));
        assert!(!check(&[("a", "/etc/passwd")]));
    }

    #[test]
    fn links_that_leave_only_together_are_found() {
        assert!(!check(&[("p/q/r", "../.."), ("s", "p/q/r/../x")]));
        assert!(!check(&[
            ("a", "b/c"),
            ("b/c", "../d/e/f"),
            ("x", "a/../../../..")
        ]));
    }

    #[test]
    fn a_loop_ends() {
        assert!(check(&[("a", "b"), ("b", "a")]));
    }
}
