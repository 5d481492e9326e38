//! State that all steps of one attempt share.

use std::sync::Arc;

use super::neighbours::Neighbours;
use super::path::LockPath;
use super::record::LockMode;
use super::request::{ModeChoice, Request};
use crate::core::error::{Code, Error, Result};
use crate::core::sys::filesystem::Filesystem;
use crate::core::sys::fs;

/// The lock, the request and the location of the lock.
pub(super) struct AttemptContext {
    pub(super) lock: Arc<LockPath>,
    pub(super) request: Arc<Request>,
    pub(super) neighbours: Arc<Neighbours>,
    pub(super) filesystem: Filesystem,
    /// Device of the directory that contains the lock.
    pub(super) device: u64,
    pub(super) mode: LockMode,
}

impl AttemptContext {
    /// Selects the mode by filesystem, before any lock call.
    pub(super) fn new(lock: &LockPath, request: Arc<Request>) -> Result<Self> {
        let filesystem = lock.filesystem()?;
        let mode = match request.mode {
            ModeChoice::Lease => LockMode::Lease,
            ModeChoice::Auto if !filesystem.trusted => LockMode::Lease,
            ModeChoice::Kernel if !filesystem.trusted => return Err(untrusted(lock, filesystem)),
            ModeChoice::Auto | ModeChoice::Kernel => LockMode::Kernel,
        };
        if mode == LockMode::Lease && request.covers_children {
            return Err(needs_kernel_mode(lock, filesystem));
        }
        let parent = fs::stat_followed(lock.parent())?;
        Ok(Self {
            lock: Arc::new(lock.clone()),
            request,
            neighbours: Arc::new(Neighbours::new(lock.parent(), parent)),
            filesystem,
            device: parent.device,
            mode,
        })
    }

    /// Creates the directory that contains the lock again, after it was deleted.
    pub(super) fn restore_directory(&mut self) -> Result<()> {
        fs::create_directories(self.lock.parent())?;
        self.neighbours = Arc::new(Neighbours::of(self.lock.parent())?);
        Ok(())
    }

    /// Continues in lease mode, because the kernel reported that this filesystem has no flock.
    pub(super) fn fall_back_to_lease(&mut self) -> Result<()> {
        if self.request.covers_children {
            return Err(needs_kernel_mode(&self.lock, self.filesystem));
        }
        self.mode = LockMode::Lease;
        Ok(())
    }
}

fn untrusted(lock: &LockPath, filesystem: Filesystem) -> Error {
    let message = format!(
        "Unsupported options.mode 'kernel': flock on {} ('{}') may not exclude all processes that see the file. Use mode 'auto' or 'lease', or a lock path on a local filesystem",
        filesystem.name,
        lock.parent().display()
    );
    Error::new(Code::Unsupported, message).at(lock.directory())
}

fn needs_kernel_mode(lock: &LockPath, filesystem: Filesystem) -> Error {
    let message = format!(
        "options.coverChildren requires kernel mode, but '{}' on {} is locked by a lease, which a child cannot renew",
        lock.directory().display(),
        filesystem.name
    );
    Error::new(Code::Unsupported, message).at(lock.directory())
}
