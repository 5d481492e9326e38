//! A store in a folder: one file an object, written to a temporary file and renamed, so that an object is
//! visible only when it is complete. Conditions are checked under a kernel lock on `.warmswap-writers` in the
//! store's root, which dies with its holder; writers on one machine exclude each other. A temporary file is
//! locked for as long as it is filled: what can be locked is left of a killed writer, and the next one removes
//! it. The root is the caller's own path; below it no link is followed, and nothing of a stranger's is replaced or
//! removed. Reading takes what is there: a blob is proven by its sha256. Our own and not OpenDAL's, whose fs service has no conditional write.

use std::ffi::OsStr;
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt as _, StreamExt as _};
use rustix::fs::OFlags;
use rustix::io::Errno;

use super::write::{self, Object, Write};
use crate::core::archives::site::{Site, follow};
use crate::core::caches::store::part::PartBuffer;
use crate::core::caches::store::{
    Answer, Body, Condition, Failure, Kind, Listed, MayShow, Meter, Spool, Store,
};
use crate::core::caches::thread;
use crate::core::error::{At, Code, Error, Optional, Result};
use crate::core::sys::fs;
use crate::core::sys::workers::{self, Class};

/// Large enough that system calls do not count, small enough for several in memory.
pub(super) const CHUNK_BYTES: u64 = 1024 * 1024;
const OWN_PREFIX: &str = ".warmswap-";
/// Longer than every path of an object: a key has 512 bytes at most.
const MAX_OBJECT_PATH: usize = 1024;

/// Objects in a folder.
#[derive(Clone)]
pub(in crate::core::caches::store) struct Folder {
    root: PathBuf,
}

/// What is to be done below the root.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// Nothing is changed.
    Read,
    /// Objects are removed: no directory on the way may be a stranger's.
    Change,
    /// Objects are written; directories that are missing are made.
    Make,
}

impl Folder {
    pub(in crate::core::caches::store) fn new(root: &Path) -> Self {
        Self {
            root: root.to_path_buf(),
        }
    }

    /// Runs work that waits only for this folder.
    fn on_thread<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Answer<T> + Send + 'static,
    ) -> BoxFuture<'static, Answer<T>> {
        let root = self.root.clone();
        async move { on_thread(&root, work).await }.boxed()
    }

    fn root(&self, access: Access) -> Answer<Site> {
        let root = follow(&self.root)?;
        if access == Access::Make {
            fs::create_directories(&root)?;
        }
        Ok(Site::open_followed(&root)?)
    }

    /// Opens a directory of the store, given by its path from the root.
    fn directory(&self, path: &str, access: Access) -> Answer<Site> {
        let mut site = self.root(access)?;
        for name in path.split('/').filter(|name| !name.is_empty()) {
            if matches!(name, "." | "..") {
                return Err(Failure::new(
                    Kind::Local,
                    format!("'{path}' is no path of an object"),
                ));
            }
            let name = OsStr::new(name);
            site = open_below(&site, name, access).map_err(|error| explain(&site, name, error))?;
        }
        Ok(site)
    }

    /// The directory of an object, and the name of the object in it.
    fn locate<'a>(&self, path: &'a str, access: Access) -> Answer<(Site, &'a OsStr)> {
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        Ok((self.directory(parent, access)?, OsStr::new(name)))
    }

    fn open(&self, path: &str, etag: Option<&str>) -> Answer<(File, Listed, PathBuf)> {
        let (site, name) = self.locate(path, Access::Read)?;
        let full = site.path.join(name);
        let file = match site.directory.open_regular(name, OFlags::RDONLY, &full) {
            // The directory of other keys.
            Err(error) if error.errno() == Some(Errno::ISDIR.raw_os_error()) => {
                return Err(Failure::new(Kind::NotFound, format!("'{path}' is not a file")));
            }
            opened => opened?,
        };
        let listed = listed(path, &fs::stat_file(&file, &full)?);
        if etag.is_some_and(|etag| etag != listed.etag) {
            return Err(Failure::new(
                Kind::Changed,
                format!("'{path}' is another version"),
            ));
        }
        Ok((file, listed, full))
    }

    fn put(&self, path: &str, write: &Write, meter: &Meter) -> Answer<String> {
        let root = self.root(Access::Make)?;
        let (site, name) = self.locate(path, Access::Make)?;
        let object = Object {
            path,
            name,
            site: Arc::new(site),
        };
        let mut temporary = write::temporary(&root, &object.site, &meter.cancel)?;
        temporary.fill(&write.body, meter)?;
        write::commit(&root, &temporary, &object, write, &meter.cancel)
    }

    fn delete(&self, path: &str) -> Answer<()> {
        let (site, name) = match self.locate(path, Access::Change) {
            Err(failure) if failure.kind == Kind::NotFound => return Ok(()),
            located => located?,
        };
        if site.check(name)?.is_some() {
            site.directory
                .remove_file(name, &site.path.join(name))
                .optional()?;
        }
        Ok(())
    }

    fn walk(&self, prefix: &str) -> Answer<Vec<Listed>> {
        let mut found = Vec::new();
        let mut pending = vec![prefix.to_owned()];
        while let Some(prefix) = pending.pop() {
            let site = match self.directory(&prefix, Access::Read) {
                Err(failure) if failure.kind == Kind::NotFound => continue,
                opened => opened?,
            };
            for entry in site.directory.entries(&site.path)? {
                let Some(name) = entry.name.to_str() else { continue };
                let path = format!("{prefix}{name}");
                if name.starts_with(OWN_PREFIX) || path.len() > MAX_OBJECT_PATH {
                    continue;
                }
                let Some(stat) = site.stat(&entry.name)? else {
                    continue;
                };
                match stat.kind {
                    fs::Kind::Directory => pending.push(path + "/"),
                    fs::Kind::File => found.push(listed(&path, &stat)),
                    fs::Kind::Symlink | fs::Kind::Other => {}
                }
            }
        }
        Ok(found)
    }
}

