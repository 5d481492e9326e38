//! S3 and what speaks like it, over OpenDAL: signing and the credential chain are OpenDAL's, while time,
//! ranges, retries and conditions are ours (see [`crate::core::caches::store::transport`]).

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::ops::Range;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _};
use opendal::options::{ListOptions, ReaderOptions, WriteOptions};
use opendal::{Buffer, ErrorKind, HttpTransporter, OperationContext, Operator};

use crate::core::caches::store::part::PartBuffer;
use crate::core::caches::store::redirect;
use crate::core::caches::store::transport::{Exchange, StsTransport, Transport};
use crate::core::caches::store::{
    Answer, Body, Condition, Failure, Kind, Listed, MayShow, Meter, PART_BYTES, Spool, Store, unshown,
};
use crate::core::error::{Error, Result};
use crate::core::sys::thread;

/// How long the credential chain may take: off AWS it ends in an address that never answers
/// (denoland/celld#163).
const CREDENTIALS: Duration = Duration::from_secs(2);
/// How long an upload that will not be finished is tidied up.
const ABORT: Duration = Duration::from_secs(2);
/// Parts in flight of one upload.
const UPLOAD_CONCURRENCY: usize = 4;
/// Most that a listing keeps in memory: about 400 000 objects.
const MAX_LISTED_BYTES: usize = 64 << 20;

