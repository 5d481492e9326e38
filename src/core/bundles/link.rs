//! The user's own name for the current generation, such as `dist`: a link to the pointer.

use std::path::{Component, Path, PathBuf};

use crate::core::error::{Code, Error, Optional, Result};
use crate::core::sys::cancel::Cancel;
use crate::core::sys::fs::{self, Kind};
use crate::core::sys::identity;

use super::collect::ADOPTED;
use super::copy::How;
use super::stage::{From, Stage};
use super::store::Store;
use super::writer::{PublishOptions, Writer};

/// What is at the link's path.
enum Place {
    /// Our link.
    Ours,
    Nothing,
    EmptyDirectory,
    Directory,
}

fn look(store: &Store, link: &Path) -> Result<Place> {
    let Some(stat) = fs::stat(link).optional()? else {
        return Ok(Place::Nothing);
    };
    match stat.kind {
        Kind::Symlink if leads_to(store, link)? => Ok(Place::Ours),
        Kind::Directory if fs::read_directory(link)?.is_empty() => Ok(Place::EmptyDirectory),
        Kind::Directory => Ok(Place::Directory),
        _ => Err(Error::argument(
            "link",
            format!(
                "'{}', which is a file or a link to something else",
                link.display()
            ),
            "a path with nothing, a directory, or this store's own link; remove what is there",
        )
        .at(link)),
    }
}

fn leads_to(store: &Store, link: &Path) -> Result<bool> {
    let target = fs::read_link(link)?;
    let parent = link.parent().unwrap_or(Path::new("/"));
    // Only the last part may be a link of its own: it is the pointer.
    let (Some(directory), Some(name)) = (target.parent(), target.file_name()) else {
        return Ok(false);
    };
    let directory = fs::canonicalize(&parent.join(directory)).optional()?;
    Ok(name == "current" && directory.as_deref() == Some(store.layout.root()))
}

/// Refuses a link that lies in the store, where it would be swept, or holds the store, which would be adopted into
/// itself and moved away.
pub(super) fn refuse_overlap(store: &Store) -> Result<()> {
    let Some(link) = &store.link else {
        return Ok(());
    };
    let (Some(parent), Some(name)) = (link.parent(), link.file_name()) else {
        return Err(Error::argument(
            "link",
            format!("'{}'", link.display()),
            "a path with a name",
        ));
    };
    // What does not exist has no links to resolve.
    let parent = fs::canonicalize(parent)
        .optional()?
        .unwrap_or_else(|| parent.to_path_buf());
    let (link, root) = (parent.join(name), store.layout.root());
    if link.starts_with(root) || root.starts_with(&link) {
        return Err(Error::argument(
            "link",
            format!("'{}', and root '{}'", link.display(), root.display()),
            "a path outside of root that does not hold root either",
        )
        .at(&link));
    }
    Ok(())
}

/// Whether opening has to change something at the link's path.
pub(super) fn needs_adoption(store: &Store) -> Result<bool> {
    let Some(link) = &store.link else {
        return Ok(false);
    };
    Ok(match look(store, link)? {
        Place::Ours => false,
        Place::Directory => true,
        Place::Nothing | Place::EmptyDirectory => store.current()?.is_some(),
    })
}

/// Refuses a publish that could not put the link in place, before anything is visible.
pub(super) fn check(store: &Store) -> Result<()> {
    let Some(link) = &store.link else {
        return Ok(());
    };
    match look(store, link)? {
        Place::Directory => Err(Error::argument("link", format!("'{}', where somebody made a directory with files since the store was opened", link.display()), "a path with nothing or this store's own link; open the store again to adopt the directory, or remove it").at(link)),
        Place::Nothing | Place::EmptyDirectory => {
            // What follows the pointer is not undone, so that it can be made is tried before.
            fs::remove_file(&make_beside(store, link)?)
        }
        Place::Ours => Ok(()),
    }
}

/// Makes the link again if somebody removed it.
pub(super) fn ensure(store: &Store) -> Result<()> {
    let Some(link) = &store.link else {
        return Ok(());
    };
    match look(store, link)? {
        Place::Ours => Ok(()),
        Place::Nothing => {
            let temporary = make_beside(store, link)?;
            fs::rename(&temporary, link)
        }
        Place::EmptyDirectory | Place::Directory => exchange(store, link),
    }
}

