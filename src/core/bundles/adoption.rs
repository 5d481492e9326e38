//! Adopts the contents of a directory while the tool that writes it may still be running.
//!
//! The whole tree is inspected before and after the copy, including new listings of all directories, in the same way as
//! when a cache is packed. If nothing differs, the stage contains the tree as it was between the two inspections.
//! Change times are as coarse as the kernel's tick (up to 10 ms), and a second change in the same tick would not show.
//! A directory that was changed within that time therefore has to rest first.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::core::error::{Code, Error, Optional, Result};
use crate::core::sys::cancel::Cancel;
use crate::core::sys::deadline::Deadline;
use crate::core::sys::fs::{self, Kind, Stat};
use crate::core::sys::{clock, fault};

use super::copy::{self, CopyMethod};
use super::tree::walk;

/// More than two ticks of the coarsest kernel clock, and longer than a busy machine usually suspends a tool.
const REST: Duration = Duration::from_millis(50);
/// Number of rests before giving up. A tool that writes all the time never rests.
const MAX_RESTS: usize = 6;

/// Stat of every entry of a tree. The directory itself has the empty path.
type Tree = BTreeMap<String, Stat>;

/// Moves or copies the contents of `from` into the directory `to`. An error leaves both directories as they were.
pub(super) fn adopt(from: &Path, to: &Path, method: CopyMethod, cancel: &Cancel) -> Result<()> {
    let before = inspect_at_rest(from, cancel)?;
    match method {
        CopyMethod::Move => move_or_copy(from, to, &before, cancel),
        CopyMethod::Clone | CopyMethod::Copy => copy_checked(from, to, method, &before, cancel),
    }
}

/// Inspects the tree after it has not changed for [`REST`].
fn inspect_at_rest(directory: &Path, cancel: &Cancel) -> Result<Tree> {
    let mut tree = inspect(directory, cancel)?;
    for _ in 0..MAX_RESTS {
        if has_rested(&tree) || fault::is_seeded("adopt-torn") {
            return Ok(tree);
        }
        cancel.sleep(REST, Deadline::NEVER);
        cancel.check()?;
        let again = inspect(directory, cancel)?;
        if again == tree {
            return Ok(tree);
        }
        tree = again;
    }
    Err(unstable(directory, ""))
}

fn has_rested(tree: &Tree) -> bool {
    let newest_ns = tree.values().map(|stat| stat.changed_ns).max().unwrap_or(0);
    let now_ns = i128::from(clock::wall_micros()) * 1000;
    // A time in the future was written by another clock and proves nothing.
    newest_ns + i128::try_from(REST.as_nanos()).unwrap_or(0) <= now_ns
}

fn inspect(directory: &Path, cancel: &Cancel) -> Result<Tree> {
    let mut tree = Tree::new();
    let mut inspected = || {
        tree.insert(String::new(), fs::stat(directory)?);
        walk(directory, &mut |relative, _, stat| {
            cancel.check()?;
            tree.insert(relative.to_owned(), *stat);
            Ok(())
        })
    };
    match inspected() {
        Ok(()) => Ok(tree),
        Err(error) if error.is_not_found() => Err(unstable(directory, "")),
        Err(error) => Err(error),
    }
}

fn copy_checked(from: &Path, to: &Path, method: CopyMethod, before: &Tree, cancel: &Cancel) -> Result<()> {
    let mut made = Vec::new();
    let result =
        copy::copy_tree(from, to, method, &mut made, cancel).and_then(|()| compare(from, before, cancel));
    let Err(error) = result else {
        return Ok(());
    };
    remove_copies(&made);
    // A file that was removed during the copy also makes the copy fail.
    Err(match compare(from, before, cancel) {
        Err(changed) if changed.code == Code::Unstable => changed,
        _ => error,
    })
}

/// Fails if the directory differs from `before`.
fn compare(directory: &Path, before: &Tree, cancel: &Cancel) -> Result<()> {
    if fault::is_seeded("adopt-torn") {
        return Ok(());
    }
    let after = inspect(directory, cancel)?;
    match difference(before, &after) {
        Some(path) => Err(unstable(directory, path)),
        None => Ok(()),
    }
}

