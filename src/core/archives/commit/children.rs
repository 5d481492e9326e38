//! Commit child by child, for targets that cannot be renamed themselves. First the old children are moved out, then the
//! new ones are moved in. A journal lists the plan, so that the next call on the target can roll everything back:
//!
//! ```text
//! <stage>/journal   'warmswap-children 1\n', then the names of the new children, each ended by NUL
//! <stage>/old/      the old children that were moved out
//! <stage>/tree/     the new children that are not moved in yet
//! <stage>/done      the commit is finished, and the content of old/ can be removed
//! ```

use std::ffi::OsString;
use std::io::Read as _;
use std::path::PathBuf;

use crate::core::error::{At as _, Code, Error, Optional as _, Result};
use crate::core::sys::fs::{self, Access, Kind};
use crate::core::sys::name;
use crate::core::sys::path::MAX_NAME_BYTES;

use crate::core::archives::commit::moves::{OnConflict, move_entry};
use crate::core::archives::commit::stage_directory::{DONE, JOURNAL, NEW_JOURNAL, OLD, StageDirectory, TREE};
use crate::core::archives::exclude::is_no_content;
use crate::core::archives::shared_directory::Target;
use crate::core::failure;

const FORMAT: &[u8] = b"warmswap-children ";
const MAGIC: &[u8] = b"warmswap-children 1\n";
/// More than a directory with a million children needs.
const MAX_JOURNAL_BYTES: u64 = 256 << 20;

/// Prefix of a directory with old children that could not be moved back, because another process has created entries
/// with their names. A sweep never removes it.
const KEPT: &str = ".warmswap-kept-";

/// Moves the children of the stage's tree into `target`, or changes nothing. The target's own children are replaced if
/// `replaces` is set.
pub(super) fn commit(stage: &StageDirectory, target: &Target, replaces: bool) -> failure::Result<()> {
    let mut names = Vec::new();
    for entry in stage
        .opened
        .open_trusted(TREE.as_ref())?
        .directory
        .entries(&stage.path(TREE))?
    {
        // An archive of a volume's root can contain its lost+found, which is not content.
        if !is_no_content(name::as_bytes(&entry.name)) {
            names.push(entry.name);
        }
    }
    begin(stage, &names)?;
    let moved = move_children(stage, target, &names, replaces).and_then(|()| {
        let done = stage.path(DONE);
        stage
            .opened
            .directory
            .create_new(DONE.as_ref(), 0o600, &done)
            .map(drop)
    });
    if let Err(mut error) = moved {
        if let Some(kept) = roll_back(stage, target, &names)? {
            error.message = format!(
                "{}. Entries that another process created in '{}' in the meantime are kept. The entries that had those names before are in '{}'",
                error.message,
                target.path.display(),
                kept.display()
            );
        }
        // A second attempt starts with a new journal.
        stage.forget_journal()?;
        stage
            .opened
            .directory
            .remove_tree(OLD.as_ref(), &stage.path(OLD))?;
        return Err(error.into());
    }
    Ok(())
}

/// Creates `old/` and the journal.
fn begin(stage: &StageDirectory, names: &[OsString]) -> Result<()> {
    let directory = &stage.opened.directory;
    directory.make_directory(OLD.as_ref(), 0o700, &stage.path(OLD))?;
    let mut journal = MAGIC.to_vec();
    for name in names {
        journal.extend_from_slice(name::as_bytes(name));
        journal.push(0);
    }
    let (path, new_path) = (stage.path(JOURNAL), stage.path(NEW_JOURNAL));
    directory
        .remove_file(NEW_JOURNAL.as_ref(), &new_path)
        .optional()?;
    let mut file = directory.create_new(NEW_JOURNAL.as_ref(), 0o600, &new_path)?;
    fs::write_all(&mut file, &journal, &new_path)?;
    directory.rename(NEW_JOURNAL.as_ref(), directory, JOURNAL.as_ref(), &path)
}

fn move_children(stage: &StageDirectory, target: &Target, names: &[OsString], replaces: bool) -> Result<()> {
    let old = stage.opened.open_trusted(OLD.as_ref())?;
    let here = target.open_directory()?;
    let leaving = if replaces {
        here.directory.entries(&target.path)?
    } else {
        Vec::new()
    };
    for entry in leaving {
        if !is_no_content(name::as_bytes(&entry.name)) {
            move_entry(
                &here.directory,
                &old.directory,
                &entry.name,
                &target.path,
                OnConflict::Fail,
            )?;
        }
    }
    let tree = stage.opened.open_trusted(TREE.as_ref())?;
    for name in names {
        move_entry(
            &tree.directory,
            &here.directory,
            name,
            &target.path,
            OnConflict::Fail,
        )?;
    }
    Ok(())
}

