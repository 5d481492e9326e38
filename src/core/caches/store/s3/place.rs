//! Address of a bucket, and the signer for its region.

use opendal::Operator;

use super::options::S3Options;
use crate::core::error::{Error, Result};

/// Address of a bucket, and the signer for its region.
#[derive(Clone)]
pub(super) struct Place {
    pub(super) operator: Operator,
    pub(super) region: String,
}

/// Creates the address and the signer for a region. Makes no I/O.
pub(super) fn place(options: &S3Options, region: String) -> Result<Place> {
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

pub(super) fn endpoint_of_environment() -> Option<String> {
    ["AWS_ENDPOINT_URL", "AWS_ENDPOINT", "AWS_S3_ENDPOINT"]
        .iter()
        .find_map(|name| std::env::var(name).ok())
}
