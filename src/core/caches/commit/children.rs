//! Child by child, for targets that cannot be renamed themselves: the old children go aside, then the new ones
//! come in. A journal says what was planned, so that whoever finds it can take everything back:
//!
//! ```text
//! <stage>/journal   'warmswap-children 1\n', then the names of the new children, each ended by NUL
//! <stage>/old/      the old children that are out
//! <stage>/tree/     the new children that are not in
//! <stage>/done      the commit is finished: what is in old/ is rubbish
//! ```

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use crate::core::error::{Error, Optional as _, Result};
use crate::core::sys::dir::Directory;
use crate::core::sys::fs::{self, Kind};

use super::super::exclude::is_no_content;
use super::super::failure;
use super::{is_errno, rename_new};

const MAGIC: &[u8] = b"warmswap-children 1\n";

/// The old children that could not be put back, because somebody has made them anew. Nobody sweeps these.
const KEPT: &str = ".warmswap-kept-";

/// Puts the children of `container/tree` into `target`, in the place of its own if it `replaces` them, or changes
/// nothing.
pub(super) fn commit(container: &Path, target: &Path, replaces: bool) -> failure::Result<()> {
    let tree = container.join("tree");
    let mut journal = MAGIC.to_vec();
    for entry in fs::read_directory(&tree)? {
        journal.extend_from_slice(entry.name.as_bytes());
        journal.push(0);
    }
    fs::create_directory(&container.join("old"), 0o700)?;
    fs::replace(
        &container.join("journal"),
        &container.join("journal.new"),
        &journal,
        0o600,
    )?;
    let moved = move_children(container, target, replaces)
        .and_then(|()| fs::write_new(&container.join("done"), b"", 0o600));
    if let Err(mut error) = moved {
        if let Some(kept) = roll_back(container, target, &journal)? {
            error.message = format!(
                "{}; what was made anew in '{}' meanwhile stays, and what it had replaced is in '{}'",
                error.message,
                target.display(),
                kept.display()
            );
        }
        // A second attempt starts afresh.
        fs::remove_file(&container.join("journal"))?;
        fs::remove_tree(&container.join("old"))?;
        return Err(error.into());
    }
    Ok(())
}

fn move_children(container: &Path, target: &Path, replaces: bool) -> Result<()> {
    let old = Directory::open(&container.join("old"))?;
    let here = Directory::open(target)?;
    let leaving = if replaces {
        here.entries(target)?
    } else {
        Vec::new()
    };
    for entry in leaving {
        if !is_no_content(entry.name.as_bytes()) {
            move_entry(&here, &old, &entry.name, target, Taken::Refused)?;
        }
    }
    let tree = Directory::open(&container.join("tree"))?;
    for entry in tree.entries(target)? {
        // An archive of a volume's root can hold its lost+found: no content here either.
        if !is_no_content(entry.name.as_bytes()) {
            move_entry(&tree, &here, &entry.name, target, Taken::Refused)?;
        }
    }
    Ok(())
}

/// Whether a commit of this stage was begun and not finished.
pub(super) fn is_unfinished(container: &Path) -> Result<bool> {
    let is_there = |name| Ok(fs::stat(&container.join(name)).optional()?.is_some());
    Ok(is_there("journal")? && !is_there("done")?)
}

/// Takes back what a commit that was killed has moved.
pub(super) fn roll_back_unfinished(container: &Path, target: &Path) -> failure::Result<()> {
    let Some(journal) = fs::read(&container.join("journal")).optional()? else {
        return Ok(());
    };
    roll_back(container, target, &journal)?;
    Ok(())
}

