//! Durability against power loss: fsync of files, directories and whole filesystems.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use crate::core::error::Result;
use crate::core::sys::call::call;
use crate::core::sys::filesystem;
use crate::core::sys::fs::{self, Kind};
use crate::core::sys::platform::{OpenOptions, files, volume};

/// Flushes data and metadata of one file or directory. On btrfs, flushes the whole filesystem. After a directory was
/// renamed, fsync on btrfs leaves a log that Linux up to 6.18 cannot always replay. The tree checker then refuses the
/// two names of the directory, and the filesystem cannot be mounted ("Failed to recover log tree", in 8 of 12 power
/// losses with 40 stores).
pub fn sync(path: &Path) -> Result<()> {
    flush(path, volume::sync_to_medium)
}

fn flush(path: &Path, how: fn(&File) -> io::Result<()>) -> Result<()> {
    let file = fs::open(path, OpenOptions::READ)?;
    if volume::HAS_SYNC_FILESYSTEM && filesystem::of(path)?.name == "btrfs" {
        return call("syncfs", path, || volume::sync_filesystem(&file));
    }
    call("fsync", path, || how(&file))
}

/// Flushes the whole filesystem of `path`, including what other programs wrote to it.
fn sync_filesystem(path: &Path) -> Result<()> {
    let file = fs::open(path, OpenOptions::READ)?;
    call("syncfs", path, || volume::sync_filesystem(&file))
}

/// Number of entries from which one flush of the whole filesystem is cheaper than one per file. Measured on ext4: 30
/// files take 9.9 ms one by one and 2.1 ms together, 300 files 111 ms and 52 ms.
const WHOLESALE_FROM: usize = 16;

/// Flushes a tree: files before the directories that contain them.
pub fn sync_tree(directory: &Path) -> Result<()> {
    let (paths, directories) = list(directory)?;
    if volume::HAS_SYNC_FILESYSTEM && paths.len() + directories.len() >= WHOLESALE_FROM {
        return sync_filesystem(directory);
    }
    // The root is flushed last. Its flush also empties the cache of the drive, which contains the earlier writes.
    let below = directories.iter().skip(1).rev();
    for path in paths.iter().chain(below) {
        flush(path, |file| files::sync(file))?;
    }
    sync(directory)
}

/// Lists files, and directories with each directory after its parent.
fn list(directory: &Path) -> Result<(Vec<PathBuf>, Vec<PathBuf>)> {
    let mut files = Vec::new();
    let mut directories = vec![directory.to_path_buf()];
    let mut listed = 0;
    // No recursion: a tree with thousands of levels would overflow the stack.
    while let Some(directory) = directories.get(listed).cloned() {
        listed += 1;
        for entry in fs::read_directory(&directory)? {
            let path = directory.join(&entry.name);
            match fs::stat(&path)?.kind {
                Kind::Directory => directories.push(path),
                Kind::File => files.push(path),
                // A link has no data of its own. It is part of its directory.
                Kind::Symlink | Kind::Other => {}
            }
        }
    }
    Ok((files, directories))
}
