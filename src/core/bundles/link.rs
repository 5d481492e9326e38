//! The user's own path for the current generation, such as `dist`: a link to the view of it.

use std::path::{Component, Path, PathBuf};

use crate::core::error::{Code, Error, Optional, Result};
use crate::core::sys::cancel::Cancel;
use crate::core::sys::errno;
use crate::core::sys::fs::{self, Kind};

use super::replaced;
use super::store::Store;
use super::view::{self, View};

/// State of the link's path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LinkState {
    /// A link of this store to the view.
    ToView,
    /// A link of this store to the pointer, as versions without views created it. It leads into the generation itself.
    ToPointer,
    Nothing,
    EmptyDirectory,
    /// A directory that [`Writer::give_directory`](super::Writer::give_directory) created for a tool.
    MadeDirectory,
    /// A directory with files that warmswap did not create.
    UserDirectory,
}

pub(super) fn inspect(store: &Store, link: &Path) -> Result<LinkState> {
    let Some(stat) = fs::stat(link).optional()? else {
        return Ok(LinkState::Nothing);
    };
    let foreign = || {
        Error::argument(
            "link",
            format!("'{}' is a file or a link to another target", link.display()),
            "a missing path, a directory, or this store's own link. Remove the existing entry",
        )
        .at(link)
    };
    match stat.kind {
        Kind::Symlink => symlink_state(store, link)?.ok_or_else(foreign),
        Kind::Directory if fs::read_directory(link)?.is_empty() => Ok(LinkState::EmptyDirectory),
        Kind::Directory if replaced::was_made_here(store, link)? => Ok(LinkState::MadeDirectory),
        Kind::Directory => Ok(LinkState::UserDirectory),
        _ => Err(foreign()),
    }
}

/// State of a path that is a symlink. `None` if it does not lead to this store.
fn symlink_state(store: &Store, link: &Path) -> Result<Option<LinkState>> {
    let target = fs::read_link(link)?;
    let parent = link.parent().unwrap_or(Path::new("/"));
    // Only the last component may be a link: it is the view or the pointer.
    let (Some(directory), Some(name)) = (target.parent(), target.file_name()) else {
        return Ok(None);
    };
    if fs::canonicalize(&parent.join(directory)).optional()?.as_deref() != Some(store.layout.root()) {
        return Ok(None);
    }
    Ok(match name.to_str() {
        Some("view") => Some(LinkState::ToView),
        Some("current") => Some(LinkState::ToPointer),
        _ => None,
    })
}

/// Refuses a link inside the store, where it would be swept. Also refuses a link whose directory contains the store,
/// because the store would be adopted into itself and moved away.
pub(super) fn check_overlap(store: &Store) -> Result<()> {
    let Some(link) = &store.link else {
        return Ok(());
    };
    let (Some(parent), Some(name)) = (link.parent(), link.file_name()) else {
        return Err(Error::argument(
            "link",
            format!("'{}'", link.display()),
            "a path that ends in a name",
        ));
    };
    // A missing path has no links to resolve.
    let parent = fs::canonicalize(parent)
        .optional()?
        .unwrap_or_else(|| parent.to_path_buf());
    let (link, root) = (parent.join(name), store.layout.root());
    if link.starts_with(root) || root.starts_with(&link) {
        return Err(Error::argument(
            "link",
            format!("'{}' overlaps root '{}'", link.display(), root.display()),
            "a path that is neither inside root nor above it",
        )
        .at(&link));
    }
    Ok(())
}

/// Refuses a directory with files unless the caller set `adopt`: a path with a typo may contain sources.
pub(super) fn check_directory(store: &Store) -> Result<()> {
    match &store.link {
        Some(link) if !store.adopt && inspect(store, link)? == LinkState::UserDirectory => {
            Err(not_adopted(link))
        }
        _ => Ok(()),
    }
}

pub(super) fn not_adopted(link: &Path) -> Error {
    Error::argument(
        "link",
        format!(
            "'{}' is a directory with files that warmswap did not create",
            link.display()
        ),
        "a missing path or this store's own link. To replace the directory, pass adopt: true (its files become a \
         generation, and the directory is kept in the store under set-aside/). Otherwise remove it or choose another path",
    )
    .at(link)
}

/// Whether opening the store has to change the link's path.
pub(super) fn needs_adoption(store: &Store) -> Result<bool> {
    let Some(link) = &store.link else {
        return Ok(false);
    };
    Ok(match inspect(store, link)? {
        // The next publish replaces a directory that warmswap created. Until then it contains what its tool built.
        LinkState::ToView | LinkState::MadeDirectory => false,
        LinkState::UserDirectory | LinkState::ToPointer => true,
        LinkState::Nothing | LinkState::EmptyDirectory => store.current()?.is_some(),
    })
}

/// Fails if the link cannot be created. Called before a publish becomes visible.
pub(super) fn check_replaceable(store: &Store) -> Result<()> {
    let Some(link) = &store.link else {
        return Ok(());
    };
    match inspect(store, link)? {
        LinkState::UserDirectory if !store.adopt => Err(not_adopted(link)),
        LinkState::ToView => Ok(()),
        // Later steps are not undone after the pointer has moved, so the creation of the link is tested before.
        _ => fs::remove_file(&make_temporary(store, link)?),
    }
}

