//! What a store must be able to do.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;

use super::call_context::{CallContext, pause};
use super::failure::StoreResult;
use super::object::{Body, Condition, ObjectMeta};
use crate::core::failure::{Cause, Failure};

/// Asked once, when only the step that makes an object visible is left: a large body has taken its time until
/// then, and the call may have ended.
pub type MayShow = Arc<dyn Fn() -> bool + Send + Sync>;

/// The failure of a write that may not be shown any more.
pub(super) fn unshown() -> Failure {
    Failure::new(Cause::Aborted, "the call has ended")
}

/// What a store must be able to do. Paths are relative, `/` between the parts, checked by their makers.
pub trait Store: Send + Sync + 'static {
    /// Whether a [`Condition`] may be silently ignored, so that it must be probed.
    fn conditions_are_uncertain(&self) -> bool;

    /// Whether conditions can name versions without their quotes, as `DigitalOcean` Spaces needs it, and from now on do.
    fn set_plain_versions(&self, _are_plain: bool) -> bool {
        false
    }

    /// Size and version of an object.
    fn stat<'a>(
        &'a self,
        path: &'a str,
        context: &'a Arc<CallContext>,
    ) -> BoxFuture<'a, StoreResult<ObjectMeta>>;

    /// Exactly these bytes of exactly this version: fewer, more or others are a failure.
    fn read<'a>(
        &'a self,
        path: &'a str,
        range: Range<u64>,
        etag: &'a str,
        context: &'a Arc<CallContext>,
    ) -> BoxFuture<'a, StoreResult<Bytes>>;

    /// The whole object, of this version if one is named, with the version it turned out to be.
    fn stream<'a>(
        &'a self,
        path: &'a str,
        etag: Option<&'a str>,
        context: &'a Arc<CallContext>,
    ) -> BoxFuture<'a, StoreResult<(String, BoxStream<'static, StoreResult<Bytes>>)>>;

    /// Writes an object in one visible step, if it may be shown when that step comes, and says its version.
    fn write_if<'a>(
        &'a self,
        path: &'a str,
        body: Body,
        condition: Condition,
        may_show: MayShow,
        context: &'a Arc<CallContext>,
    ) -> BoxFuture<'a, StoreResult<String>>;

    /// Writes an object in one visible step and says its version.
    fn write<'a>(
        &'a self,
        path: &'a str,
        body: Body,
        condition: Condition,
        context: &'a Arc<CallContext>,
    ) -> BoxFuture<'a, StoreResult<String>> {
        self.write_if(path, body, condition, Arc::new(|| true), context)
    }

    /// Every object below a prefix that ends in `/`.
    fn list<'a>(
        &'a self,
        prefix: &'a str,
        context: &'a Arc<CallContext>,
    ) -> BoxFuture<'a, StoreResult<Vec<ObjectMeta>>>;

    /// Removes an object; one that is not there is fine.
    fn delete<'a>(&'a self, path: &'a str, context: &'a Arc<CallContext>) -> BoxFuture<'a, StoreResult<()>>;
}

/// A small object and its version; of a larger one the first `limit` bytes and some. An answer that breaks off is
/// read again, as often as the call allows.
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
    fn nothing_is_removed_for_a_call_that_has_ended() {
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
