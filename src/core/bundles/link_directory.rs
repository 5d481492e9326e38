//! Directories at the path of a link: one with files that becomes a generation, and one that takes the link's place for a
//! tool.

use std::path::Path;

use crate::core::error::{Optional, Result};
use crate::core::sys::cancel::Cancel;
use crate::core::sys::fs;

use super::copy::{self, How};
use super::link::{Place, beside, ensure, is_refused_exchange, look, not_adopted, repair, sweep_beside};
use super::publish::PublishOptions;
use super::replaced;
use super::stage::{From, Stage};
use super::store::Store;
use super::writer::Writer;

/// When a store is opened: a directory with files becomes a generation, and then the link takes its place without a
/// moment in which the path is missing. The directory itself is set aside, with what other programs write into it
/// in the meantime. `true` if a directory was taken away from the link's path.
pub(super) fn adopt(writer: &mut Writer<'_>, after_reboot: bool, cancel: &Cancel) -> Result<bool> {
    let store = writer.store;
    let Some(link) = &store.link else {
        return repair(store, after_reboot, cancel).map(|_| false);
    };
    let swept = sweep_beside(store, link)?;
    let place = look(store, link)?;
    if place == Place::Directory {
        if !store.adopt {
            return Err(not_adopted(link));
        }
        publish_directory(writer, link, cancel)?;
    }
    if repair(store, after_reboot, cancel)? && writer.current.is_some() && place != Place::Made {
        ensure(store)?;
    }
    Ok(swept || place == Place::Directory)
}

fn publish_directory(writer: &mut Writer<'_>, link: &Path, cancel: &Cancel) -> Result<()> {
    let store = writer.store;
    let stage = Stage::begin(store, From::Empty, None, cancel)?;
    let published = stage.adopt(link, How::Clone, cancel).and_then(|()| {
        let sealed = stage.seal(store, &[], cancel)?;
        // A second try after a refused exchange finds the generation of the first.
        let options = PublishOptions {
            if_changed: true,
            ..PublishOptions::default()
        };
        writer.publish_adopted(&stage, &sealed, &options)
    });
    if let Err(error) = published {
        drop(stage.discard());
        return Err(error);
    }
    Ok(())
}

impl Writer<'_> {
    /// Makes `link` a real directory with the files that it shows, for a tool that has to find one. A later publish with
    /// this link replaces it. `false` where there is a directory already, or something of somebody else.
    pub fn give_directory(&self, link: &Path, cancel: &Cancel) -> Result<bool> {
        let store = self.store;
        sweep_beside(store, link)?;
        match look(store, link) {
            Ok(Place::Ours | Place::ToPointer) => replace_by_directory(store, link, cancel).map(|()| true),
            Ok(Place::Nothing) => {
                fs::create_directories(link.parent().unwrap_or(Path::new("/")))?;
                fs::create_directory(link, 0o777)?;
                replaced::record_made(store, link).map(|()| true)
            }
            _ => Ok(false),
        }
    }
}

fn replace_by_directory(store: &Store, link: &Path, cancel: &Cancel) -> Result<()> {
    let directory = beside(link);
    fs::create_directory(&directory, 0o777)?;
    // Recorded while it is empty: what a kill leaves here is no directory of the user.
    replaced::record_made(store, &directory)?;
    // A tool may have removed what the link leads to.
    if let Some(shown) = fs::canonicalize(link).optional()? {
        copy::tree(&shown, &directory, How::Clone, &mut Vec::new(), cancel)?;
    }
    match fs::exchange(&directory, link) {
        // Not in one step, then: the tool that asks for the directory is about to empty it.
        Err(error) if is_refused_exchange(&error) => {
            fs::remove_file(link)?;
            return fs::rename(&directory, link);
        }
        exchanged => exchanged?,
    }
    // Judged again: another process may have put something else in the place of the link.
    sweep_beside(store, link).map(drop)
}