pub(super) fn open_below(site: &Site, name: &OsStr, access: Access) -> Result<Site> {
    if access == Access::Make {
        match site.directory.make_directory(name, 0o777, &site.path.join(name)) {
            Err(error) if error.is_exists() => {}
            made => made?,
        }
    }
    match access {
        Access::Read => site.open(name),
        Access::Change | Access::Make => site.open_trusted(name),
    }
}

/// Says that a link is not followed, where the kernel only says that it is no directory.
fn explain(site: &Site, name: &OsStr, error: Error) -> Error {
    let is_link = site
        .stat(name)
        .is_ok_and(|stat| stat.is_some_and(|stat| stat.kind == fs::Kind::Symlink));
    if !is_link {
        return error;
    }
    let path = site.path.join(name);
    let message = format!(
        "'{}' is a symbolic link, and links inside a store are not followed. Open the store at the directory that it leads to, or mount that directory here",
        path.display()
    );
    Error::new(Code::Unsupported, message).at(&path)
}

pub(super) fn listed(path: &str, stat: &fs::Stat) -> Listed {
    Listed {
        path: path.to_owned(),
        size: stat.size,
        // As web servers make them: a rename brings a new inode, a rewrite a new time.
        etag: format!("\"{:x}-{:x}-{:x}\"", stat.inode, stat.modified_ns, stat.size),
        modified_ms: u64::try_from(stat.modified_ns / 1_000_000).unwrap_or(0),
    }
}

/// Runs work that waits only for the filesystem of `path`.
pub(in crate::core::caches::store) async fn on_thread<T: Send + 'static>(
    path: &Path,
    work: impl FnOnce() -> Answer<T> + Send + 'static,
) -> Answer<T> {
    workers::run(Class::Short, path, work).await?
}

/// These bytes of a spool.
pub(in crate::core::caches::store) fn read_spool(spool: &Spool, range: Range<u64>) -> Answer<Bytes> {
    read_range(&spool.file, &range, &spool.path)
}

