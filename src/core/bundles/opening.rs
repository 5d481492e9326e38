//! Opening a store in two steps, with the wait for the writer lock in between. An opener must not occupy a thread that
//! the holder of the lock needs.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::core::error::{Code, Error, Optional, Result};
use crate::core::sys::cancel::Cancel;
use crate::core::sys::path::Root;
use crate::core::sys::sync::Mutex;
use crate::core::sys::{filesystem, fs, workers};

use super::advice::with_advice;
use super::bounds::configure;
use super::file_lock::FileLock;
use super::format::{boot, check_format, create, make_directories};
use super::layout::Layout;
use super::options::Options;
use super::ownership::{Ownership, check_directories};
use super::patience::Patience;
use super::recent::Recent;
use super::store::Store;
use super::store_identity::StoreIdentity;
use super::trash::TrashScope;
use super::writer::Writer;
use super::{link, link_directory, recover};

impl Store {
    /// Opens a store, creates it if it does not exist, and repairs the leftovers of killed processes.
    pub async fn open(root: String, options: Options, patience: &Patience) -> Result<Arc<Self>> {
        let path = PathBuf::from(&root);
        let places: Vec<PathBuf> = options.link.iter().chain([&path]).cloned().collect();
        let (deadline, cancel) = (patience.deadline(), &patience.cancel);
        let begun = workers::step(places.clone(), move || Opening::begin(&root, &options));
        let opening = workers::within(deadline, cancel, &path, begun).await?;
        let lock = match opening.waits_for() {
            Some(path) => Some(FileLock::acquire(&path, deadline, cancel).await?),
            None => None,
        };
        // If this call is dropped, the repair stops soon.
        let given_up = Cancel::new();
        let stop = given_up.clone();
        let finished = workers::step(places, move || opening.finish(lock, &stop));
        let finished = workers::within(deadline, cancel, &path, finished).await;
        given_up.cancel();
        finished.map(Arc::new)
    }
}

/// A store that is being opened.
#[derive(Debug)]
struct Opening {
    store: Store,
    options: Options,
    /// Number of directories that were created down to the root. Set for a new store only.
    made: Option<usize>,
    lock: LockState,
}

#[derive(Debug)]
enum LockState {
    Held(FileLock),
    /// Another process holds the lock, and this opener has to write.
    Needed,
    /// Another process holds the lock, and this opener does not have to write. A stopped writer must not keep readers
    /// from opening the store (bundles/waits-are-bounded).
    NotNeeded,
    /// The store belongs to another user or is on a read-only mount. It can only be read.
    Refused,
}

impl Opening {
    /// Checks the existing entries, and acquires the writer lock if it is free.
    fn begin(root: &str, options: &Options) -> Result<Self> {
        with_advice(Self::begin_at(root, options))
    }

    fn begin_at(root: &str, options: &Options) -> Result<Self> {
        let root = Root::parse("root", root)?;
        let given = root.as_path();
        // Links in the caller's own path are resolved once. Below this path no link is followed.
        let root = fs::canonicalize(given)
            .optional()?
            .unwrap_or_else(|| given.to_path_buf());
        let above = existing_part(&root)?;
        let filesystem = trusted_filesystem(&root, above)?;
        let existing = check_format(&root)?;
        if !existing {
            fs::create_directories(&root)?;
        }
        let canonical = fs::canonicalize(&root)?;
        let stat = fs::stat(&canonical)?;
        let layout = Layout::new(canonical);
        check_directories(&layout)?;
        let store = Store {
            key: (stat.device, stat.inode),
            identity: StoreIdentity::read(&layout, (stat.device, stat.inode)),
            ownership: Ownership::of(layout.root(), stat)?,
            recent: Recent::default(),
            durability: options.durability,
            link: options.link.clone(),
            adopt: options.adopt,
            newly_set_aside: Mutex::default(),
            excess: Mutex::default(),
            background: Arc::default(),
            boot: boot(),
            filesystem,
            clone: fs::can_clone(layout.root()),
            layout,
        };
        let below = root.strip_prefix(above);
        let made = below.map_or(0, |made| made.components().count());
        if let Err(refused) = link::check_overlap(&store).and_then(|()| link::check_directory(&store)) {
            if !existing && made > 0 {
                // Best effort: a refused call should leave no empty directory.
                drop(fs::remove_directory(store.layout.root()));
            }
            return Err(refused);
        }
        Ok(Self {
            lock: lock_for(&store, existing, options)?,
            store,
            options: options.clone(),
            made: (!existing).then_some(made),
        })
    }

