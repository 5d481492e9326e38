//! Directories that a link replaced: which of them warmswap created for a tool, and where the others are kept.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::core::error::{Code, Error, Optional, Result};
use crate::core::sys::fs::{self, Kind};
use crate::core::sys::trust::Surroundings;
use crate::core::sys::{clock, fault};

use super::store::Store;
use super::trash::ADOPTED;

/// Far more than one store has links. The oldest entry is dropped first.
const MAX_MADE: usize = 16;

/// Identifies a directory for its whole lifetime. An inode number alone is reused, on ext4 by the next `mkdir`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct DirectoryIdentity {
    device: u64,
    inode: u64,
    /// Birth time in nanoseconds since the epoch.
    born: u64,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct MadeDirectories {
    directories: Vec<DirectoryIdentity>,
}

/// Identity of a directory. `None` on filesystems without birth times: a directory there counts as the user's.
fn identity_of(directory: &Path) -> Result<Option<DirectoryIdentity>> {
    let stat = fs::stat(directory)?;
    let born = fs::born_ns(directory)?;
    Ok(born.map(|born| DirectoryIdentity {
        device: stat.device,
        inode: stat.inode,
        born,
    }))
}

fn read_made(store: &Store) -> Result<MadeDirectories> {
    let path = store.layout.file("made.json");
    let Some(stat) = fs::stat(&path).optional()? else {
        return Ok(MadeDirectories::default());
    };
    // An untrusted user must not decide which directories are removed.
    if !Surroundings::of(store.layout.root())?.trusts(&stat) {
        return Ok(MadeDirectories::default());
    }
    let bytes = fs::read_capped(&path, 65_536).optional()?;
    Ok(bytes
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .unwrap_or_default())
}

/// Records a directory that was created in place of the link. Requires the writer lock.
pub(super) fn record_made(store: &Store, directory: &Path) -> Result<()> {
    let Some(identity) = identity_of(directory)? else {
        return Ok(());
    };
    let mut made = read_made(store)?;
    made.directories.push(identity);
    let surplus = made.directories.len().saturating_sub(MAX_MADE);
    made.directories.drain(..surplus);
    let text = serde_json::to_vec(&made)
        .map_err(|error| Error::new(Code::Io, format!("Cannot serialize made.json: {error}")))?;
    let (path, temporary) = (store.layout.file("made.json"), store.layout.file("made.json.tmp"));
    fs::replace(&path, &temporary, &text, 0o644)
}

/// Whether warmswap created the directory.
pub(super) fn was_made_here(store: &Store, directory: &Path) -> Result<bool> {
    let made = read_made(store)?;
    if made.directories.is_empty() {
        return Ok(false);
    }
    let identity = identity_of(directory)?;
    Ok(identity.is_some_and(|identity| made.directories.contains(&identity)))
}

/// Removes a directory from the path next to a link. A directory that warmswap created moves to the trash until a later
/// open, because processes may still use it. An empty one is removed immediately. Any other one is set aside.
pub(super) fn remove_or_set_aside(store: &Store, directory: &Path, link: &Path) -> Result<()> {
    if was_made_here(store, directory)? || fault::is_seeded("trash-adopted") {
        let trash = store
            .layout
            .trash(&format!("{ADOPTED}{}", clock::monotonic_micros()));
        return match fs::rename(directory, &trash) {
            Err(error) if error.crosses_devices() => fs::remove_tree(directory),
            moved => moved,
        };
    }
    match fs::remove_directory(directory) {
        Err(error) if error.kind() == Some(std::io::ErrorKind::DirectoryNotEmpty) => {
            set_aside(store, directory, link)
        }
        removed => removed,
    }
}

/// Moves a directory of the user into the store. Processes that still write into it continue to do so there.
fn set_aside(store: &Store, directory: &Path, link: &Path) -> Result<()> {
    let folder = store.layout.set_aside();
    make_folder(store, &folder)?;
    let name = link.file_name().unwrap_or_default().to_string_lossy();
    // Without colons, so that it can be copied to any filesystem.
    let name = format!("{name}-{}", clock::iso8601().replace(':', ""));
    let kept = free_name(&folder, &name)?;
    let kept = match fs::rename(directory, &kept) {
        // The link is on another filesystem than the store. The directory stays there, and the store records its path.
        Err(error) if error.crosses_devices() => {
            let parent = link.parent().unwrap_or(Path::new("/"));
            let neighbour = free_name(parent, &name)?;
            fs::link_directory(&neighbour, &kept)?;
            fs::rename(directory, &neighbour).map(|()| neighbour)?
        }
        renamed => renamed.map(|()| kept)?,
    };
    let mut newly = store.newly_set_aside.lock();
    newly.push(kept);
    Ok(())
}

/// Creates a directory of the store if it is missing. Refuses one that belongs to an untrusted user.
pub(super) fn make_folder(store: &Store, folder: &Path) -> Result<()> {
    match fs::create_directory(folder, 0o777) {
        Err(error) if error.is_exists() => {
            let stat = fs::stat(folder)?;
            if stat.kind != Kind::Directory {
                return Err(Error::new(
                    Code::Format,
                    format!("'{}' is not a directory. Remove it", folder.display()),
                )
                .at(folder));
            }
            Surroundings::of(store.layout.root())?.check(&stat, folder)
        }
        made => made,
    }
}

fn free_name(folder: &Path, name: &str) -> Result<PathBuf> {
    for index in 0_u64.. {
        let path = folder.join(if index == 0 {
            name.to_owned()
        } else {
            format!("{name}-{index}")
        });
        if fs::stat(&path).optional()?.is_none() {
            return Ok(path);
        }
    }
    Ok(folder.join(name))
}
