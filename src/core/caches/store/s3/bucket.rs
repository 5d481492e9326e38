//! A bucket of S3 or a compatible service.

use std::future::Future;
use std::ops::Range;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _};
use opendal::options::{ListOptions, ReaderOptions, WriteOptions};
use opendal::{Buffer, HttpTransporter, OperationContext, Operator};

use super::explain::conclude;
use super::metadata::{object_meta, version_of};
use super::options::S3Options;
use super::place::{Place, endpoint_of_environment, place};
use super::upload::upload;
use crate::core::caches::store::call_context::CallContext;
use crate::core::caches::store::exchange::Exchange;
use crate::core::caches::store::failure::StoreResult;
use crate::core::caches::store::interface::{MayShow, Store, unshown};
use crate::core::caches::store::object::{Body, Condition, ObjectMeta};
use crate::core::caches::store::part::{PartBuffer, length};
use crate::core::caches::store::ranges::PART_BYTES;
use crate::core::caches::store::redirect;
use crate::core::caches::store::transport::{NO_LENGTH, StsTransport, Transport};
use crate::core::error::Result;
use crate::core::failure::{Cause, Failure};
use crate::core::sys::sync::Mutex;
use crate::core::sys::thread;

/// Time limit of the credential chain. Outside AWS, the chain ends with an address that never responds
/// (denoland/celld#163).
const CREDENTIALS: Duration = Duration::from_secs(2);
/// Maximum memory of a listing: about 400 000 objects.
const MAX_LISTED_BYTES: usize = 64 << 20;

/// A bucket.
pub(in crate::core::caches::store) struct S3 {
    options: S3Options,
    /// Replaced when the store names another region.
    place: Mutex<Place>,
    has_plain_versions: AtomicBool,
}

impl S3 {
    pub(in crate::core::caches::store) fn new(options: &S3Options) -> Result<Self> {
        // The certificate of a virtual host does not cover a bucket name with dots.
        let is_in_path = options.endpoint.is_some() || options.bucket.iter().any(|name| name.contains('.'));
        let region = options.region()?;
        let options = S3Options {
            region: Some(region.clone()),
            endpoint: options.endpoint.clone().or_else(endpoint_of_environment),
            path_style: options
                .path_style
                .clone()
                .or_else(|| Some(is_in_path.to_string())),
            ..options.clone()
        };
        if options.role_arn.is_some() {
            // The chain calls STS outside the operation's context, through the default transport of the process.
            HttpTransporter::install_default(StsTransport(CREDENTIALS));
        }
        let place = place(&options, region)?;
        Ok(Self {
            options,
            place: Mutex::new(place),
            has_plain_versions: AtomicBool::new(false),
        })
    }

    fn place(&self) -> Place {
        self.place.lock().clone()
    }

    /// The same bucket in the region that the store named.
    fn in_region(&self, to: String) -> Result<Place> {
        let from = self.options.region.as_deref().unwrap_or_default();
        let endpoint = self.options.endpoint.as_ref();
        let options = S3Options {
            endpoint: endpoint.map(|endpoint| redirect::in_region(endpoint, from, &to)),
            ..self.options.clone()
        };
        place(&options, to)
    }

    /// Runs one operation with its own transport, and explains a failure with facts from both. If the store names
    /// another region, the operation is repeated, signed for that region, which is used from then on.
    async fn run<T, F>(
        &self,
        context: &Arc<CallContext>,
        path: &str,
        operation: impl Fn(Operator) -> F,
    ) -> StoreResult<T>
    where
        F: Future<Output = opendal::Result<T>>,
    {
        let here = self.place();
        let exchange = Arc::new(Exchange::new(Arc::clone(context), here.region.clone()));
        let result = run_at(&here, &exchange, &operation).await?;
        let (Err(_), Some(named)) = (&result, exchange.named_region()) else {
            return conclude(result, &exchange, path);
        };
        let there = self.in_region(named)?;
        let exchange = Arc::new(Exchange::new(Arc::clone(context), there.region.clone()));
        context.retried();
        let result = run_at(&there, &exchange, &operation).await?;
        if exchange.named_region().is_none() && exchange.failure().is_none() {
            *self.place.lock() = there;
        }
        conclude(result, &exchange, path)
    }

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
        Ok(object_meta(path, &metadata))
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
        match version_of(&metadata) {
            etag if etag.starts_with('"') => Ok(etag.to_owned()),
            // Some servers omit it from the response, or omit its quotes in documents, but compare it with the quotes
            // from headers.
            _ => Ok(self.stat(path, context).await?.etag),
        }
    }

    fn write_options(&self, condition: &Condition) -> WriteOptions {
        let mut options = WriteOptions::default();
        match condition {
            Condition::Always => {}
            Condition::Absent => options.if_not_exists = true,
            Condition::Version(etag) if self.has_plain_versions.load(Ordering::Relaxed) => {
                options.if_match = Some(etag.trim_matches('"').to_owned());
            }
            Condition::Version(etag) => options.if_match = Some(etag.clone()),
        }
        options
    }
}