macro_rules! s3_options {
    ($($(#[$doc:meta])* $field:ident = $name:literal),+ $(,)?) => {
        /// What is known of a bucket. Absent credentials mean the chain: environment, profile, SSO, web
        /// identity, container and EKS Pod Identity, IMDS. (`credential_process` is not in it: OpenDAL runs no
        /// programs.)
        #[derive(Clone, Default)]
        pub struct S3Options { $($(#[$doc])* pub $field: Option<String>,)+ }

        impl S3Options {
            /// Takes the known options out of `options`.
            pub(in crate::core::caches::store) fn take(options: &mut BTreeMap<String, String>) -> Result<Self> {
                let taken = Self { $($field: options.remove($name).filter(|text| !text.is_empty()),)+ };
                taken.check()
            }
        }
    };
}

s3_options! {
    /// The bucket's name.
    bucket = "bucket",
    /// Path in the bucket under which everything lies.
    prefix = "prefix",
    /// The region to sign for; `AWS_REGION` where it is absent, `us-east-1` with an endpoint of one's own.
    region = "region",
    /// `http://` or `https://` address of a server that is not AWS.
    endpoint = "endpoint",
    /// Profile of the shared AWS configuration.
    profile = "profile",
    /// Static credentials.
    access_key_id = "accessKeyId",
    /// Static credentials.
    secret_access_key = "secretAccessKey",
    /// Static credentials that expire.
    session_token = "sessionToken",
    /// A role to assume with the credentials found.
    role_arn = "roleArn",
    /// `true` or `false`: the bucket's name in the path. Default: `true` with an endpoint of one's own.
    path_style = "pathStyle",
    /// `AES256` or `aws:kms`.
    server_side_encryption = "serverSideEncryption",
    /// The key of `aws:kms`.
    kms_key_id = "kmsKeyId",
    /// `true`: requests are not signed.
    anonymous = "anonymous",
}

impl fmt::Debug for S3Options {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("S3Options")
            .field("bucket", &self.bucket)
            .field("prefix", &self.prefix)
            .field("region", &self.region)
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}

impl S3Options {
    fn check(self) -> Result<Self> {
        if self.bucket.is_none() {
            return Err(Error::argument("store.bucket", "absent", "the name of a bucket"));
        }
        if self.access_key_id.is_some() != self.secret_access_key.is_some() {
            return Err(Error::argument(
                "store.accessKeyId and store.secretAccessKey",
                "only one of the two",
                "both or neither",
            ));
        }
        if let Some(endpoint) = &self.endpoint
            && !reqwest::Url::parse(endpoint).is_ok_and(|url| {
                matches!(url.scheme(), "http" | "https") && url.has_host() && url.password().is_none()
            })
        {
            return Err(Error::argument(
                "store.endpoint",
                "not an address",
                "http://host or https://host without credentials in it",
            ));
        }
        for (name, value) in [
            ("store.pathStyle", &self.path_style),
            ("store.anonymous", &self.anonymous),
        ] {
            if !matches!(value.as_deref(), None | Some("true" | "false")) {
                return Err(Error::argument(name, "something else", "true or false"));
            }
        }
        Ok(self)
    }

    fn region(&self) -> Result<String> {
        let from_environment =
            || std::env::var("AWS_REGION").or_else(|_| std::env::var("AWS_DEFAULT_REGION"));
        if let Some(region) = self.region.clone().or_else(|| from_environment().ok()) {
            return Ok(region);
        }
        if self.endpoint.is_some() {
            return Ok("us-east-1".to_owned());
        }
        Err(Error::argument(
            "store.region",
            "absent",
            "the bucket's region, here or in AWS_REGION",
        ))
    }
}

/// A bucket.
pub(in crate::core::caches::store) struct S3 {
    options: S3Options,
    /// Replaced when the store names another region.
    place: Mutex<Place>,
}

/// Where the bucket is, and what signs for that region.
#[derive(Clone)]
struct Place {
    operator: Operator,
    region: String,
}

impl S3 {
    pub(in crate::core::caches::store) fn new(options: &S3Options) -> Result<Self> {
        // A name with dots is not in the certificate of a virtual host.
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
            // The chain asks STS past the operation's context, by what is installed for the process.
            HttpTransporter::install_default(StsTransport(CREDENTIALS));
        }
        let place = place(&options, region)?;
        Ok(Self {
            options,
            place: Mutex::new(place),
        })
    }

    fn place(&self) -> Place {
        self.place.lock().unwrap_or_else(PoisonError::into_inner).clone()
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

    /// Runs one operation with a transport of its own, and reads its failure from both sides. Where the store names
    /// another region the operation runs once more, signed for that one, which is used from then on.
    async fn run<T, F>(&self, meter: &Arc<Meter>, path: &str, operation: impl Fn(Operator) -> F) -> Answer<T>
    where
        F: Future<Output = opendal::Result<T>>,
    {
        let here = self.place();
        let exchange = Arc::new(Exchange::new(Arc::clone(meter), here.region.clone()));
        let result = run_at(&here, &exchange, &operation).await?;
        let (Err(_), Some(named)) = (&result, exchange.named_region()) else {
            return result.map_err(|error| explain(&error, &exchange, path));
        };
        let there = self.in_region(named)?;
        let exchange = Arc::new(Exchange::new(Arc::clone(meter), there.region.clone()));
        meter.retried();
        let result = run_at(&there, &exchange, &operation).await?;
        if exchange.named_region().is_none() && exchange.failure().is_none() {
            *self.place.lock().unwrap_or_else(PoisonError::into_inner) = there;
        }
        result.map_err(|error| explain(&error, &exchange, path))
    }

    /// The version that a write made.
    async fn version_written(
        &self,
        path: &str,
        written: Answer<opendal::Metadata>,
        condition: &Condition,
        meter: &Arc<Meter>,
    ) -> Answer<String> {
        let metadata = written.map_err(|failure| match (failure.kind, condition) {
            // S3 answers 404, not 412, to If-Match where nothing is.
            (Kind::NotFound, Condition::Version(_)) => Failure::new(Kind::Changed, failure.message),
            _ => failure,
        })?;
        match metadata.etag() {
            Some(etag) => Ok(etag.to_owned()),
            // Servers that leave it out of the answer tell it when asked.
            None => Ok(self.stat(path, meter).await?.etag),
        }
    }

    fn write_options(condition: &Condition) -> WriteOptions {
        let mut options = WriteOptions::default();
        match condition {
            Condition::Always => {}
            Condition::Absent => options.if_not_exists = true,
            Condition::Version(etag) => options.if_match = Some(etag.clone()),
        }
        options
    }
}

/// Builds what signs for a region and addresses the bucket. Does no I/O.
fn place(options: &S3Options, region: String) -> Result<Place> {
    let text = |option: &Option<String>| option.clone().unwrap_or_default();
    let mut builder = opendal::services::S3::default()
        .bucket(&text(&options.bucket))
        .root(&text(&options.prefix))
        .region(&region)
        .endpoint(&text(&options.endpoint))
        .profile(&text(&options.profile))
        .access_key_id(&text(&options.access_key_id))
        .secret_access_key(&text(&options.secret_access_key))
        .session_token(&text(&options.session_token))
        .role_arn(&text(&options.role_arn));
    if options.path_style.as_deref() != Some("true") {
        builder = builder.enable_virtual_host_style();
    }
    if options.anonymous.as_deref() == Some("true") {
        builder = builder.skip_signature();
    }
    if let Some(algorithm) = &options.server_side_encryption {
        builder = builder.server_side_encryption(algorithm);
    }
    if let Some(key) = &options.kms_key_id {
        builder = builder.server_side_encryption_aws_kms_key_id(key);
    }
    let operator = Operator::new(builder)
        .map_err(|error| Error::argument("store", error.message(), "a bucket that can be addressed"))?;
    Ok(Place { operator, region })
}

fn endpoint_of_environment() -> Option<String> {
    ["AWS_ENDPOINT_URL", "AWS_ENDPOINT", "AWS_S3_ENDPOINT"]
        .iter()
        .find_map(|name| std::env::var(name).ok())
}

/// Runs an operation in one region. The outer result fails if the call may not run or has no credentials in time.
async fn run_at<T, F>(
    place: &Place,
    exchange: &Arc<Exchange>,
    operation: &impl Fn(Operator) -> F,
) -> Answer<opendal::Result<T>>
where
    F: Future<Output = opendal::Result<T>>,
{
    exchange.meter.cancel.check()?;
    let transport = HttpTransporter::new(Transport(Arc::clone(exchange)));
    let context = OperationContext::new().with_http_transport(transport);
    let running = operation(place.operator.clone().with_context(context));
    let running = AssertUnwindSafe(running).catch_unwind().map(|result| {
        result.unwrap_or_else(|panic| match thread::refused_in(panic.as_ref()) {
            // The process gets no thread to read credentials on.
            Some(refused) => Err(exchange.refuse(Kind::Local, &refused.message)),
            None => std::panic::resume_unwind(panic),
        })
    });
    tokio::pin!(running);
    Ok(tokio::select! {
        result = &mut running => result,
        () = tokio::time::sleep(CREDENTIALS) => {
            if !exchange.has_reached_store() {
                exchange.meter.fetching_credentials(true);
                return Err(Failure::new(
                    Kind::CredentialsTimeout,
                    format!("no credentials within {} ms", CREDENTIALS.as_millis()),
                ));
            }
            running.await
        }
    })
}

fn explain(error: &opendal::Error, exchange: &Exchange, path: &str) -> Failure {
    // The last status is then that of tidying up.
    if exchange.is_cancelled() {
        return Failure::new(Kind::Cancelled, "the call has ended");
    }
    if let Some(failure) = exchange.failure() {
        return Failure::new(failure.kind, format!("'{path}': {}", failure.message));
    }
    if !exchange.has_reached_store() {
        // reqsign's messages name providers, never values; the kind tells the rest.
        let kind = match error.kind() {
            ErrorKind::ConfigInvalid | ErrorKind::Unsupported => Kind::Misconfigured,
            _ => Kind::CredentialsMissing,
        };
        return Failure::new(
            kind,
            format!(
                "no usable credentials: set them in the environment, a profile, the pod's identity or the store ({})",
                error.kind()
            ),
        );
    }
    let status = exchange.status();
    let code = code_of(error);
    let kind = match (error.kind(), status) {
        (ErrorKind::ConfigInvalid, _) => Kind::Misconfigured,
        (_, 404) | (ErrorKind::NotFound, _) => Kind::NotFound,
        (_, 401 | 403) => Kind::Denied,
        (_, 412) | (ErrorKind::ConditionNotMatch, _) => Kind::Changed,
        (_, 409) => Kind::Conflict,
        (_, 300..=399 | 400 | 405 | 501) => Kind::Misconfigured,
        // The error of a completion, which S3 names after it has begun to answer 200.
        (_, 200..=299) if !code.is_empty() => Kind::Unavailable,
        (_, 200..=299 | 416) => Kind::Malformed,
        _ => Kind::Unavailable,
    };
    let region = exchange.named_region().map_or_else(String::new, |region| {
        format!(" (the bucket is in region '{region}')")
    });
    Failure::new(
        kind,
        format!("'{path}': the store answered {status}{code}{region}"),
    )
}

/// S3's own word for it, such as ` NoSuchBucket`: letters only, so that nothing else of the answer, which may
/// repeat the request, gets into a message.
fn code_of(error: &opendal::Error) -> String {
    let after = error
        .message()
        .split_once("code: \"")
        .map_or("", |(_, rest)| rest);
    let code: String = after
        .chars()
        .take_while(char::is_ascii_alphanumeric)
        .take(64)
        .collect();
    if code.is_empty() { code } else { format!(" {code}") }
}

impl Store for S3 {
    fn conditions_are_uncertain(&self) -> bool {
        true
    }

    fn stat<'a>(&'a self, path: &'a str, meter: &'a Arc<Meter>) -> BoxFuture<'a, Answer<Listed>> {
        async move {
            let metadata = self
                .run(meter, path, |operator| async move { operator.stat(path).await })
                .await?;
            Ok(listed(path, &metadata))
        }
        .boxed()
    }

    fn read<'a>(
        &'a self,
        path: &'a str,
        range: Range<u64>,
        etag: &'a str,
        meter: &'a Arc<Meter>,
    ) -> BoxFuture<'a, Answer<Bytes>> {
        let if_match = (!crate::core::sys::fault::mutant("no-if-match-on-ranges")).then(|| etag.to_owned());
        let options = ReaderOptions {
            if_match,
            ..ReaderOptions::default()
        };
        let size = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
        async move {
            let read = self.run(meter, path, |operator| {
                let (options, range) = (options.clone(), range.clone());
                async move {
                    let mut part = match PartBuffer::new(size) {
                        Ok(part) => part,
                        Err(failure) => return Ok(Err(failure)),
                    };
                    let reader = operator.reader_options(path, options).await?;
                    let mut chunks = reader.into_stream(range).await?;
                    // As it comes: what a store sends beyond the range is neither kept nor waited for.
                    while let Some(mut chunk) = chunks.try_next().await? {
                        if !Iterator::all(&mut chunk, |piece| part.push(&piece)) {
                            let message = format!("more than {size} bytes of '{path}'");
                            return Ok(Err(Failure::new(Kind::Malformed, message)));
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
        meter: &'a Arc<Meter>,
    ) -> BoxFuture<'a, Answer<(String, BoxStream<'static, Answer<Bytes>>)>> {
        let options = ReaderOptions {
            if_match: etag.map(str::to_owned),
            ..ReaderOptions::default()
        };
        async move {
            // The version is in the answer's own headers: no other request can tell it.
            let read = |operator: Operator| {
                let options = options.clone();
                async move {
                    let reader = operator.reader_options(path, options).await?;
                    let mut stream = reader.into_stream(..).await?;
                    let first = stream.try_next().await?;
                    let etag = stream.metadata().await?.etag().unwrap_or_default().to_owned();
                    let rest = futures::stream::iter(first.map(Ok)).chain(stream);
                    Ok((etag, rest))
                }
            };
            let (etag, stream) = self.run(meter, path, read).await?;
            let name = path.to_owned();
            let chunks = stream.map(move |chunk| {
                chunk
                    .map(|chunk: Buffer| chunk.to_bytes())
                    .map_err(|error: opendal::Error| {
                        Failure::new(Kind::Unavailable, format!("'{name}': {}", error.message()))
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
        meter: &'a Arc<Meter>,
    ) -> BoxFuture<'a, Answer<String>> {
        let options = Self::write_options(&condition);
        async move {
            let bytes = match body {
                Body::Bytes(bytes) => bytes,
                Body::Spool(spool) if spool.size <= PART_BYTES => {
                    let size = spool.size;
                    let from = spool.path.clone();
                    crate::core::caches::store::file::on_thread(&from, move || {
                        crate::core::caches::store::file::read_spool(&spool, 0..size)
                    })
                    .await?
                }
                Body::Spool(spool) => {
                    let sending = |operator| {
                        let (spool, may_show) = (Arc::clone(&spool), Arc::clone(&may_show));
                        upload(operator, path, spool, options.clone(), may_show, meter)
                    };
                    let written = self.run(meter, path, sending).await;
                    return self.version_written(path, written, &condition, meter).await;
                }
            };
            if !may_show() {
                return Err(unshown());
            }
            let written = self
                .run(meter, path, |operator| {
                    let (bytes, options) = (bytes.clone(), options.clone());
                    async move { operator.write_options(path, bytes, options).await }
                })
                .await;
            self.version_written(path, written, &condition, meter).await
        }
        .boxed()
    }

    fn list<'a>(&'a self, prefix: &'a str, meter: &'a Arc<Meter>) -> BoxFuture<'a, Answer<Vec<Listed>>> {
        let listing = move |operator: Operator| async move {
            let options = ListOptions {
                recursive: true,
                ..ListOptions::default()
            };
            let mut entries = operator.lister_options(prefix, options).await?;
            let (mut objects, mut bytes) = (Vec::new(), 0);
            // Page by page, with a limit: a store can name further pages without end.
            while let Some(entry) = entries.try_next().await? {
                if entry.metadata().is_file() {
                    let object = listed(entry.path(), entry.metadata());
                    bytes += size_of::<Listed>() + object.path.len() + object.etag.len();
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
                    Kind::Malformed,
                    format!("the store lists more than {count} objects under '{prefix}': expire them by a lifecycle rule"),
                )
            };
            self.run(meter, prefix, listing).await?.map_err(too_many)
        }
        .boxed()
    }

    fn delete<'a>(&'a self, path: &'a str, meter: &'a Arc<Meter>) -> BoxFuture<'a, Answer<()>> {
        async move {
            self.run(meter, path, |operator| async move { operator.delete(path).await })
                .await
        }
        .boxed()
    }
}

/// A multipart upload whose parts are aborted if it is given up, so that they do not cost for ever.
async fn upload(
    operator: Operator,
    path: &str,
    spool: Arc<Spool>,
    mut options: WriteOptions,
    may_show: MayShow,
    meter: &Arc<Meter>,
) -> opendal::Result<opendal::Metadata> {
    options.concurrent = UPLOAD_CONCURRENCY;
    options.chunk = usize::try_from(PART_BYTES).ok();
    let mut writer = operator.writer_options(path, options).await?;
    let sending = async {
        let mut offset = 0;
        while offset < spool.size {
            let end = (offset + PART_BYTES).min(spool.size);
            let part = Arc::clone(&spool);
            let bytes = crate::core::caches::store::file::on_thread(&spool.path, move || {
                crate::core::caches::store::file::read_spool(&part, offset..end)
            })
            .await
            .map_err(|failure| unexpected(&failure))?;
            writer.write(bytes).await?;
            offset = end;
        }
        // The parts are no object yet: closing the writer makes them one.
        if may_show() {
            writer.close().await
        } else {
            Err(ended())
        }
    };
    let sent = tokio::select! {
        sent = sending => sent,
        () = meter.cancel.cancelled() => Err(ended()),
    };
    if sent.is_err() {
        // What cannot be aborted now is left to the bucket's lifecycle rule.
        drop(tokio::time::timeout(ABORT, writer.abort()).await);
    }
    sent
}

fn unexpected(failure: &Failure) -> opendal::Error {
    opendal::Error::new(ErrorKind::Unexpected, failure.message.clone())
}

fn ended() -> opendal::Error {
    opendal::Error::new(ErrorKind::Unexpected, "the call has ended")
}

fn listed(path: &str, metadata: &opendal::Metadata) -> Listed {
    Listed {
        path: path.to_owned(),
        size: metadata.content_length(),
        etag: metadata.etag().unwrap_or_default().to_owned(),
        modified_ms: metadata
            .last_modified()
            .and_then(|time| u64::try_from(time.into_inner().as_millisecond()).ok())
            .unwrap_or(0),
    }
}
