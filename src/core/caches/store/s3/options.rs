//! Options of a bucket.

use std::collections::BTreeMap;
use std::fmt;

use crate::core::error::{Error, Result};

macro_rules! s3_options {
    ($($(#[$doc:meta])* $field:ident = $name:literal),+ $(,)?) => {
        /// Options of a bucket. Without credentials, the credential chain is used: environment, profile, SSO, web
        /// identity, container and EKS Pod Identity, IMDS. It does not support `credential_process`, because OpenDAL
        /// runs no programs.
        #[derive(Clone, Default)]
        pub struct S3Options { $($(#[$doc])* pub $field: Option<String>,)+ }

        impl S3Options {
            /// Removes the known options from `options`.
            pub(in crate::core::caches::store) fn extract(options: &mut BTreeMap<String, String>) -> Result<Self> {
                let known = Self { $($field: options.remove($name).filter(|text| !text.is_empty()),)+ };
                known.check()
            }
        }
    };
}

s3_options! {
    /// Name of the bucket.
    bucket = "bucket",
    /// Path in the bucket that all objects are below.
    prefix = "prefix",
    /// Region that requests are signed for. Default: `AWS_REGION`, or `us-east-1` with a custom endpoint.
    region = "region",
    /// `http://` or `https://` address of a server other than AWS.
    endpoint = "endpoint",
    /// Profile of the shared AWS configuration.
    profile = "profile",
    /// Access key id of static credentials.
    access_key_id = "accessKeyId",
    /// Secret access key of static credentials.
    secret_access_key = "secretAccessKey",
    /// Session token of temporary credentials.
    session_token = "sessionToken",
    /// Role to assume with the credentials.
    role_arn = "roleArn",
    /// `true` or `false`: whether the name of the bucket is part of the path. Default: `true` with a custom endpoint.
    path_style = "pathStyle",
    /// Server-side encryption: `AES256` or `aws:kms`.
    server_side_encryption = "serverSideEncryption",
    /// Key id for `aws:kms`.
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
            return Err(Error::argument("store.bucket", "missing", "the name of a bucket"));
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
                "not a valid address",
                "http://host or https://host without credentials",
            ));
        }
        for (name, value) in [
            ("store.pathStyle", &self.path_style),
            ("store.anonymous", &self.anonymous),
        ] {
            if !matches!(value.as_deref(), None | Some("true" | "false")) {
                return Err(Error::argument(name, "another value", "true or false"));
            }
        }
        Ok(self)
    }

    pub(super) fn region(&self) -> Result<String> {
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
            "missing",
            "the region of the bucket, here or in AWS_REGION",
        ))
    }
}
