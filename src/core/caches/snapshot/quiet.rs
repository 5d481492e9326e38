//! Waits until a tree has not changed for a while, which signals that its dependencies are complete. Events of the
//! filesystem wake the wait. The decision compares the number of entries, the bytes and the newest inode change before
//! and after the pause.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::core::archives::exclude::is_no_content;
use crate::core::archives::shared_directory::follow;
use crate::core::caches::run::Run;
use crate::core::caches::store::InStore as _;
use crate::core::caches::thread;
use crate::core::error::{Optional, Result};
use crate::core::failure;
use crate::core::sys::cancel::Cancel;
use crate::core::sys::fs;
use crate::core::sys::name;
use crate::core::sys::watch::Watch;

/// Longest sleep, so that a cancelled call is noticed.
const NAP: Duration = Duration::from_millis(100);

/// Waits until `tree` has been unchanged for `pause`, or the call ends.
pub(super) async fn wait(tree: &Path, pause: Duration, run: &Arc<Run>) -> failure::Result<()> {
    let (path, cancel) = (tree.to_path_buf(), run.context.cancel.clone());
    thread::run(tree, move || wait_here(&path, pause, &cancel))
        .await?
        .in_store()
}

fn wait_here(tree: &Path, pause: Duration, cancel: &Cancel) -> Result<()> {
    // If no watch is available, the check at the end still decides.
    let tree = &*follow(tree)?;
    let watch = Watch::new(tree, true).ok();
    loop {
        let before = tree_state(tree, cancel)?;
        if is_silent(watch.as_ref(), pause, cancel)? && tree_state(tree, cancel)? == before {
            return Ok(());
        }
    }
}

fn is_silent(watch: Option<&Watch>, pause: Duration, cancel: &Cancel) -> Result<bool> {
    let since = Instant::now();
    while since.elapsed() < pause {
        cancel.check()?;
        let nap = NAP.min(pause.saturating_sub(since.elapsed()));
        match watch {
            Some(watch) if watch.wait(nap) => return Ok(false),
            Some(_) => {}
            None => std::thread::sleep(nap),
        }
    }
    Ok(true)
}

/// Facts that any change of the tree would alter.
#[derive(Debug, Default, PartialEq, Eq)]
struct TreeState {
    entries: u64,
    bytes: u64,
    newest_ns: i128,
}

fn tree_state(tree: &Path, cancel: &Cancel) -> Result<TreeState> {
    let mut found = TreeState::default();
    let mut pending = vec![tree.to_path_buf()];
    while let Some(directory) = pending.pop() {
        cancel.check()?;
        for entry in fs::read_directory(&directory).optional()?.unwrap_or_default() {
            if directory == tree && is_no_content(name::as_bytes(&entry.name)) {
                continue;
            }
            let path = directory.join(&entry.name);
            let Some(stat) = fs::stat(&path).optional()? else {
                continue;
            };
            found.entries += 1;
            found.bytes += stat.size;
            found.newest_ns = found.newest_ns.max(stat.changed_ns);
            if stat.kind == fs::Kind::Directory {
                pending.push(path);
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changing_tree_is_awaited() {
        let root = tempfile::tempdir().expect("a temporary directory");
        let tree = root.path().to_path_buf();
        let writer = {
            let tree = tree.clone();
            std::thread::spawn(move || {
                for number in 0..10 {
                    fs::write_new(&tree.join(number.to_string()), b"x", 0o644).expect("written");
                    std::thread::sleep(Duration::from_millis(20));
                }
            })
        };
        wait_here(&tree, Duration::from_millis(300), &Cancel::new()).expect("quiet in the end");
        assert!(
            tree.join("9").exists(),
            "the pause is longer than any gap of the writer"
        );
        writer.join().expect("the writer");
    }

    #[test]
    fn a_cancelled_wait_ends() {
        let root = tempfile::tempdir().expect("a temporary directory");
        let cancel = Cancel::new();
        cancel.cancel();
        assert!(wait_here(root.path(), Duration::from_mins(1), &cancel).is_err());
    }
}
