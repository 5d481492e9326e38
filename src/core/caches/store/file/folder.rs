//! Objects in a folder.

use std::ffi::OsStr;
use std::fs::File;
use std::io::ErrorKind;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt as _, StreamExt as _};

use super::entries::{CHUNK_BYTES, Purpose, explain, object_meta, open_below};
use super::write::{self, Object, Write};
use crate::core::archives::shared_directory::{SharedDirectory, follow};
use crate::core::caches::store::call_context::CallContext;
use crate::core::caches::store::failure::{InStore as _, StoreResult};
use crate::core::caches::store::interface::{MayShow, Store};
use crate::core::caches::store::object::{Body, Condition, ObjectMeta};
use crate::core::caches::store::part::{PartBuffer, length};
use crate::core::caches::store::spool::Spool;
use crate::core::caches::thread;
use crate::core::error::{Code, Error, Optional, Result};
use crate::core::failure::{Cause, Failure};
use crate::core::sys::{dir, fs};

/// What is no object: the lock of the writers and their temporary files.
const OWN_PREFIXES: [&str; 2] = [".warmswap-tmp", ".warmswap-writers"];
/// Longer than any path of an object: a key has at most 512 bytes.
const MAX_OBJECT_PATH: usize = 1024;

/// Objects in a folder.
#[derive(Clone)]
pub(in crate::core::caches::store) struct Folder {
    root: PathBuf,
}

impl Folder {
    pub(in crate::core::caches::store) fn new(root: &Path) -> Self {
        Self {
            root: root.to_path_buf(),
        }
    }

    /// Runs work that depends only on this folder.
    fn on_thread<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> StoreResult<T> + Send + 'static,
    ) -> BoxFuture<'static, StoreResult<T>> {
        let root = self.root.clone();
        async move { thread::on_disk(&root, work).await.in_store()? }.boxed()
    }

    fn root(&self, purpose: Purpose) -> Result<SharedDirectory> {
        let root = follow(&self.root)?;
        if purpose == Purpose::Make {
            fs::create_directories(&root)?;
        }
        SharedDirectory::open_followed(&root)
    }

    /// Opens a directory of the store by its path relative to the root.
    fn directory(&self, path: &str, purpose: Purpose) -> Result<SharedDirectory> {
        let mut parent = self.root(purpose)?;
        for name in path.split('/').filter(|name| !name.is_empty()) {
            if matches!(name, "." | "..") {
                return Err(Error::new(
                    Code::Io,
                    format!("'{path}' is not the path of an object"),
                ));
            }
            let name = OsStr::new(name);
            parent = open_below(&parent, name, purpose).map_err(|error| explain(&parent, name, error))?;
        }
        Ok(parent)
    }

    /// Directory of an object, and its name in that directory.
    fn locate<'a>(&self, path: &'a str, purpose: Purpose) -> Result<(SharedDirectory, &'a OsStr)> {
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        Ok((self.directory(parent, purpose)?, OsStr::new(name)))
    }

    fn open(&self, path: &str, etag: Option<&str>) -> StoreResult<(File, ObjectMeta, PathBuf)> {
        let (parent, name) = self.locate(path, Purpose::Read).in_store()?;
        let full = parent.path.join(name);
        let file = match parent.directory.open_regular(name, fs::Access::Read, &full) {
            // A directory that belongs to other keys.
            Err(error) if error.kind() == Some(ErrorKind::IsADirectory) => {
                return Err(Failure::new(Cause::NotFound, format!("'{path}' is not a file")));
            }
            opened => opened.in_store()?,
        };
        let meta = object_meta(path, &fs::stat_file(&file, &full).in_store()?);
        if etag.is_some_and(|etag| etag != meta.etag) {
            return Err(Failure::new(
                Cause::Changed,
                format!("'{path}' has another version"),
            ));
        }
        Ok((file, meta, full))
    }

    fn put(&self, path: &str, write: &Write, context: &CallContext) -> StoreResult<String> {
        let root = self.root(Purpose::Make).in_store()?;
        let (parent, name) = self.locate(path, Purpose::Make).in_store()?;
        let object = Object {
            path,
            name,
            parent: Arc::new(parent),
        };
        let mut temporary = write::temporary(&root, &object.parent, &context.cancel).in_store()?;
        temporary.fill(&write.body, context).in_store()?;
        write::commit(&root, &temporary, &object, write, &context.cancel)
    }

    fn delete(&self, path: &str) -> Result<()> {
        let (parent, name) = match self.locate(path, Purpose::Change) {
            Err(error) if is_absent(&error) => return Ok(()),
            located => located?,
        };
        if parent.check(name)?.is_some() {
            parent
                .directory
                .remove_file(name, &parent.path.join(name))
                .optional()?;
        }
        Ok(())
    }

    fn walk(&self, prefix: &str) -> Result<Vec<ObjectMeta>> {
        let mut found = Vec::new();
        let mut pending = vec![prefix.to_owned()];
        while let Some(prefix) = pending.pop() {
            let parent = match self.directory(&prefix, Purpose::Read) {
                Err(error) if is_absent(&error) => continue,
                opened => opened?,
            };
            for entry in parent.directory.entries(&parent.path)? {
                let Some(name) = entry.name.to_str() else { continue };
                let path = format!("{prefix}{name}");
                let is_own = OWN_PREFIXES.iter().any(|prefix| name.starts_with(prefix));
                if is_own || path.len() > MAX_OBJECT_PATH {
                    continue;
                }
                let Some(stat) = parent.stat(&entry.name)? else {
                    continue;
                };
                match stat.kind {
                    fs::Kind::Directory => pending.push(path + "/"),
                    fs::Kind::File => found.push(object_meta(&path, &stat)),
                    fs::Kind::Symlink | fs::Kind::Other => {}
                }
            }
        }
        Ok(found)
    }
}