    /// Lock to wait for before [`finish`](Self::finish), if any.
    fn waits_for(&self) -> Option<PathBuf> {
        matches!(self.lock, LockState::Needed).then(|| self.store.layout.writer_lock())
    }

    /// Creates, configures and repairs the store. `lock` is the lock that [`waits_for`](Self::waits_for) names.
    fn finish(self, lock: Option<FileLock>, cancel: &Cancel) -> Result<Store> {
        with_advice(self.finish_with(lock, cancel))
    }

    fn finish_with(self, lock: Option<FileLock>, cancel: &Cancel) -> Result<Store> {
        let Self {
            mut store,
            options,
            made,
            lock: found,
        } = self;
        let lock = match (found, lock) {
            (LockState::Held(lock), _) | (_, Some(lock)) => lock,
            (LockState::Refused, None) => return recover::check_unwritable(&store, cancel).map(|()| store),
            (LockState::Needed | LockState::NotNeeded, None) => return Ok(store),
        };
        store.ownership.check_names(&store.layout)?;
        match made {
            Some(made) => create(&store.layout, made)?,
            None => make_directories(&store.layout)?,
        }
        configure(&store.layout, &options)?;
        let after_reboot = !recover::is_of_this_boot(&store)?;
        match store.identity.ensure(&store.layout) {
            // A store of an older version can be read even if the disk is full.
            Err(error) if made.is_none() && error.is_full() => {}
            made => made?,
        }
        let writer = recover::recover(&store, cancel).and_then(|()| Writer::new(&store, lock));
        let mut writer = match writer {
            // A verified store is served even if the result cannot be recorded.
            Err(error) if made.is_none() && error.is_full() => {
                return recover::check_unwritable(&store, cancel).map(|()| store);
            }
            writer => writer?,
        };
        writer.continue_numbers(cancel)?;
        let adopted = link_directory::adopt_directory(&mut writer, after_reboot, cancel)?;
        writer.collect()?;
        drop(writer);
        store.empty_trash(if adopted {
            TrashScope::Generations
        } else {
            TrashScope::All
        })?;
        Ok(store)
    }
}

fn lock_for(store: &Store, existing: bool, options: &Options) -> Result<LockState> {
    if let Err(stranger) = store.ownership.check(&store.layout) {
        // Reading does not depend on trust.
        let reads = existing && requests_no_change(options);
        return if reads {
            Ok(LockState::Refused)
        } else {
            Err(stranger)
        };
    }
    store.ownership.check_names(&store.layout)?;
    match FileLock::try_acquire(&store.layout.writer_lock()) {
        Ok(Some(lock)) if existing && !lock.is_writable() && requests_no_change(options) => {
            Ok(LockState::Refused)
        }
        Ok(Some(lock)) => Ok(LockState::Held(lock)),
        Ok(None) if must_write(store, existing, options)? => Ok(LockState::Needed),
        Ok(None) => Ok(LockState::NotNeeded),
        Err(error) if existing && is_read_only(&error) && requests_no_change(options) => {
            Ok(LockState::Refused)
        }
        Err(error) => Err(error),
    }
}

fn must_write(store: &Store, existing: bool, options: &Options) -> Result<bool> {
    let config = store.config()?;
    Ok(!existing
        || config.with(options) != config
        || !recover::is_sound(store, &Cancel::new())?
        || link::needs_adoption(store)?)
}

fn requests_no_change(options: &Options) -> bool {
    options.keep.is_none()
        && options.grace_ms.is_none()
        && options.max_bytes.is_none()
        && options.max_age_ms.is_none()
        && options.link.is_none()
}

fn is_read_only(error: &Error) -> bool {
    matches!(
        error.kind(),
        Some(std::io::ErrorKind::ReadOnlyFilesystem | std::io::ErrorKind::PermissionDenied)
    )
}

/// Longest existing prefix of a path.
fn existing_part(mut path: &Path) -> Result<&Path> {
    while fs::stat_followed(path).optional()?.is_none() {
        path = path.parent().unwrap_or(Path::new("/"));
    }
    Ok(path)
}

/// Checks the filesystem of the existing part of `root`. This happens before any lock call.
fn trusted_filesystem(root: &Path, existing: &Path) -> Result<&'static str> {
    let found = filesystem::of(existing)?;
    if found.trusted {
        return Ok(found.name);
    }
    Err(Error::new(
        Code::Unsupported,
        format!(
            "'{}' is on {} (statfs 0x{:x}), on which flock may not exclude all processes that see the directory. \
             Move root to a local filesystem, such as a directory in os.tmpdir(), and pass the path you want as link",
            root.display(),
            found.name,
            found.magic
        ),
    )
    .at(root))
}
