//! A store in a folder: one file an object, written to a temporary file and renamed, so that an object is
//! visible only when it is complete. Conditions are checked under a kernel lock on `.warmswap-writers` in the
//! store's root, which dies with its holder; writers on one machine exclude each other. A temporary file is
//! locked for as long as it is filled: what can be locked is left of a killed writer, and the next one removes
//! it. Our own and not OpenDAL's, whose fs service has no conditional write.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt as _, StreamExt as _};
use rustix::fs::OFlags;

use super::part::PartBuffer;
use super::{Answer, Body, Condition, Failure, Kind, Listed, MayShow, Meter, Spool, Store, unshown};
use crate::core::caches::thread;
use crate::core::error::{At, Optional};
use crate::core::sys::cancel::Cancel;
use crate::core::sys::deadline::Deadline;
use crate::core::sys::workers::{self, Class};
use crate::core::sys::{flock, fs};

/// Large enough that system calls do not count, small enough for several in memory.
const CHUNK_BYTES: u64 = 1024 * 1024;
const LOCK_NAME: &str = ".warmswap-writers";
const TEMPORARY_DIRECTORY: &str = ".warmswap-tmp";

/// Objects in a folder.
#[derive(Clone)]
pub(super) struct Folder {
    root: PathBuf,
}

impl Folder {
    pub(super) fn new(root: &Path) -> Self {
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

    fn open(&self, path: &str, etag: Option<&str>) -> Answer<(File, Listed, PathBuf)> {
        let full = self.root.join(path);
        let file = fs::open(&full, OFlags::RDONLY | OFlags::NONBLOCK)?;
        let stat = fs::stat_file(&file, &full)?;
        if stat.kind != fs::Kind::File {
            return Err(Failure::new(Kind::NotFound, format!("'{path}' is not a file")));
        }
        let listed = listed(path, &stat);
        if etag.is_some_and(|etag| etag != listed.etag) {
            return Err(Failure::new(
                Kind::Changed,
                format!("'{path}' is another version"),
            ));
        }
        Ok((file, listed, full))
    }

    fn put(&self, path: &str, write: &Write, meter: &Meter) -> Answer<String> {
        let target = self.root.join(path);
        fs::create_directories(target.parent().unwrap_or(&self.root))?;
        let mut temporary = self.temporary(&meter.cancel)?;
        temporary.fill(&write.body, meter)?;
        self.commit(&temporary, &target, path, write, &meter.cancel)
    }

    /// A new temporary file, locked. Those of killed writers go first: they are as large as objects.
    fn temporary(&self, cancel: &Cancel) -> Answer<Temporary> {
        let directory = self.root.join(TEMPORARY_DIRECTORY);
        fs::create_directories(&directory)?;
        let path = directory.join(uuid::Uuid::new_v4().simple().to_string());
        let _writers = self.exclude_writers(cancel)?;
        sweep(&directory)?;
        let file = fs::create_new(&path, 0o644)?;
        flock::try_exclusive(&file, &path)?;
        Ok(Temporary { file, path })
    }

    fn commit(
        &self,
        temporary: &Temporary,
        target: &Path,
        path: &str,
        write: &Write,
        cancel: &Cancel,
    ) -> Answer<String> {
        let _writers = self.exclude_writers(cancel)?;
        let current = fs::stat(target).optional()?.map(|stat| listed(path, &stat).etag);
        let holds = match &write.condition {
            Condition::Always => true,
            Condition::Absent => current.is_none(),
            Condition::Version(wanted) => current.as_ref() == Some(wanted),
        };
        if !holds {
            return Err(Failure::new(
                Kind::Changed,
                format!("'{path}' is another version"),
            ));
        }
        cancel.check()?;
        // The kernel's own stamp is a clock tick old, and a freed inode is used again: two objects of one size
        // that follow each other within a tick would be one version.
        fs::touch_exactly(&temporary.file, &temporary.path)?;
        if !(write.may_show)() {
            return Err(unshown());
        }
        fs::rename(&temporary.path, target)?;
        Ok(listed(path, &fs::stat(target)?).etag)
    }

    /// The kernel lock of all writers on this machine; given back when the file is closed.
    fn exclude_writers(&self, cancel: &Cancel) -> Answer<File> {
        let path = self.root.join(LOCK_NAME);
        let file = fs::open_or_create(&path, 0o666)?;
        while !flock::try_exclusive(&file, &path)? {
            cancel.check()?;
            // Held for two system calls: a short pause costs less than a wake-up protocol.
            cancel.sleep(Duration::from_millis(1), Deadline::NEVER);
        }
        Ok(file)
    }

    fn walk(&self, prefix: &str, found: &mut Vec<Listed>) -> Answer<()> {
        // No recursion: a tree of some thousand levels would take more stack than a thread has.
        let mut pending = vec![prefix.to_owned()];
        while let Some(prefix) = pending.pop() {
            let entries = fs::read_directory(&self.root.join(&prefix)).optional()?;
            for entry in entries.unwrap_or_default() {
                let Some(name) = entry.name.to_str() else { continue };
                if name.starts_with(".warmswap-") {
                    continue;
                }
                let path = format!("{prefix}{name}");
                let Some(stat) = fs::stat(&self.root.join(&path)).optional()? else {
                    continue;
                };
                match stat.kind {
                    fs::Kind::Directory => pending.push(format!("{path}/")),
                    fs::Kind::File => found.push(listed(&path, &stat)),
                    fs::Kind::Symlink | fs::Kind::Other => {}
                }
            }
        }
        Ok(())
    }
}

/// What is to be written.
struct Write {
    body: Body,
    condition: Condition,
    may_show: MayShow,
}

/// A file that becomes an object or goes.
struct Temporary {
    /// Under flock until it is closed.
    file: File,
    path: PathBuf,
}

impl Temporary {
    fn fill(&mut self, body: &Body, meter: &Meter) -> Answer<()> {
        match body {
            Body::Bytes(bytes) => {
                fs::write_all(&mut self.file, bytes, &self.path)?;
                meter.sent(bytes.len());
            }
            Body::Spool(spool) => {
                let mut offset = 0;
                while offset < spool.size {
                    meter.cancel.check()?;
                    let end = (offset + CHUNK_BYTES).min(spool.size);
                    let bytes = read_spool(spool, offset..end)?;
                    fs::write_all(&mut self.file, &bytes, &self.path)?;
                    meter.sent(bytes.len());
                    offset = end;
                }
            }
        }
        Ok(())
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // Not there any more once it is an object; what cannot be removed is swept by the next writer.
        drop(fs::remove_file(&self.path));
    }
}

/// Removes the temporary files that nobody holds. Only under the writers' lock: a new one is locked under it.
fn sweep(directory: &Path) -> Answer<()> {
    for entry in fs::read_directory(directory)? {
        let path = directory.join(entry.name);
        let Ok(file) = fs::open(&path, OFlags::RDONLY) else {
            continue;
        };
        if flock::try_exclusive(&file, &path)? {
            // Another user's may stay: it hinders nobody.
            drop(fs::remove_file(&path));
        }
    }
    Ok(())
}

fn listed(path: &str, stat: &fs::Stat) -> Listed {
    Listed {
        path: path.to_owned(),
        size: stat.size,
        // As web servers make them: a rename brings a new inode, a rewrite a new time.
        etag: format!("\"{:x}-{:x}-{:x}\"", stat.inode, stat.modified_ns, stat.size),
        modified_ms: u64::try_from(stat.modified_ns / 1_000_000).unwrap_or(0),
    }
}

/// Runs work that waits only for the filesystem of `path`.
pub(super) async fn on_thread<T: Send + 'static>(
    path: &Path,
    work: impl FnOnce() -> Answer<T> + Send + 'static,
) -> Answer<T> {
    workers::run(Class::Short, path, work).await?
}

/// These bytes of a spool.
pub(super) fn read_spool(spool: &Spool, range: Range<u64>) -> Answer<Bytes> {
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
        self.on_thread(move || {
            let mut found = Vec::new();
            store.walk(&prefix, &mut found)?;
            Ok(found)
        })
    }

    fn delete<'a>(&'a self, path: &'a str, meter: &'a Arc<Meter>) -> BoxFuture<'a, Answer<()>> {
        let (full, cancel) = (self.root.join(path), meter.cancel.clone());
        self.on_thread(move || {
            cancel.check()?;
            Ok(fs::remove_file(&full).optional().map(drop)?)
        })
    }
}
