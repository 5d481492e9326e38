//! Single files: creates, copies and seals them, and hashes sparse ones.

use std::fs::File;
use std::io::Read as _;
use std::time::Duration;

use crate::core::archives::directory_cache::split_path;
use crate::core::archives::tree::{self, Hash, as_path};
use crate::core::archives::unpack::directory_tracker::twice;
use crate::core::failure::{Failure, Result};
use crate::core::sys::cancel::Cancel;
use crate::core::sys::dir::{self, Directory};
use crate::core::sys::{errno, fs, name};

/// Number of attempts to get a file descriptor. The pauses double from 2 ms to 200 ms, 5 s in total (like pnpm).
const DESCRIPTOR_TRIES: u32 = 32;
/// Number of bytes of a hole that are hashed between two checks for a cancel.
const ZEROS_PER_STEP: usize = 64 << 10;

/// Creates a new file of the archive.
pub(super) fn create(directory: &Directory, path: &[u8], mode: u32) -> Result<File> {
    let name = name::from_bytes(split_path(path).1);
    let mut pause = Duration::from_millis(2);
    for _ in 1..DESCRIPTOR_TRIES {
        match directory.create_new(name, mode, as_path(path)) {
            Err(error) if errno::is_out_of_descriptors(&error) => {
                std::thread::sleep(pause);
                pause = (pause * 2).min(Duration::from_millis(200));
            }
            Err(error) if error.is_exists() => return Err(twice(path)),
            result => return Ok(result?),
        }
    }
    Ok(directory.create_new(name, mode, as_path(path))?)
}

/// Sets what creation and writing could not: the time, and mode bits that the umask removed.
pub(super) fn seal(file: &File, path: &[u8], mode: u32, umask: u32, modified_ns: i64) -> Result<()> {
    if mode & umask != 0 {
        fs::set_file_mode(file, mode, as_path(path))?;
    }
    Ok(dir::set_file_modified(
        file,
        i128::from(modified_ns),
        as_path(path),
    )?)
}

/// Copies a file of the stage that cannot be linked.
pub(super) fn copy(
    from: &Directory,
    existing: &[u8],
    to: &Directory,
    name: &[u8],
    path: &[u8],
    cancel: &Cancel,
) -> Result<()> {
    let mut source = from.open_file(name::from_bytes(existing), as_path(path))?;
    let stat = fs::stat_file(&source, as_path(path))?;
    let mut file = create(to, name, stat.mode & 0o777)?;
    let mut buffer = vec![0; 1 << 20];
    loop {
        cancel.check()?;
        let count = source.read(&mut buffer).map_err(Failure::of_read)?;
        if count == 0 {
            break;
        }
        fs::write_all(&mut file, &buffer[..count], as_path(path))?;
    }
    fs::set_file_mode(&file, stat.mode & 0o777, as_path(path))?;
    Ok(dir::set_file_modified(&file, stat.modified_ns, as_path(path))?)
}

/// Hashes a sparse file as if it had no holes.
pub(super) struct HoleHasher {
    hasher: Option<blake3::Hasher>,
    at: u64,
}

impl HoleHasher {
    pub(super) fn new(is_wanted: bool) -> Self {
        Self {
            hasher: is_wanted.then(blake3::Hasher::new),
            at: 0,
        }
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        if let Some(hasher) = &mut self.hasher {
            hasher.update(bytes);
        }
        self.at += bytes.len() as u64;
    }

    pub(super) fn hole_to(&mut self, offset: u64, cancel: &Cancel) -> Result<()> {
        let left = |at: u64| usize::try_from(offset.saturating_sub(at)).unwrap_or(usize::MAX);
        // A constant would be 64 KB of the addon.
        let zeros = vec![0; left(self.at).min(ZEROS_PER_STEP)];
        while self.hasher.is_some() && self.at < offset {
            cancel.check()?;
            self.bytes(&zeros[..left(self.at).min(zeros.len())]);
        }
        self.at = offset;
        Ok(())
    }

    pub(super) fn finish(self) -> Hash {
        self.hasher
            .map_or(Hash::default(), |hasher| tree::shorten(&hasher.finalize()))
    }
}