/// When a store is opened: a directory with files becomes a generation, and then the link takes its place
/// without a moment in which the path is missing.
pub(super) fn adopt(writer: &mut Writer<'_>, cancel: &Cancel) -> Result<()> {
    let store = writer.store;
    let Some(link) = &store.link else {
        return Ok(());
    };
    sweep_beside(store, link)?;
    if matches!(look(store, link)?, Place::Directory) {
        let stage = Stage::begin(store, From::Empty, None, cancel)?;
        let published = stage.adopt(link, How::Clone, cancel).and_then(|()| {
            let sealed = stage.seal(store, &[], cancel)?;
            // A second try after a refused exchange finds the generation of the first.
            writer.publish_adopted(
                &stage,
                &sealed,
                &PublishOptions {
                    if_changed: true,
                    ..PublishOptions::default()
                },
            )
        });
        if let Err(error) = published {
            drop(stage.discard());
            return Err(error);
        }
    }
    if writer.current.is_some() {
        ensure(store)
    } else {
        Ok(())
    }
}

/// The temporary neighbour of the link; only under the writer lock, so the name is ours.
fn beside(link: &Path) -> PathBuf {
    let name = link.file_name().unwrap_or_default().to_string_lossy();
    link.with_file_name(format!(".{name}.warmswap"))
}

fn make_beside(store: &Store, link: &Path) -> Result<PathBuf> {
    let temporary = beside(link);
    let parent = link.parent().unwrap_or(Path::new("/"));
    fs::create_directories(parent)?;
    let parent = fs::canonicalize(parent)?;
    sweep_beside(store, link)?;
    fs::symlink(&relative_to(&parent, store.layout.pointer()), &temporary)?;
    Ok(temporary)
}

fn exchange(store: &Store, link: &Path) -> Result<()> {
    let temporary = make_beside(store, link)?;
    if let Err(error) = fs::exchange(&temporary, link) {
        drop(fs::remove_file(&temporary));
        return Err(match error.errno() {
            Some(code) if [rustix::io::Errno::XDEV, rustix::io::Errno::INVAL, rustix::io::Errno::NOSYS].iter().any(|errno| errno.raw_os_error() == code) => Error {
                source: error.source,
                op: error.op,
                ..Error::new(
                    Code::Unsupported,
                    format!(
                        "'{}' is a directory that this filesystem cannot exchange for a link in one step (an image layer under overlayfs, for example); \
                         remove it yourself, or leave the option link out",
                        link.display()
                    ),
                )
                .at(link)
            },
            _ => error,
        });
    }
    sweep_beside(store, link)
}

/// Removes the neighbour: an unused link, or the directory that was exchanged, which goes to the trash until a
/// later open, because processes may still work in it.
fn sweep_beside(store: &Store, link: &Path) -> Result<()> {
    let temporary = beside(link);
    let Some(stat) = fs::stat(&temporary).optional()? else {
        return Ok(());
    };
    if stat.kind != Kind::Directory {
        return fs::remove_file(&temporary);
    }
    let trash = store
        .layout
        .trash(&format!("{ADOPTED}{}", identity::monotonic_micros()));
    match fs::rename(&temporary, &trash) {
        // A link on another filesystem than the store.
        Err(error) if error.kind() == Some(std::io::ErrorKind::CrossesDevices) => fs::remove_tree(&temporary),
        moved => moved,
    }
}

/// A link that stays right when both are moved together, as with a project's folder.
fn relative_to(from: &Path, to: &Path) -> PathBuf {
    let mut ours = from.components().peekable();
    let mut theirs = to.components().peekable();
    while ours.peek().is_some() && ours.peek() == theirs.peek() {
        ours.next();
        theirs.next();
    }
    let up = ours.map(|_| Component::ParentDir);
    up.chain(theirs).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_link_is_relative() {
        assert_eq!(
            relative_to(Path::new("/app"), Path::new("/app/.warmswap/web/current")),
            Path::new(".warmswap/web/current")
        );
        assert_eq!(
            relative_to(Path::new("/srv/www"), Path::new("/var/store/current")),
            Path::new("../../var/store/current")
        );
    }
}
