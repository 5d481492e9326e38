//! Options of a bucket.

use crate::core::caches::store::options::{bucket_options, check_endpoint, check_flag};
use crate::core::error::{Error, Result};

bucket_options! {
    /// Options of a bucket. Without credentials, the credential chain is used: environment, profile, SSO, web identity,
    /// container and EKS Pod Identity, IMDS. It does not support `credential_process`, because OpenDAL runs no programs.
    S3Options {
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
    } shows bucket, prefix, region, endpoint
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
        check_endpoint(self.endpoint.as_ref())?;
        check_flag("store.pathStyle", self.path_style.as_ref())?;
        check_flag("store.anonymous", self.anonymous.as_ref())?;
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
