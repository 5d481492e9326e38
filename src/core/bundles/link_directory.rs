//! Directories at the path of a link: one with files that becomes a generation, and one that takes the link's place for a
//! tool.

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

/// Publishes a directory with files at the link's path when a store is opened, and then exchanges it for the link
/// atomically. The directory itself is set aside, with the files that other programs write into it in the meantime.
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
        // A second try after a refused exchange finds the generation of the first.
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
    /// Makes `link` a real directory with the files that it shows, for a tool that has to find one. A later publish with
    /// this link replaces it. `false` if the path already has a directory or an entry that this package did not make.
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
    // Recorded while it is empty: what a kill leaves here is no directory of the user.
    replaced::record_made(store, &directory)?;
    // A tool may have removed what the link leads to.
    if let Some(shown) = fs::canonicalize(link).optional()? {
        copy::copy_tree(&shown, &directory, CopyMethod::Clone, &mut Vec::new(), cancel)?;
    }
    match fs::exchange(&directory, link) {
        // Not in one step, then: the tool that asks for the directory is about to empty it.
        Err(error) if is_exchange_refused(&error) => {
            fs::remove_file(link)?;
            return fs::rename(&directory, link);
        }
        exchanged => exchanged?,
    }
    // Judged again: another process may have put something else in the place of the link.
    sweep_temporary(store, link).map(drop)
}