/// Points the link to the view, and creates it again if it was removed.
pub(super) fn ensure(store: &Store) -> Result<()> {
    let Some(link) = &store.link else {
        return Ok(());
    };
    match inspect(store, link)? {
        LinkState::ToView => Ok(()),
        LinkState::Nothing => {
            let temporary = make_temporary(store, link)?;
            match fs::rename_new(&temporary, link) {
                // ZFS before 2.2 supports no flags for rename.
                Err(error) if is_exchange_refused(&error) => fs::rename(&temporary, link),
                // Another process created an entry at this path in the meantime.
                moved => moved.inspect_err(|_| drop(fs::remove_file(&temporary))),
            }
        }
        LinkState::ToPointer => {
            let temporary = make_temporary(store, link)?;
            fs::rename(&temporary, link)
        }
        LinkState::UserDirectory if !store.adopt => Err(not_adopted(link)),
        LinkState::EmptyDirectory | LinkState::MadeDirectory | LinkState::UserDirectory => {
            exchange(store, link)
        }
    }
}

/// Updates the view and the link after a publish or rollback has moved the pointer.
pub(super) fn update(store: &Store, view: Option<View>) -> Result<()> {
    if let Some(view) = view {
        view::link_to(&store.layout, view)?;
    }
    ensure(store)
}

/// Like [`update`], for an unchanged current generation.
pub(super) fn refresh(store: &Store, number: u64) -> Result<()> {
    view::refresh(store, number)?;
    ensure(store)
}

/// Repairs the view and the link. Returns `false` on a full disk: links then lead to the earlier view until a later
/// open or publish finds space.
pub(super) fn repair(store: &Store, after_reboot: bool, cancel: &Cancel) -> Result<bool> {
    match view::repair(store, after_reboot, cancel) {
        Err(error) if error.is_full() => Ok(false),
        repaired => repaired.map(|()| true),
    }
}

pub(super) fn is_exchange_refused(error: &Error) -> bool {
    error.crosses_devices() || errno::is_unsupported(error)
}

/// Temporary path next to the link. It is used only under the writer lock, so no other process uses it.
pub(super) fn temporary_path(link: &Path) -> PathBuf {
    let name = link.file_name().unwrap_or_default().to_string_lossy();
    link.with_file_name(format!(".{name}.warmswap"))
}

fn make_temporary(store: &Store, link: &Path) -> Result<PathBuf> {
    let temporary = temporary_path(link);
    let parent = link.parent().unwrap_or(Path::new("/"));
    fs::create_directories(parent)?;
    let parent = fs::canonicalize(parent)?;
    sweep_temporary(store, link)?;
    fs::link_directory(&relative_to(&parent, &store.layout.view()), &temporary)?;
    Ok(temporary)
}

fn exchange(store: &Store, link: &Path) -> Result<()> {
    let temporary = make_temporary(store, link)?;
    if let Err(error) = fs::exchange(&temporary, link) {
        drop(fs::remove_file(&temporary));
        if !is_exchange_refused(&error) {
            return Err(error);
        }
        return Err(Error {
            source: error.source,
            op: error.op,
            ..Error::new(
                Code::Unsupported,
                format!(
                    "This filesystem cannot replace the directory '{}' with a link atomically (for example an image layer under overlayfs). \
                     Remove the directory, or omit the option link",
                    link.display()
                ),
            )
            .at(link)
        });
    }
    sweep_temporary(store, link).map(drop)
}

/// Removes the entry at the temporary path: an unused link, or the directory that was exchanged. Returns `true` for a
/// directory.
pub(super) fn sweep_temporary(store: &Store, link: &Path) -> Result<bool> {
    let temporary = temporary_path(link);
    let Some(stat) = fs::stat(&temporary).optional()? else {
        return Ok(false);
    };
    match stat.kind {
        Kind::Directory => replaced::remove_or_set_aside(store, &temporary, link).map(|()| true),
        Kind::Symlink if symlink_state(store, &temporary)?.is_some() => {
            fs::remove_file(&temporary).map(|()| false)
        }
        _ => Err(Error::new(
            Code::Io,
            format!(
                "'{}' already exists and was not created by warmswap, which needs this path temporarily. Move it away",
                temporary.display()
            ),
        )
        .at(&temporary)),
    }
}

/// Relative path between two paths. The link stays valid when both are moved together, as with a project folder.
fn relative_to(from: &Path, to: &Path) -> PathBuf {
    let mut from_parts = from.components().peekable();
    let mut to_parts = to.components().peekable();
    while from_parts.peek().is_some() && from_parts.peek() == to_parts.peek() {
        from_parts.next();
        to_parts.next();
    }
    let up = from_parts.map(|_| Component::ParentDir);
    up.chain(to_parts).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_link_is_relative() {
        assert_eq!(
            relative_to(Path::new("/app"), Path::new("/app/.warmswap/web/view")),
            Path::new(".warmswap/web/view")
        );
        assert_eq!(
            relative_to(Path::new("/srv/www"), Path::new("/var/store/view")),
            Path::new("../../var/store/view")
        );
    }
}
