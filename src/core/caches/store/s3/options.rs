//! What is known of a bucket.

use std::collections::BTreeMap;
use std::fmt;

use crate::core::error::{Error, Result};

macro_rules! s3_options {
    ($($(#[$doc:meta])* $field:ident = $name:literal),+ $(,)?) => {
        /// What is known of a bucket. Absent credentials mean the chain: environment, profile, SSO, web
        /// identity, container and EKS Pod Identity, IMDS. (`credential_process` is not in it: OpenDAL runs no
        /// programs.)
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
            "absent",
            "the bucket's region, here or in AWS_REGION",
        ))
    }
}