/// Moves everything back. Says where those old children are now whose places were taken.
fn roll_back(container: &Path, target: &Path, journal: &[u8]) -> Result<Option<PathBuf>> {
    let Some(names) = journal.strip_prefix(MAGIC) else {
        return Err(Error::new(
            crate::core::error::Code::Format,
            format!("the journal in '{}' is of another version", container.display()),
        ));
    };
    let Some(here) = Directory::open(target).optional()? else {
        // Somebody has removed the target: there is no place to put anything back to.
        return keep_old(container);
    };
    let tree = Directory::open(&container.join("tree"))?;
    for name in names.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let name = OsStr::from_bytes(name);
        // A new child came in by one rename: it is here exactly when it is not in the tree.
        let is_in =
            tree.stat(name, target).optional()?.is_none() && here.stat(name, target).optional()?.is_some();
        if is_in {
            move_entry(&here, &tree, name, target, Taken::Refused)?;
        }
    }
    // What could not be put back is kept already, by one who was killed right after that.
    let Some(old) = Directory::open(&container.join("old")).optional()? else {
        return Ok(None);
    };
    for entry in old.entries(target)? {
        match move_entry(&old, &here, &entry.name, target, Taken::Filled) {
            Err(error) if error.is_exists() => {}
            moved => moved?,
        }
    }
    keep_old(container)
}

/// `None` where nothing is left to be kept.
fn keep_old(container: &Path) -> Result<Option<PathBuf>> {
    let old = container.join("old");
    if fs::remove_directory(&old).optional().is_ok() {
        return Ok(None);
    }
    let kept = container.with_file_name(format!("{KEPT}{}", uuid::Uuid::new_v4().simple()));
    fs::rename(&old, &kept)?;
    Ok(Some(kept))
}

/// What a directory is moved to whose name is taken by another one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Taken {
    /// Nothing: somebody has made that one.
    Refused,
    /// Into it: its own move may have been cut off between two of its children.
    Filled,
}

/// Moves an entry. A directory of an overlay's lower layer cannot be renamed (EXDEV): its children are moved
/// one by one. Names that are taken are told at the end.
fn move_entry(from: &Directory, to: &Directory, name: &OsStr, path: &Path, taken: Taken) -> Result<()> {
    move_below(from, to, name, path, taken, 0)
}

/// Levels of directories that are moved one by one: each takes two descriptors and some stack.
const MAX_DEPTH: usize = 256;

fn move_below(
    from: &Directory,
    to: &Directory,
    name: &OsStr,
    path: &Path,
    taken: Taken,
    depth: usize,
) -> Result<()> {
    use rustix::io::Errno;
    let path = path.join(name);
    if depth >= MAX_DEPTH {
        let shown: PathBuf = path.iter().take(8).collect();
        return Err(Error::new(
            crate::core::error::Code::Unsupported,
            format!(
                "'{}/…' has directories that cannot be renamed and are more than {MAX_DEPTH} levels deep. Remove them, \
                 or use another target",
                shown.display()
            ),
        )
        .at(&path));
    }
    let error = match rename_new(from, to, name, &path) {
        Ok(()) => return Ok(()),
        Err(error) => error,
    };
    let stat = from.stat(name, &path)?;
    let fills = taken == Taken::Filled && (error.is_exists() || is_errno(&error, &[Errno::NOTEMPTY]));
    if stat.kind != Kind::Directory || !(fills || is_errno(&error, &[Errno::XDEV])) {
        return Err(error);
    }
    match to.make_directory(name, 0o700, &path) {
        Err(error) if fills && error.is_exists() => {
            if to.stat(name, &path)?.kind != Kind::Directory {
                return Err(error);
            }
        }
        made => made?,
    }
    let (source, sink) = (from.open_directory(name, &path)?, to.open_directory(name, &path)?);
    let mut refused = Ok(());
    for entry in source.entries(&path)? {
        match move_below(&source, &sink, &entry.name, &path, taken, depth + 1) {
            Err(error) if error.is_exists() => refused = Err(error),
            moved => moved?,
        }
    }
    refused?;
    sink.set_own_mode(stat.mode, &path)?;
    sink.set_own_modified(stat.modified_ns, &path)?;
    from.remove_directory(name, &path)
}