fn read_range(file: &File, range: &Range<u64>, path: &Path) -> Answer<Bytes> {
    let mut bytes = vec![0; length(range)];
    file.read_exact_at(&mut bytes, range.start).at("pread", path)?;
    Ok(Bytes::from(bytes))
}

fn length(range: &Range<u64>) -> usize {
    usize::try_from(range.end - range.start).unwrap_or(usize::MAX)
}

impl Store for Folder {
    fn conditions_are_uncertain(&self) -> bool {
        false
    }

    fn stat<'a>(&'a self, path: &'a str, _meter: &'a Arc<Meter>) -> BoxFuture<'a, Answer<Listed>> {
        let (store, path) = (self.clone(), path.to_owned());
        self.on_thread(move || store.open(&path, None).map(|(_, listed, _)| listed))
    }

    fn read<'a>(
        &'a self,
        path: &'a str,
        range: Range<u64>,
        etag: &'a str,
        meter: &'a Arc<Meter>,
    ) -> BoxFuture<'a, Answer<Bytes>> {
        let (store, path, etag, meter) = (self.clone(), path.to_owned(), etag.to_owned(), Arc::clone(meter));
        self.on_thread(move || {
            let (file, listed, full) = store.open(&path, Some(&etag))?;
            if range.end > listed.size {
                return Err(Failure::new(
                    Kind::Malformed,
                    format!("'{path}' has no bytes {range:?}"),
                ));
            }
            let part = PartBuffer::new(length(&range))?;
            let bytes = part.fill(|room| file.read_exact_at(room, range.start).at("pread", &full))?;
            meter.received(bytes.len());
            Ok(bytes)
        })
    }

    fn stream<'a>(
        &'a self,
        path: &'a str,
        etag: Option<&'a str>,
        meter: &'a Arc<Meter>,
    ) -> BoxFuture<'a, Answer<(String, BoxStream<'static, Answer<Bytes>>)>> {
        let (store, name, version) = (self.clone(), path.to_owned(), etag.map(str::to_owned));
        async move {
            let (file, listed, full) = self
                .on_thread(move || store.open(&name, version.as_deref()))
                .await?;
            let spool = Arc::new(Spool {
                file,
                size: listed.size,
                path: full,
            });
            let meter = Arc::clone(meter);
            let chunks = futures::stream::try_unfold(0, move |offset| {
                let (spool, meter) = (Arc::clone(&spool), Arc::clone(&meter));
                async move {
                    if offset >= spool.size {
                        return Ok(None);
                    }
                    let end = (offset + CHUNK_BYTES).min(spool.size);
                    let path = spool.path.clone();
                    let bytes = on_thread(&path, move || read_spool(&spool, offset..end)).await?;
                    meter.received(bytes.len());
                    Ok(Some((bytes, end)))
                }
            });
            Ok((listed.etag, chunks.boxed()))
        }
        .boxed()
    }

    fn write_if<'a>(
        &'a self,
        path: &'a str,
        body: Body,
        condition: Condition,
        may_show: MayShow,
        meter: &'a Arc<Meter>,
    ) -> BoxFuture<'a, Answer<String>> {
        let (store, path, meter) = (self.clone(), path.to_owned(), Arc::clone(meter));
        let write = Write {
            body,
            condition,
            may_show,
        };
        // It waits for other writers.
        let root = self.root.clone();
        async move { thread::run(&root, move || store.put(&path, &write, &meter)).await? }.boxed()
    }

    fn list<'a>(&'a self, prefix: &'a str, _meter: &'a Arc<Meter>) -> BoxFuture<'a, Answer<Vec<Listed>>> {
        let (store, prefix) = (self.clone(), prefix.to_owned());
        self.on_thread(move || store.walk(&prefix))
    }

    fn delete<'a>(&'a self, path: &'a str, meter: &'a Arc<Meter>) -> BoxFuture<'a, Answer<()>> {
        let (store, path, cancel) = (self.clone(), path.to_owned(), meter.cancel.clone());
        self.on_thread(move || {
            cancel.check()?;
            store.delete(&path)
        })
    }
}