/// Whether a commit of this stage was begun and not finished.
pub(super) fn is_unfinished(stage: &StageDirectory) -> Result<bool> {
    Ok(stage.has(JOURNAL)? && !stage.has(DONE)?)
}

/// Rolls back the moves of a killed commit. Returns `false` and does nothing if its journal is not one that [`commit`]
/// writes.
pub(super) fn roll_back_unfinished(stage: &StageDirectory, target: &Target) -> failure::Result<bool> {
    let has_tree = stage.has(TREE)?;
    let Some(names) = read_journal(stage)?.filter(|_| has_tree) else {
        return Ok(false);
    };
    roll_back(stage, target, &names)?;
    Ok(true)
}

/// Names of the new children. `None` if one of them is not a valid name.
fn read_journal(stage: &StageDirectory) -> Result<Option<Vec<OsString>>> {
    let path = stage.path(JOURNAL);
    let file = stage
        .opened
        .directory
        .open_regular(JOURNAL.as_ref(), Access::Read, &path)?;
    if !stage.opened.trusts(&fs::stat_file(&file, &path)?) {
        return Ok(None);
    }
    let mut journal = Vec::new();
    file.take(MAX_JOURNAL_BYTES)
        .read_to_end(&mut journal)
        .at("read", &path)?;
    let Some(names) = journal.strip_prefix(MAGIC) else {
        if !journal.starts_with(FORMAT) {
            return Ok(None);
        }
        return Err(Error::new(
            Code::Format,
            format!(
                "'{}' belongs to another version of warmswap. Finish or remove that restore with the version that began it",
                path.display()
            ),
        ));
    };
    let Some(names) = names.strip_suffix(b"\0") else {
        // The journal of an empty tree. Any other journal without names is truncated, and a journal is visible only
        // when it is complete.
        return Ok(names.is_empty().then(Vec::new));
    };
    let names: Vec<_> = names.split(|byte| *byte == 0).collect();
    Ok(names.iter().all(|name| is_child(name)).then(|| {
        names
            .into_iter()
            .map(|name| name::from_bytes(name).to_owned())
            .collect()
    }))
}

/// Whether it is a valid name of one entry.
fn is_child(name: &[u8]) -> bool {
    !name.is_empty() && name != b"." && name != b".." && name.len() <= MAX_NAME_BYTES && !name.contains(&b'/')
}

/// Moves everything back. Returns the path of the old children whose names are in use, if there are any.
fn roll_back(stage: &StageDirectory, target: &Target, names: &[OsString]) -> Result<Option<PathBuf>> {
    let is_directory = target.stat()?.is_some_and(|stat| stat.kind == Kind::Directory);
    if !is_directory {
        // The target was removed, so the old children cannot be moved back.
        return keep_old(stage);
    }
    let here = target.open_directory()?;
    let tree = stage.opened.open_trusted(TREE.as_ref())?;
    for name in names.iter().filter(|name| !is_no_content(name::as_bytes(name))) {
        // A new child is moved in by one rename. It is in the target exactly if it is not in the tree.
        let came_in = tree.stat(name)?.is_none() && here.stat(name)?.is_some_and(|stat| here.trusts(&stat));
        if came_in {
            move_entry(
                &here.directory,
                &tree.directory,
                name,
                &target.path,
                OnConflict::Fail,
            )?;
        }
    }
    // A process that was killed right afterwards has already kept what could not be moved back.
    let Some(old) = stage.opened.open_trusted(OLD.as_ref()).optional()? else {
        return Ok(None);
    };
    let filled = OnConflict::Fill {
        committer: old.stat.uid,
    };
    for entry in old.directory.entries(&old.path)? {
        if !old.stat(&entry.name)?.is_some_and(|stat| old.trusts(&stat)) {
            continue;
        }
        match move_entry(&old.directory, &here.directory, &entry.name, &target.path, filled) {
            Err(error) if error.is_exists() => {}
            moved => moved?,
        }
    }
    keep_old(stage)
}

/// Returns `None` if nothing has to be kept.
fn keep_old(stage: &StageDirectory) -> Result<Option<PathBuf>> {
    let (directory, path) = (&stage.opened.directory, stage.path(OLD));
    if directory.remove_directory(OLD.as_ref(), &path).optional().is_ok() {
        return Ok(None);
    }
    let parent = stage.parent();
    let name = format!("{KEPT}{}", uuid::Uuid::new_v4().simple());
    let kept = parent.path.join(&name);
    directory.rename(OLD.as_ref(), &parent.directory, name.as_ref(), &kept)?;
    Ok(Some(kept))
}
