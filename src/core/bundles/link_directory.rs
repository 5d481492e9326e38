//! Directories at the path of a link: a directory with files that becomes a generation, and a directory that replaces
//! the link for a tool.

use std::path::Path;

use crate::core::error::{Optional, Result};
use crate::core::sys::cancel::Cancel;
use crate::core::sys::fs;

use super::copy::{self, CopyMethod};
use super::link::{
    LinkState, ensure, inspect, is_exchange_refused, not_adopted, repair, sweep_temporary, temporary_path,
};
use super::publish::PublishOptions;
use super::replaced;
use super::stage::{Stage, StageBase};
use super::store::Store;
use super::writer::Writer;

/// When a store is opened: publishes a directory with files at the link's path, and then atomically exchanges it for
/// the link. The directory is set aside, including files that other programs write into it in the meantime. Returns
/// `true` if a directory was removed from the link's path.
pub(super) fn adopt_directory(writer: &mut Writer<'_>, after_reboot: bool, cancel: &Cancel) -> Result<bool> {
    let store = writer.store;
    let Some(link) = &store.link else {
        return repair(store, after_reboot, cancel).map(|_| false);
    };
    let swept = sweep_temporary(store, link)?;
    let state = inspect(store, link)?;
    if state == LinkState::UserDirectory {
        if !store.adopt {
            return Err(not_adopted(link));
        }
        publish_directory(writer, link, cancel)?;
    }
    if repair(store, after_reboot, cancel)? && writer.current.is_some() && state != LinkState::MadeDirectory {
        ensure(store)?;
    }
    Ok(swept || state == LinkState::UserDirectory)
}

fn publish_directory(writer: &mut Writer<'_>, link: &Path, cancel: &Cancel) -> Result<()> {
    let store = writer.store;
    let stage = Stage::begin(store, StageBase::Empty, None, cancel)?;
    let published = stage.adopt(link, CopyMethod::Clone, cancel).and_then(|()| {
        let sealed = stage.seal(store, &[], cancel)?;
        // A second attempt after a failed exchange finds the generation of the first attempt.
        let options = PublishOptions {
            if_changed: true,
            ..PublishOptions::default()
        };
        writer.publish_unchecked(&stage, &sealed, &options)
    });
    if let Err(error) = published {
        drop(stage.discard());
        return Err(error);
    }
    Ok(())
}

impl Writer<'_> {
    /// Replaces `link` with a real directory that contains the same files, for a tool that requires a directory. A
    /// later publish with this link replaces the directory. Returns `false` if the path already has a directory or an
    /// entry that warmswap did not create.
    pub fn give_directory(&self, link: &Path, cancel: &Cancel) -> Result<bool> {
        let store = self.store;
        sweep_temporary(store, link)?;
        match inspect(store, link) {
            Ok(LinkState::ToView | LinkState::ToPointer) => {
                replace_by_directory(store, link, cancel).map(|()| true)
            }
            Ok(LinkState::Nothing) => {
                fs::create_directories(link.parent().unwrap_or(Path::new("/")))?;
                fs::create_directory(link, 0o777)?;
                replaced::record_made(store, link).map(|()| true)
            }
            _ => Ok(false),
        }
    }
}

fn replace_by_directory(store: &Store, link: &Path, cancel: &Cancel) -> Result<()> {
    let directory = temporary_path(link);
    fs::create_directory(&directory, 0o777)?;
    // Recorded while the directory is empty, so that after a kill it does not count as a directory of the user.
    replaced::record_made(store, &directory)?;
    // A tool may have removed the target of the link.
    if let Some(shown) = fs::canonicalize(link).optional()? {
        copy::copy_tree(&shown, &directory, CopyMethod::Clone, &mut Vec::new(), cancel)?;
    }
    match fs::exchange(&directory, link) {
        // Not atomic here: the tool that needs the directory is about to empty it anyway.
        Err(error) if is_exchange_refused(&error) => {
            fs::remove_file(link)?;
            return fs::rename(&directory, link);
        }
        exchanged => exchanged?,
    }
    // Inspected again, because another process may have replaced the link in the meantime.
    sweep_temporary(store, link).map(drop)
}
