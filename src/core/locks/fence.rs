//! Late results are refused: a rename that only happens while no later generation exists.

use std::fs::File;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::OFlags;

use super::held::Held;
use super::numbered::Numbered;
use super::paths::LockPath;
use crate::core::error::{Code, Error, Optional as _, Result};
use crate::core::sys::{fault, filesystem, flock, fs};

/// Another publisher holds the fence for two system calls; one that is stopped in between must not stop us
/// for ever.
const PATIENCE: Duration = Duration::from_secs(10);

/// What [`Held::publish_file`] does, for a child that knows path and generation.
pub fn publish_fenced(lock: &LockPath, generation: u64, from: &Path, to: &Path) -> Result<()> {
    publish(lock, generation, None, from, to)
}

/// Looks, renames and looks again. Where kernel locks can be trusted all publishers of a lock do it one after
/// the other, so that no late one can slip in between; elsewhere the window is this one call.
pub(super) fn publish(
    lock: &LockPath,
    generation: u64,
    held: Option<&Held>,
    from: &Path,
    to: &Path,
) -> Result<()> {
    let check = || {
        held.map_or(Ok(()), Held::assert_held)?;
        check_generation(lock, generation)
    };
    let numbered = Numbered::of(lock);
    let fence = take_fence(&numbered)?;
    if !fault::mutant("lock-publish-unfenced") {
        check()?;
    }
    fs::rename(from, to)?;
    drop(fence);
    check()
}

fn take_fence(numbered: &Numbered) -> Result<Option<File>> {
    let path = numbered.directory();
    let Some(directory) = fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY).optional()? else {
        return Ok(None);
    };
    if !filesystem::of(path)?.trusted {
        return Ok(None);
    }
    let begun = Instant::now();
    while !flock::try_exclusive(&directory, path)? {
        if begun.elapsed() > PATIENCE {
            let message = format!(
                "another process has been publishing under '{}' for 10 s; is it stopped?",
                path.display()
            );
            return Err(Error::new(Code::Timeout, message).at(path));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(Some(directory))
}

fn check_generation(lock: &LockPath, generation: u64) -> Result<()> {
    let top = Numbered::of(lock).top()?;
    let standing = top.and_then(|top| top.record).map(|record| record.generation);
    if standing == Some(generation) {
        return Ok(());
    }
    let found = standing.map_or_else(
        || "its records are gone".to_owned(),
        |found| format!("generation {found} has the lock"),
    );
    let message = format!(
        "generation {generation} of the lock '{}' is too late: {found}",
        lock.directory().display()
    );
    Err(Error::new(Code::Fenced, message).at(lock.directory()))
}
