//! Operations on a bucket.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _};
use opendal::options::ListOptions;
use opendal::{Buffer, Operator};

use super::bucket::Bucket;
use super::upload::upload;
use super::versions::{object_meta, reader_options, version_of, write_options};
use crate::core::caches::store::call_context::CallContext;
use crate::core::caches::store::failure::StoreResult;
use crate::core::caches::store::interface::{MayShow, Store, unshown};
use crate::core::caches::store::kind::Kind;
use crate::core::caches::store::object::{Body, Condition, ObjectMeta};
use crate::core::caches::store::part::{PartBuffer, length};
use crate::core::caches::store::ranges::PART_BYTES;
use crate::core::caches::store::transport::NO_LENGTH;
use crate::core::failure::{Cause, Failure};

/// Maximum memory of a listing: about 400 000 objects.
const MAX_LISTED_BYTES: usize = 64 << 20;

impl Bucket {
    /// Size and version of an object whose size the store does not declare. The response to a range request contains
    /// them.
    async fn stat_by_range(&self, path: &str, context: &Arc<CallContext>) -> StoreResult<ObjectMeta> {
        let read = |operator: Operator| async move {
            let mut stream = operator.reader(path).await?.into_stream(0..1).await?;
            stream.try_next().await?;
            stream.metadata().await
        };
        let metadata = self.run(context, path, read).await?;
        if metadata.content_length() == NO_LENGTH {
            let message = format!("'{path}': the store does not report the size of the object");
            return Err(Failure::new(Cause::Malformed, message));
        }
        Ok(object_meta(self.kind, path, &metadata))
    }

    /// Version that a write created.
    async fn version_written(
        &self,
        path: &str,
        written: StoreResult<opendal::Metadata>,
        condition: &Condition,
        context: &Arc<CallContext>,
    ) -> StoreResult<String> {
        let metadata = written.map_err(|failure| match (failure.cause, condition) {
            // For If-Match on a missing object, S3 responds with 404 instead of 412.
            (Cause::NotFound, Condition::Version(_)) => Failure::new(Cause::Changed, failure.error.message),
            _ => failure,
        })?;
        match version_of(self.kind, &metadata) {
            etag if etag.starts_with('"') => Ok(etag),
            // Some servers omit it from the response, or omit its quotes in documents, but compare it with the quotes
            // from headers.
            _ => Ok(self.stat(path, context).await?.etag),
        }
    }

    /// Fails if the object has another version than the one that was requested. fake-gcs-server 1.54 ignores the
    /// condition of a read.
    fn check_version(&self, path: &str, expected: Option<&str>, found: &str) -> StoreResult<()> {
        if self.kind != Kind::Gcs || expected.is_none_or(|expected| expected == found) {
            return Ok(());
        }
        Err(Failure::new(
            Cause::Changed,
            format!("'{path}' has another version"),
        ))
    }
}

impl Store for Bucket {
    fn conditions_are_uncertain(&self) -> bool {
        self.conditions_are_uncertain
    }

    fn set_plain_versions(&self, are_plain: bool) -> bool {
        self.has_plain_versions.store(are_plain, Ordering::Relaxed);
        true
    }

