//! Wake-ups from the filesystem. They are merged and only hints. A periodic tick complements them, because watches
//! overflow, end with their directory, and do not report remote changes.

use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use notify::{EventKind, RecursiveMode, Watcher as _};

use crate::core::error::{Code, Error, Result};

/// A watch on one directory. Dropping it ends the watch.
pub struct Watch {
    _watcher: notify::RecommendedWatcher,
    events: mpsc::Receiver<()>,
}

impl Watch {
    /// Watches the entries of `directory`, or its whole tree.
    pub fn new(directory: &Path, recursive: bool) -> Result<Self> {
        // One pending wake-up is enough, because the woken thread checks the state itself.
        let (sender, events) = mpsc::sync_channel(1);
        let mut watcher = notify::recommended_watcher(move |event| {
            if is_change(&event) {
                let _full_is_fine = sender.try_send(());
            }
        })
        .map_err(|error| failed(directory, &error))?;
        let mode = if recursive {
            RecursiveMode::Recursive
        } else {
            RecursiveMode::NonRecursive
        };
        watcher
            .watch(directory, mode)
            .map_err(|error| failed(directory, &error))?;
        Ok(Self {
            _watcher: watcher,
            events,
        })
    }

    /// Waits for a wake-up, at most for `tick`. Returns `false` if the tick ended the wait.
    pub fn wait(&self, tick: Duration) -> bool {
        self.events.recv_timeout(tick).is_ok()
    }
}

/// Whether an event reports a change. Opening and reading are not changes: a woken thread reads, and must not wake
/// itself. An error, such as an overflow, can hide a change.
fn is_change(event: &notify::Result<notify::Event>) -> bool {
    use notify::event::{AccessKind, AccessMode};

    !event.as_ref().is_ok_and(|event| match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => false,
        EventKind::Access(_) => true,
        _ => false,
    })
}

fn failed(directory: &Path, error: &notify::Error) -> Error {
    Error::new(Code::Io, format!("watch '{}': {error}", directory.display())).at(directory)
}