/// Runs an operation in one region. The outer result fails if the call may not run or has no credentials in time.
async fn run_at<T, F>(
    place: &Place,
    exchange: &Arc<Exchange>,
    operation: &impl Fn(Operator) -> F,
) -> StoreResult<opendal::Result<T>>
where
    F: Future<Output = opendal::Result<T>>,
{
    exchange.context.cancel.check()?;
    let transport = HttpTransporter::new(Transport(Arc::clone(exchange)));
    let context = OperationContext::new().with_http_transport(transport);
    let running = operation(place.operator.clone().with_context(context));
    let running = AssertUnwindSafe(running).catch_unwind().map(|result| {
        result.unwrap_or_else(|panic| match thread::refused_in(panic.as_ref()) {
            // The process cannot start a thread for reading credentials.
            Some(refused) => Err(exchange.refuse(Cause::Other, &refused.message)),
            None => std::panic::resume_unwind(panic),
        })
    });
    tokio::pin!(running);
    Ok(tokio::select! {
        result = &mut running => result,
        () = tokio::time::sleep(CREDENTIALS) => {
            if !exchange.has_reached_store() {
                exchange.context.fetching_credentials(true);
                return Err(Failure::new(
                    Cause::CredentialsTimeout,
                    format!("no credentials within {} ms", CREDENTIALS.as_millis()),
                ));
            }
            running.await
        }
    })
}

impl Store for S3 {
    fn conditions_are_uncertain(&self) -> bool {
        true
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
            Ok(object_meta(path, &metadata))
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
        let if_match =
            (!crate::core::sys::fault::is_seeded("no-if-match-on-ranges")).then(|| etag.to_owned());
        let options = ReaderOptions {
            if_match,
            ..ReaderOptions::default()
        };
        let size = length(&range);
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
                    Ok(Ok(part.into_bytes()))
                }
            });
            read.await?
        }
        .boxed()
    }

    fn stream<'a>(
        &'a self,
        path: &'a str,
        etag: Option<&'a str>,
        context: &'a Arc<CallContext>,
    ) -> BoxFuture<'a, StoreResult<(String, BoxStream<'static, StoreResult<Bytes>>)>> {
        let options = ReaderOptions {
            if_match: etag.map(str::to_owned),
            ..ReaderOptions::default()
        };
        async move {
            // The version is in the headers of this response. No other request could return it.
            let read = |operator: Operator| {
                let options = options.clone();
                async move {
                    let reader = operator.reader_options(path, options).await?;
                    let mut stream = reader.into_stream(..).await?;
                    let first = stream.try_next().await?;
                    let etag = version_of(&stream.metadata().await?).to_owned();
                    let rest = futures::stream::iter(first.map(Ok)).chain(stream);
                    Ok((etag, rest))
                }
            };
            let (etag, stream) = self.run(context, path, read).await?;
            let name = path.to_owned();
            let chunks = stream.map(move |chunk| {
                chunk
                    .map(|chunk: Buffer| chunk.to_bytes())
                    .map_err(|error: opendal::Error| {
                        Failure::new(Cause::Broken, format!("'{name}': {}", error.message()))
                    })
            });
            Ok((etag, chunks.boxed()))
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
        let options = self.write_options(&condition);
        async move {
            let bytes = match body {
                Body::Bytes(bytes) => bytes,
                Body::Spool(spool) if spool.size <= PART_BYTES => {
                    let size = spool.size;
                    spool.read_on_thread(0..size).await?
                }
                Body::Spool(spool) => {
                    let sending = |operator| {
                        let (spool, may_show) = (Arc::clone(&spool), Arc::clone(&may_show));
                        upload(operator, path, spool, options.clone(), may_show, context)
                    };
                    let written = self.run(context, path, sending).await;
                    return self.version_written(path, written, &condition, context).await;
                }
            };
            if !may_show() {
                return Err(unshown());
            }
            let written = self
                .run(context, path, |operator| {
                    let (bytes, options) = (bytes.clone(), options.clone());
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
                    let object = object_meta(entry.path(), entry.metadata());
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
