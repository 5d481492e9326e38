//! Ownership of a store in a directory that several users can write to. The rules are in [`crate::core::sys::trust`].
//!
//! Reading does not depend on trust: a pin on another user's store is effective. Writing does. The owner of a store
//! could replace one of its directories with a link while this process renames and removes entries in it.

use std::path::Path;

use crate::core::error::{Error, Optional, Result};
use crate::core::sys::dir::Directory;
use crate::core::sys::fault;
use crate::core::sys::fs::{self, Stat};
use crate::core::sys::trust::Surroundings;

use super::layout::{DIRECTORIES, Layout};

/// Names in the root that a writer replaces, removes or writes to.
const WRITTEN: [&str; 19] = [
    "FORMAT",
    "FORMAT.tmp",
    "boot.tmp",
    "bounds.json",
    "bounds.json.tmp",
    "build.lock",
    "config.json",
    "config.json.tmp",
    "current",
    "current.json",
    "current.json.tmp",
    "current.tmp",
    "fence",
    "fence.tmp",
    "id",
    "id.tmp",
    "named.tmp",
    "pin.tmp",
    "writer.lock",
];

/// Trust in the root and in its parent directory.
#[derive(Debug)]
pub(super) struct Ownership {
    above: Surroundings,
    root: Surroundings,
    stat: Stat,
    is_trusted: bool,
}

fn is_mount_root(root: &Path) -> bool {
    let Some((parent, name)) = root.parent().zip(root.file_name()) else {
        return true;
    };
    Directory::open_followed(parent)
        .and_then(|parent| parent.is_mount_root(name, root))
        .unwrap_or(false)
}

impl Ownership {
    pub(super) fn of(root: &Path, stat: Stat) -> Result<Self> {
        let above = Surroundings::of(root.parent().unwrap_or(root))?;
        // Only root can mount, so a mount point is trusted.
        let is_trusted = above.trusts(&stat) || is_mount_root(root);
        Ok(Self {
            is_trusted: is_trusted || fault::is_seeded("trust-any-owner"),
            root: Surroundings::new(root, stat),
            above,
            stat,
        })
    }

    /// Fails if an untrusted user created the root.
    pub(super) fn check(&self, layout: &Layout) -> Result<()> {
        if self.is_trusted {
            return Ok(());
        }
        self.above.check(&self.stat, layout.root())
    }

    /// Fails if an entry that a writer needs belongs to an untrusted user.
    pub(super) fn check_names(&self, layout: &Layout) -> Result<()> {
        if !self.root.anyone_may_write() || fault::is_seeded("trust-any-owner") {
            return Ok(());
        }
        for name in WRITTEN.iter().chain(&DIRECTORIES) {
            let path = layout.file(name);
            if let Some(stat) = fs::stat(&path).optional()? {
                self.root.check(&stat, &path)?;
            }
        }
        Ok(())
    }

    /// Whether the statement of an entry can be trusted without checking the content that it describes.
    pub(super) fn trusts_entry(&self, path: &Path) -> Result<bool> {
        may_change(&self.root, path)
    }
}

/// Fails unless the five directories are real directories. Other operations of the store would follow a link there.
pub(super) fn check_directories(layout: &Layout) -> Result<()> {
    for name in DIRECTORIES {
        let path = layout.file(name);
        if super::store_identity::directory_stat(&path)?.is_none() && fs::stat(&path).optional()?.is_some() {
            return Err(Error::argument(
                "root",
                format!("'{name}' in '{}' is not a directory", layout.root().display()),
                "a store in which 'gens', 'pins', 'owners', 'stage' and 'trash' are directories. Remove the other entry",
            )
            .at(&path));
        }
    }
    Ok(())
}

/// Whether this process may remove or rename an entry of a directory of the store.
pub(super) fn may_change(surroundings: &Surroundings, path: &Path) -> Result<bool> {
    if !surroundings.anyone_may_write() || fault::is_seeded("trust-any-owner") {
        return Ok(true);
    }
    Ok(fs::stat(path)
        .optional()?
        .is_none_or(|stat| surroundings.trusts(&stat)))
}
