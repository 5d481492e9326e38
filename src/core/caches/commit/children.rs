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
use std::path::Path;

use crate::core::error::{Error, Optional as _, Result};
use crate::core::sys::dir::Directory;
use crate::core::sys::fs::{self, Kind};

use super::super::failure;
use super::{is_errno, is_ours, rename_new};

const MAGIC: &[u8] = b"warmswap-children 1\n";

/// Puts the children of `container/tree` in the place of those of `target`, or changes nothing.
pub(super) fn commit(container: &Path, target: &Path) -> failure::Result<()> {
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
    let moved =
        move_children(container, target).and_then(|()| fs::write_new(&container.join("done"), b"", 0o600));
    if let Err(error) = moved {
        roll_back(container, target, &journal)?;
        // A second attempt starts afresh.
        fs::remove_file(&container.join("journal"))?;
        fs::remove_tree(&container.join("old"))?;
        return Err(error.into());
    }
    Ok(())
}

fn move_children(container: &Path, target: &Path) -> Result<()> {
    let old = Directory::open(&container.join("old"))?;
    let here = Directory::open(target)?;
    for entry in here.entries(target)? {
        if !is_ours(entry.name.as_bytes()) {
            move_entry(&here, &old, &entry.name, target)?;
        }
    }
    let tree = Directory::open(&container.join("tree"))?;
    for entry in tree.entries(target)? {
        move_entry(&tree, &here, &entry.name, target)?;
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

fn roll_back(container: &Path, target: &Path, journal: &[u8]) -> Result<()> {
    let Some(names) = journal.strip_prefix(MAGIC) else {
        return Err(Error::new(
            crate::core::error::Code::Format,
            format!("the journal in '{}' is of another version", container.display()),
        ));
    };
    let old = Directory::open(&container.join("old"))?;
    let tree = Directory::open(&container.join("tree"))?;
    let here = Directory::open(target)?;
    for name in names.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let name = OsStr::from_bytes(name);
        // A new child came in by one rename: it is here exactly when it is not in the tree.
        let is_in =
            tree.stat(name, target).optional()?.is_none() && here.stat(name, target).optional()?.is_some();
        if is_in {
            move_entry(&here, &tree, name, target)?;
        }
    }
    for entry in old.entries(target)? {
        move_entry(&old, &here, &entry.name, target)?;
    }
    Ok(())
}

/// Moves an entry. A directory of an overlay's lower layer cannot be renamed (EXDEV): its children are moved
/// one by one, also into what an earlier attempt has begun.
fn move_entry(from: &Directory, to: &Directory, name: &OsStr, path: &Path) -> Result<()> {
    use rustix::io::Errno;
    let path = path.join(name);
    let error = match rename_new(from, to, name, &path) {
        Ok(()) => return Ok(()),
        Err(error) => error,
    };
    let stat = from.stat(name, &path)?;
    let is_begun = error.is_exists() || is_errno(&error, &[Errno::NOTEMPTY]);
    if stat.kind != Kind::Directory || !(is_begun || is_errno(&error, &[Errno::XDEV])) {
        return Err(error);
    }
    match to.make_directory(name, 0o700, &path) {
        Err(error) if !error.is_exists() => return Err(error),
        _ => {}
    }
    let (source, sink) = (from.open_directory(name, &path)?, to.open_directory(name, &path)?);
    for entry in source.entries(&path)? {
        move_entry(&source, &sink, &entry.name, &path)?;
    }
    sink.set_own_mode(stat.mode, &path)?;
    sink.set_own_modified(stat.modified_ns, &path)?;
    from.remove_directory(name, &path)
}