/// Whether the object or a directory on its path does not exist.
fn is_absent(error: &Error) -> bool {
    matches!(error.kind(), Some(ErrorKind::NotFound | ErrorKind::NotADirectory))
}

impl Store for Folder {
    fn conditions_are_uncertain(&self) -> bool {
        false
    }

    fn stat<'a>(
        &'a self,
        path: &'a str,
        _meter: &'a Arc<CallContext>,
    ) -> BoxFuture<'a, StoreResult<ObjectMeta>> {
        let (store, path) = (self.clone(), path.to_owned());
        self.on_thread(move || store.open(&path, None).map(|(_, meta, _)| meta))
    }

    fn read<'a>(
        &'a self,
        path: &'a str,
        range: Range<u64>,
        etag: &'a str,
        context: &'a Arc<CallContext>,
    ) -> BoxFuture<'a, StoreResult<Bytes>> {
        let (store, path, etag, context) = (
            self.clone(),
            path.to_owned(),
            etag.to_owned(),
            Arc::clone(context),
        );
        self.on_thread(move || {
            let (file, meta, full) = store.open(&path, Some(&etag))?;
            if range.end > meta.size {
                return Err(Failure::new(
                    Cause::Malformed,
                    format!("'{path}' has fewer bytes than the requested range {range:?}"),
                ));
            }
            let part = PartBuffer::new(length(&range))?;
            let read = part.fill(|room| dir::read_exact_at(&file, room, range.start, &full));
            let bytes = read.in_store()?;
            context.received(bytes.len());
            Ok(bytes)
        })
    }

    fn stream<'a>(
        &'a self,
        path: &'a str,
        etag: Option<&'a str>,
        context: &'a Arc<CallContext>,
    ) -> BoxFuture<'a, StoreResult<(String, BoxStream<'static, StoreResult<Bytes>>)>> {
        let (store, name, version) = (self.clone(), path.to_owned(), etag.map(str::to_owned));
        async move {
            let (file, meta, full) = self
                .on_thread(move || store.open(&name, version.as_deref()))
                .await?;
            let spool = Arc::new(Spool {
                file,
                size: meta.size,
                path: full,
            });
            let context = Arc::clone(context);
            let chunks = futures::stream::try_unfold(0, move |offset| {
                let (spool, context) = (Arc::clone(&spool), Arc::clone(&context));
                async move {
                    if offset >= spool.size {
                        return Ok(None);
                    }
                    let end = (offset + CHUNK_BYTES).min(spool.size);
                    let bytes = spool.read_on_thread(offset..end).await?;
                    context.received(bytes.len());
                    Ok(Some((bytes, end)))
                }
            });
            Ok((meta.etag, chunks.boxed()))
        }
        .boxed()
    }

    fn write_if<'a>(
        &'a self,
        path: &'a str,
        body: Body,
        condition: Condition,
        may_show: MayShow,
        context: &'a Arc<CallContext>,
    ) -> BoxFuture<'a, StoreResult<String>> {
        let (store, path, context) = (self.clone(), path.to_owned(), Arc::clone(context));
        let write = Write {
            body,
            condition,
            may_show,
        };
        // Waits for other writers.
        let root = self.root.clone();
        async move {
            let putting = thread::run(&root, move || store.put(&path, &write, &context));
            putting.await.in_store()?
        }
        .boxed()
    }

    fn list<'a>(
        &'a self,
        prefix: &'a str,
        _meter: &'a Arc<CallContext>,
    ) -> BoxFuture<'a, StoreResult<Vec<ObjectMeta>>> {
        let (store, prefix) = (self.clone(), prefix.to_owned());
        self.on_thread(move || store.walk(&prefix).in_store())
    }

    fn delete<'a>(&'a self, path: &'a str, context: &'a Arc<CallContext>) -> BoxFuture<'a, StoreResult<()>> {
        let (store, path, cancel) = (self.clone(), path.to_owned(), context.cancel.clone());
        self.on_thread(move || cancel.check().and_then(|()| store.delete(&path)).in_store())
    }
}
