//! Opens a bucket of S3 or a compatible service.

use std::time::Duration;

use opendal::{HttpTransporter, Operator};

use super::options::S3Options;
use crate::core::caches::store::bucket::{Bucket, CREDENTIALS, Place};
use crate::core::caches::store::kind::Kind;
use crate::core::caches::store::options::endpoint_from_environment;
use crate::core::caches::store::redirect;
use crate::core::caches::store::transport::StsTransport;
use crate::core::error::{Error, Result};

/// Opens a bucket. Makes no I/O.
pub(in crate::core::caches::store) fn open(options: &S3Options) -> Result<Bucket> {
    // The certificate of a virtual host does not cover a bucket name with dots.
    let is_in_path = options.endpoint.is_some() || options.bucket.iter().any(|name| name.contains('.'));
    let region = options.region()?;
    let endpoint = match &options.endpoint {
        Some(endpoint) => Some(endpoint.clone()),
        None => endpoint_from_environment(&["AWS_ENDPOINT_URL", "AWS_ENDPOINT", "AWS_S3_ENDPOINT"])?,
    };
    let options = S3Options {
        region: Some(region.clone()),
        endpoint,
        path_style: options
            .path_style
            .clone()
            .or_else(|| Some(is_in_path.to_string())),
        ..options.clone()
    };
    if options.role_arn.is_some() {
        install_sts(CREDENTIALS);
    }
    let place = place(&options, region)?;
    Ok(Bucket::new(Kind::S3, place, true).relocated_by(move |to| in_region(&options, to)))
}

/// The chain calls STS outside the operation's context, through the default transport of the process.
fn install_sts(limit: Duration) {
    HttpTransporter::install_default(StsTransport(limit));
}

/// The same bucket in the region that the store named.
fn in_region(options: &S3Options, to: String) -> Result<Place> {
    let from = options.region.as_deref().unwrap_or_default();
    let endpoint = options.endpoint.as_ref();
    let options = S3Options {
        endpoint: endpoint.map(|endpoint| redirect::in_region(endpoint, from, &to)),
        ..options.clone()
    };
    place(&options, to)
}

/// Creates the address and the signer for a region.
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
    Ok(Place {
        operator,
        region: Some(region),
    })
}