    fn stat<'a>(
        &'a self,
        path: &'a str,
        context: &'a Arc<CallContext>,
    ) -> BoxFuture<'a, StoreResult<ObjectMeta>> {
        async move {
            let metadata = self
                .run(context, path, |operator| async move { operator.stat(path).await })
                .await?;
            if metadata.content_length() == NO_LENGTH {
                return self.stat_by_range(path, context).await;
            }
            Ok(object_meta(self.kind, path, &metadata))
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
        let etag = (!crate::core::sys::fault::is_seeded("no-if-match-on-ranges")).then_some(etag);
        let options = reader_options(self.kind, etag);
        let (kind, size) = (self.kind, length(&range));
        async move {
            let read = self.run(context, path, |operator| {
                let (options, range) = (options.clone(), range.clone());
                async move {
                    let mut part = match PartBuffer::new(size) {
                        Ok(part) => part,
                        Err(failure) => return Ok(Err(failure)),
                    };
                    let reader = operator.reader_options(path, options).await?;
                    let mut chunks = reader.into_stream(range).await?;
                    // Read piece by piece: what a store sends beyond the range is neither kept nor waited for.
                    while let Some(mut chunk) = chunks.try_next().await? {
                        if !Iterator::all(&mut chunk, |piece| part.push(&piece)) {
                            let message = format!("more than {size} bytes of '{path}'");
                            return Ok(Err(Failure::new(Cause::Malformed, message)));
                        }
                    }
                    let version = version_of(kind, &chunks.metadata().await?);
                    Ok(Ok((part.into_bytes(), version)))
                }
            });
            let (bytes, version) = read.await??;
            self.check_version(path, etag, &version)?;
            Ok(bytes)
        }
        .boxed()
    }

    fn stream<'a>(
        &'a self,
        path: &'a str,
        etag: Option<&'a str>,
        context: &'a Arc<CallContext>,
    ) -> BoxFuture<'a, StoreResult<(String, BoxStream<'static, StoreResult<Bytes>>)>> {
        let options = reader_options(self.kind, etag);
        async move {
            // The version is in the headers of this response. No other request could return it.
            let read = |operator: Operator| {
                let (kind, options) = (self.kind, options.clone());
                async move {
                    let reader = operator.reader_options(path, options).await?;
                    let mut stream = reader.into_stream(..).await?;
                    let first = stream.try_next().await?;
                    let version = version_of(kind, &stream.metadata().await?);
                    let rest = futures::stream::iter(first.map(Ok)).chain(stream);
                    Ok((version, rest))
                }
            };
            let (version, stream) = self.run(context, path, read).await?;
            self.check_version(path, etag, &version)?;
            let name = path.to_owned();
            let chunks = stream.map(move |chunk| {
                chunk
                    .map(|chunk: Buffer| chunk.to_bytes())
                    .map_err(|error: opendal::Error| {
                        Failure::new(Cause::Broken, format!("'{name}': {}", error.message()))
                    })
            });
            Ok((version, chunks.boxed()))
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
        let is_plain = self.has_plain_versions.load(Ordering::Relaxed);
        async move {
            let options = |in_parts| write_options(self.kind, &condition, in_parts, is_plain);
            let bytes = match body {
                Body::Bytes(bytes) => bytes,
                Body::Spool(spool) if spool.size <= PART_BYTES => {
                    let size = spool.size;
                    spool.read_on_thread(0..size).await?
                }
                Body::Spool(spool) => {
                    let sending = |operator| {
                        let (spool, may_show) = (Arc::clone(&spool), Arc::clone(&may_show));
                        upload(operator, path, spool, options(true), may_show, context)
                    };
                    let written = self.run_if(context, path, Some(&condition), sending).await;
                    return self.version_written(path, written, &condition, context).await;
                }
            };
            if !may_show() {
                return Err(unshown());
            }
            let written = self
                .run_if(context, path, Some(&condition), |operator| {
                    let (bytes, options) = (bytes.clone(), options(false));
                    async move { operator.write_options(path, bytes, options).await }
                })
                .await;
            self.version_written(path, written, &condition, context).await
        }
        .boxed()
    }

    fn list<'a>(
        &'a self,
        prefix: &'a str,
        context: &'a Arc<CallContext>,
    ) -> BoxFuture<'a, StoreResult<Vec<ObjectMeta>>> {
        let kind = self.kind;
        let listing = move |operator: Operator| async move {
            let options = ListOptions {
                recursive: true,
                ..ListOptions::default()
            };
            let mut entries = operator.lister_options(prefix, options).await?;
            let (mut objects, mut bytes) = (Vec::new(), 0);
            // Page by page, with a limit, because a store can name further pages without end.
            while let Some(entry) = entries.try_next().await? {
                if entry.metadata().is_file() {
                    let object = object_meta(kind, entry.path(), entry.metadata());
                    bytes += size_of::<ObjectMeta>() + object.path.len() + object.etag.len();
                    objects.push(object);
                }
                if bytes > MAX_LISTED_BYTES {
                    return Ok(Err(objects.len()));
                }
            }
            Ok(Ok(objects))
        };
        async move {
            let too_many = |count| {
                Failure::new(
                    Cause::Malformed,
                    format!("the store lists more than {count} objects under '{prefix}'. Add a lifecycle rule that expires old objects"),
                )
            };
            self.run(context, prefix, listing).await?.map_err(too_many)
        }
        .boxed()
    }

    fn delete<'a>(&'a self, path: &'a str, context: &'a Arc<CallContext>) -> BoxFuture<'a, StoreResult<()>> {
        async move {
            self.run(
                context,
                path,
                |operator| async move { operator.delete(path).await },
            )
            .await
        }
        .boxed()
    }
}
