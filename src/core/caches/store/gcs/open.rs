//! Opens a bucket of Google Cloud Storage.

use opendal::Operator;

use super::options::GcsOptions;
use crate::core::caches::store::bucket::{Bucket, Place};
use crate::core::caches::store::kind::Kind;
use crate::core::caches::store::options::endpoint_from_environment;
use crate::core::error::{Error, Result};

/// Opens a bucket. Makes no I/O.
pub(in crate::core::caches::store) fn open(options: &GcsOptions) -> Result<Bucket> {
    // Google's clients for Go and Python accept a host without a scheme.
    let with_scheme = |host: String| {
        if host.contains("://") {
            return host;
        }
        format!("http://{host}")
    };
    let emulator = endpoint_from_environment(&["STORAGE_EMULATOR_HOST"])?.map(with_scheme);
    let is_emulated = options.endpoint.is_none() && emulator.is_some();
    let endpoint = options.endpoint.clone().or(emulator);
    let text = |option: &Option<String>| option.clone().unwrap_or_default();
    let mut builder = opendal::services::Gcs::default()
        .bucket(&text(&options.bucket))
        .root(&text(&options.prefix))
        .endpoint(text(&endpoint).trim_end_matches('/'))
        .credential_path(&text(&options.credentials_file));
    if let Some(token) = &options.token {
        builder = builder.token(token.clone());
    }
    let has_credentials = options.token.is_some() || options.credentials_file.is_some();
    let is_anonymous = match options.anonymous.as_deref() {
        Some(value) => value == "true",
        None => is_emulated && !has_credentials,
    };
    if is_anonymous {
        builder = builder.skip_signature();
    }
    let operator = Operator::new(builder)
        .map_err(|error| Error::argument("store", error.message(), "a bucket that can be addressed"))?;
    let place = Place {
        operator,
        region: None,
    };
    // Google documents conditions. Another server may ignore them.
    Ok(Bucket::new(Kind::Gcs, place, endpoint.is_some()))
}
