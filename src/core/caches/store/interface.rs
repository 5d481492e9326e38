//! The trait that every store implements.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;

use super::call_context::{CallContext, pause};
use super::failure::StoreResult;
use super::object::{Body, Condition, ObjectMeta};
use crate::core::failure::{Cause, Failure};

/// Called once, right before the step that makes an object visible. A large body takes time, and the call may have
/// ended in the meantime.
pub type MayShow = Arc<dyn Fn() -> bool + Send + Sync>;

/// Failure of a write that must no longer become visible.
pub(super) fn unshown() -> Failure {
    Failure::new(Cause::Aborted, "the call has ended")
}

/// Operations of a store. Paths are relative with `/` between the components, and their creators have checked them.
pub trait Store: Send + Sync + 'static {
    /// Whether the store may silently ignore a [`Condition`], so that it has to be tested.
    fn conditions_are_uncertain(&self) -> bool;

    /// Sets whether conditions name versions without their quotes, as `DigitalOcean` Spaces requires. Returns whether
    /// the store supports that.
    fn set_plain_versions(&self, _are_plain: bool) -> bool {
        false
    }

    /// Returns size and version of an object.
    fn stat<'a>(
        &'a self,
        path: &'a str,
        context: &'a Arc<CallContext>,
    ) -> BoxFuture<'a, StoreResult<ObjectMeta>>;

    /// Reads exactly these bytes of exactly this version. Anything else is a failure.
    fn read<'a>(
        &'a self,
        path: &'a str,
        range: Range<u64>,
        etag: &'a str,
        context: &'a Arc<CallContext>,
    ) -> BoxFuture<'a, StoreResult<Bytes>>;

    /// Reads the whole object, of this version if one is named. Also returns its version.
    fn stream<'a>(
        &'a self,
        path: &'a str,
        etag: Option<&'a str>,
        context: &'a Arc<CallContext>,
    ) -> BoxFuture<'a, StoreResult<(String, BoxStream<'static, StoreResult<Bytes>>)>>;

    /// Writes an object in one visible step and returns its version. Calls `may_show` right before that step.
    fn write_if<'a>(
        &'a self,
        path: &'a str,
        body: Body,
        condition: Condition,
        may_show: MayShow,
        context: &'a Arc<CallContext>,
    ) -> BoxFuture<'a, StoreResult<String>>;

    /// Writes an object in one visible step and returns its version.
    fn write<'a>(
        &'a self,
        path: &'a str,
        body: Body,
        condition: Condition,
        context: &'a Arc<CallContext>,
    ) -> BoxFuture<'a, StoreResult<String>> {
        self.write_if(path, body, condition, Arc::new(|| true), context)
    }

    /// Lists all objects below a prefix that ends in `/`.
    fn list<'a>(
        &'a self,
        prefix: &'a str,
        context: &'a Arc<CallContext>,
    ) -> BoxFuture<'a, StoreResult<Vec<ObjectMeta>>>;

    /// Removes an object. Succeeds if it does not exist.
    fn delete<'a>(&'a self, path: &'a str, context: &'a Arc<CallContext>) -> BoxFuture<'a, StoreResult<()>>;
}

/// Reads a small object and its version. Of a larger one, reads the first `limit` bytes and possibly some more. An
/// interrupted response is read again, as often as the call allows.
pub async fn read_small(
    store: &dyn Store,
    path: &str,
    limit: usize,
    context: &Arc<CallContext>,
) -> StoreResult<(Bytes, String)> {
    let mut attempt = 1;
    loop {
        let read = read_once(store, path, limit, context).await;
        let is_broken = matches!(&read, Err(failure) if matches!(failure.cause, Cause::Broken));
        if !is_broken || attempt >= context.attempts {
            return read;
        }
        context.retried();
        tokio::time::sleep(pause(attempt)).await;
        attempt += 1;
    }
}

async fn read_once(
    store: &dyn Store,
    path: &str,
    limit: usize,
    context: &Arc<CallContext>,
) -> StoreResult<(Bytes, String)> {
    use futures::StreamExt as _;

    let (etag, mut chunks) = store.stream(path, None, context).await?;
    let mut bytes = Vec::new();
    while let Some(chunk) = chunks.next().await {
        bytes.extend_from_slice(&chunk?);
        if bytes.len() > limit {
            break;
        }
    }
    Ok((Bytes::from(bytes), etag))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::core::caches::store::file::Folder;
    use crate::core::caches::store::memory::Memory;
    use crate::core::sys::cancel::Cancel;

    fn context(cancel: Cancel) -> Arc<CallContext> {
        Arc::new(CallContext::new(cancel, Duration::from_secs(3), 1))
    }

    #[test]
    fn an_ended_call_removes_nothing() {
        let root = tempfile::tempdir().expect("a temporary directory");
        let stores: [Box<dyn Store>; 2] = [
            Box::new(Folder::new(root.path())),
            Box::new(Memory::named("nothing is removed")),
        ];
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            for store in stores {
                let (running, ended) = (context(Cancel::new()), context(Cancel::new()));
                let body = Body::Bytes(Bytes::from_static(b"object"));
                store
                    .write("a/object", body, Condition::Always, &running)
                    .await
                    .expect("written");
                ended.cancel.cancel();
                let failure = store.delete("a/object", &ended).await.expect_err("ended");
                assert_eq!(failure.cause, Cause::Aborted);
                store.stat("a/object", &running).await.expect("it is there");
                store.delete("a/object", &running).await.expect("removed");
            }
        });
    }
}
