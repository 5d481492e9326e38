//! A store in the memory of this process, for tests and experiments. Stores with the same name share their objects. A
//! store without a name has its own.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt as _, StreamExt as _};

use super::call_context::CallContext;
use super::failure::StoreResult;
use super::interface::{MayShow, Store, unshown};
use super::object::{Body, Condition, ObjectMeta};
use crate::core::failure::{Cause, Failure};
use crate::core::sys::clock;
use crate::core::sys::sync::Mutex;

static NAMED: LazyLock<Mutex<HashMap<String, Memory>>> = LazyLock::new(Mutex::default);
static VERSIONS: AtomicU64 = AtomicU64::new(1);

#[derive(Clone)]
struct Object {
    bytes: Bytes,
    etag: String,
    modified_ms: u64,
}

/// Objects in memory.
#[derive(Clone, Default)]
pub(super) struct Memory {
    objects: Arc<Mutex<BTreeMap<String, Object>>>,
}

impl Memory {
    /// Returns the store with this name. An empty name creates a separate store.
    pub(super) fn named(name: &str) -> Self {
        if name.is_empty() {
            return Self::default();
        }
        NAMED.lock().entry(name.to_owned()).or_default().clone()
    }

    fn find(&self, path: &str) -> StoreResult<Object> {
        let objects = self.objects.lock();
        objects
            .get(path)
            .cloned()
            .ok_or_else(|| Failure::new(Cause::NotFound, format!("'{path}' does not exist")))
    }

    fn find_version(&self, path: &str, etag: Option<&str>) -> StoreResult<Object> {
        let object = self.find(path)?;
        if etag.is_some_and(|etag| etag != object.etag) {
            return Err(changed(path));
        }
        Ok(object)
    }

    fn put(&self, path: &str, bytes: Bytes, condition: &Condition) -> StoreResult<String> {
        let mut objects = self.objects.lock();
        let holds = match (condition, objects.get(path)) {
            (Condition::Always, _) | (Condition::Absent, None) => true,
            (Condition::Version(wanted), Some(object)) => *wanted == object.etag,
            (Condition::Absent, Some(_)) | (Condition::Version(_), None) => false,
        };
        if !holds {
            return Err(changed(path));
        }
        let etag = format!("\"{:x}\"", VERSIONS.fetch_add(1, Ordering::Relaxed));
        objects.insert(
            path.to_owned(),
            Object {
                bytes,
                etag: etag.clone(),
                modified_ms: clock::wall_millis(),
            },
        );
        Ok(etag)
    }
}

fn changed(path: &str) -> Failure {
    Failure::new(Cause::Changed, format!("'{path}' has another version"))
}

impl Store for Memory {
    fn conditions_are_uncertain(&self) -> bool {
        false
    }

    fn stat<'a>(
        &'a self,
        path: &'a str,
        _meter: &'a Arc<CallContext>,
    ) -> BoxFuture<'a, StoreResult<ObjectMeta>> {
        async move { Ok(object_meta(path, &self.find(path)?)) }.boxed()
    }

    fn read<'a>(
        &'a self,
        path: &'a str,
        range: Range<u64>,
        etag: &'a str,
        context: &'a Arc<CallContext>,
    ) -> BoxFuture<'a, StoreResult<Bytes>> {
        async move {
            let object = self.find_version(path, Some(etag))?;
            let fits = |at: u64| usize::try_from(at).ok().filter(|at| *at <= object.bytes.len());
            let (Some(start), Some(end)) = (fits(range.start), fits(range.end)) else {
                return Err(Failure::new(
                    Cause::Malformed,
                    format!("'{path}' has fewer bytes than the requested range {range:?}"),
                ));
            };
            context.received(end - start);
            Ok(object.bytes.slice(start..end))
        }
        .boxed()
    }

    fn stream<'a>(
        &'a self,
        path: &'a str,
        etag: Option<&'a str>,
        context: &'a Arc<CallContext>,
    ) -> BoxFuture<'a, StoreResult<(String, BoxStream<'static, StoreResult<Bytes>>)>> {
        async move {
            let object = self.find_version(path, etag)?;
            context.received(object.bytes.len());
            let chunks = futures::stream::iter([Ok(object.bytes)]).boxed();
            Ok((object.etag, chunks))
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
        async move {
            let bytes = match body {
                Body::Bytes(bytes) => bytes,
                Body::Spool(spool) => {
                    let size = spool.size;
                    spool.read_on_thread(0..size).await?
                }
            };
            context.sent(bytes.len());
            if !may_show() {
                return Err(unshown());
            }
            self.put(path, bytes, &condition)
        }
        .boxed()
    }

    fn list<'a>(
        &'a self,
        prefix: &'a str,
        _meter: &'a Arc<CallContext>,
    ) -> BoxFuture<'a, StoreResult<Vec<ObjectMeta>>> {
        async move {
            let objects = self.objects.lock();
            let below = objects.iter().filter(|(path, _)| path.starts_with(prefix));
            Ok(below.map(|(path, object)| object_meta(path, object)).collect())
        }
        .boxed()
    }

    fn delete<'a>(&'a self, path: &'a str, context: &'a Arc<CallContext>) -> BoxFuture<'a, StoreResult<()>> {
        async move {
            context.cancel.check()?;
            let mut objects = self.objects.lock();
            objects.remove(path);
            Ok(())
        }
        .boxed()
    }
}

fn object_meta(path: &str, object: &Object) -> ObjectMeta {
    ObjectMeta {
        path: path.to_owned(),
        size: object.bytes.len() as u64,
        etag: object.etag.clone(),
        modified_ms: object.modified_ms,
    }
}
