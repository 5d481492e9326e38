//! Options of a bucket of Google Cloud Storage.

use crate::core::caches::store::options::{bucket_options, check_endpoint, check_flag};
use crate::core::error::{Error, Result};

bucket_options! {
    /// Options of a bucket. Without credentials, the application default credentials are used: the file that
    /// `GOOGLE_APPLICATION_CREDENTIALS` names (a service account, a workload identity federation or a user), the file of
    /// gcloud, and the metadata server of the machine or the pod.
    GcsOptions {
        /// Name of the bucket.
        bucket = "bucket",
        /// Path in the bucket that all objects are below.
        prefix = "prefix",
        /// `http://` or `https://` address of another server. Default: `STORAGE_EMULATOR_HOST`, or Google's.
        endpoint = "endpoint",
        /// Path of a file with credentials, instead of the one that the environment names.
        credentials_file = "credentialsFile",
        /// Access token. It is not renewed.
        token = "token",
        /// `true`: requests carry no credentials. Default: `true` if `STORAGE_EMULATOR_HOST` is the endpoint.
        anonymous = "anonymous",
    } shows bucket, prefix, endpoint
}

impl GcsOptions {
    fn check(self) -> Result<Self> {
        if self.bucket.is_none() {
            return Err(Error::argument("store.bucket", "missing", "the name of a bucket"));
        }
        check_endpoint(self.endpoint.as_ref())?;
        check_flag("store.anonymous", self.anonymous.as_ref())?;
        Ok(self)
    }
}