/// Returns a path at which the two trees differ.
fn difference<'tree>(before: &'tree Tree, after: &'tree Tree) -> Option<&'tree str> {
    let differs = |(path, stat): &(&'tree String, &Stat)| after.get(*path) != Some(*stat);
    let changed = before.iter().rev().find(differs).map(|(path, _)| path.as_str());
    changed.or_else(|| {
        after
            .keys()
            .map(String::as_str)
            .find(|path| !before.contains_key(*path))
    })
}

/// Removes the entries that a copy created, the latest first.
fn remove_copies(made: &[PathBuf]) {
    for path in made.iter().rev() {
        // Any other entry of the directory was written by another call on the stage.
        drop(fs::remove_file(path).or_else(|_| fs::remove_directory(path)));
    }
}

fn move_or_copy(from: &Path, to: &Path, before: &Tree, cancel: &Cancel) -> Result<()> {
    let mut moved = Vec::new();
    let result = move_checked(from, to, before, &mut moved, cancel);
    match result {
        // Another filesystem, or one without flags for rename (ZFS before 2.2).
        Err(error)
            if moved.is_empty()
                && matches!(
                    error.kind(),
                    Some(ErrorKind::CrossesDevices | ErrorKind::InvalidInput)
                ) =>
        {
            copy_checked(from, to, CopyMethod::Copy, before, cancel)?;
            remove_copied(from, before)
        }
        Err(error) => {
            for name in moved {
                put_back(&to.join(name), &from.join(name));
            }
            Err(error)
        }
        Ok(()) => Ok(()),
    }
}

/// Renames the entries that were inspected. An entry that is created later belongs to a later build and stays in the
/// directory.
fn move_checked<'tree>(
    from: &Path,
    to: &Path,
    before: &'tree Tree,
    moved: &mut Vec<&'tree str>,
    cancel: &Cancel,
) -> Result<()> {
    let names = before
        .keys()
        .filter(|path| !path.is_empty() && !path.contains('/'));
    for name in names {
        cancel.check()?;
        match fs::rename_new(&from.join(name), &to.join(name)) {
            Err(error) if error.is_not_found() => return Err(unstable(from, name)),
            renamed => renamed?,
        }
        moved.push(name);
    }
    if fault::is_seeded("adopt-torn") {
        return Ok(());
    }
    for name in &*moved {
        unchanged_by_rename(from, &to.join(name), name, before, cancel)?;
    }
    Ok(())
}

/// Fails if a renamed entry differs from its earlier stat. A rename changes the change time of the entry, and on some
/// filesystems that of the directory.
fn unchanged_by_rename(from: &Path, at: &Path, name: &str, before: &Tree, cancel: &Cancel) -> Result<()> {
    let stat = fs::stat(at)?;
    let expected = before.get(name).map(|expected| Stat {
        changed_ns: stat.changed_ns,
        modified_ns: match stat.kind {
            Kind::Directory => stat.modified_ns,
            _ => expected.modified_ns,
        },
        ..*expected
    });
    if expected != Some(stat) {
        return Err(unstable(from, name));
    }
    if stat.kind != Kind::Directory {
        return Ok(());
    }
    let prefix = format!("{name}/");
    let below: Tree = before
        .range(prefix.clone()..)
        .take_while(|(path, _)| path.starts_with(&prefix))
        .map(|(path, stat)| (path[prefix.len()..].to_owned(), *stat))
        .collect();
    let mut now = inspect(at, cancel)?;
    now.remove("");
    match difference(&below, &now) {
        Some(path) => Err(unstable(from, &format!("{prefix}{path}"))),
        None => Ok(()),
    }
}

/// Moves an entry back to its old path. If a tool has created that path again, the newer entry stays.
fn put_back(entry: &Path, place: &Path) {
    if fs::rename_new(entry, place).is_ok() {
        return;
    }
    for below in fs::read_directory(entry).unwrap_or_default() {
        put_back(&entry.join(&below.name), &place.join(&below.name));
    }
}

/// Removes from the source what was copied and has not changed since.
fn remove_copied(directory: &Path, copied: &Tree) -> Result<()> {
    for (relative, stat) in copied.iter().rev().filter(|(path, _)| !path.is_empty()) {
        let path = directory.join(relative);
        match stat.kind {
            Kind::Directory => match fs::remove_directory(&path).optional() {
                Err(error) if error.kind() == Some(ErrorKind::DirectoryNotEmpty) => {}
                removed => drop(removed?),
            },
            _ if fs::stat(&path).optional()?.as_ref() == Some(stat) => {
                fs::remove_file(&path).optional()?;
            }
            _ => {}
        }
    }
    Ok(())
}

fn unstable(directory: &Path, path: &str) -> Error {
    let what = if path.is_empty() {
        "it was still changing".to_owned()
    } else {
        format!("'{path}' changed")
    };
    Error::new(
        Code::Unstable,
        format!(
            "'{}' was not adopted, because {what} during the call. The stage and the directory are unchanged. Adopt it again when its tool has finished",
            directory.display()
        ),
    )
    .at(directory)
}
