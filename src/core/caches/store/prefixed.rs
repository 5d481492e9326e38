//! A folder of another store, as a store of its own. Each trust level has one.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use futures::stream::BoxStream;

use super::call_context::CallContext;
use super::failure::StoreResult;
use super::interface::{MayShow, Store};
use super::object::{Body, Condition, ObjectMeta};

/// The objects below a folder of another store.
pub(in crate::core::caches) struct Prefixed {
    store: Arc<dyn Store>,
    /// Ends in `/`.
    folder: String,
}

impl Prefixed {
    pub(in crate::core::caches) fn new(store: Arc<dyn Store>, folder: String) -> Self {
        Self { store, folder }
    }

    fn path(&self, path: &str) -> String {
        format!("{}{path}", self.folder)
    }

    /// Metadata with the path in this store.
    fn own(&self, object: ObjectMeta) -> ObjectMeta {
        let path = object.path.strip_prefix(&self.folder).map(str::to_owned);
        ObjectMeta {
            path: path.unwrap_or_else(|| object.path.clone()),
            ..object
        }
    }
}

impl Store for Prefixed {
    fn conditions_are_uncertain(&self) -> bool {
        self.store.conditions_are_uncertain()
    }

    fn set_plain_versions(&self, are_plain: bool) -> bool {
        self.store.set_plain_versions(are_plain)
    }

    fn stat<'a>(
        &'a self,
        path: &'a str,
        context: &'a Arc<CallContext>,
    ) -> BoxFuture<'a, StoreResult<ObjectMeta>> {
        async move {
            let path = self.path(path);
            Ok(self.own(self.store.stat(&path, context).await?))
        }
        .boxed()
    }

    fn read<'a>(
        &'a self,
        path: &'a str,
        range: Range<u64>,
        etag: &'a str,
        context: &'a Arc<CallContext>,
    ) -> BoxFuture<'a, StoreResult<Bytes>> {
        async move { self.store.read(&self.path(path), range, etag, context).await }.boxed()
    }

    fn stream<'a>(
        &'a self,
        path: &'a str,
        etag: Option<&'a str>,
        context: &'a Arc<CallContext>,
    ) -> BoxFuture<'a, StoreResult<(String, BoxStream<'static, StoreResult<Bytes>>)>> {
        async move { self.store.stream(&self.path(path), etag, context).await }.boxed()
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
            let path = self.path(path);
            self.store
                .write_if(&path, body, condition, may_show, context)
                .await
        }
        .boxed()
    }

    fn list<'a>(
        &'a self,
        prefix: &'a str,
        context: &'a Arc<CallContext>,
    ) -> BoxFuture<'a, StoreResult<Vec<ObjectMeta>>> {
        async move {
            let objects = self.store.list(&self.path(prefix), context).await?;
            Ok(objects.into_iter().map(|object| self.own(object)).collect())
        }
        .boxed()
    }

    fn delete<'a>(&'a self, path: &'a str, context: &'a Arc<CallContext>) -> BoxFuture<'a, StoreResult<()>> {
        async move { self.store.delete(&self.path(path), context).await }.boxed()
    }
}
