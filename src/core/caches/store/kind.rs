//! The services that have buckets, and what differs between them.

use std::time::Duration;

/// A service that has buckets.
#[cfg_attr(
    not(all(feature = "azure", feature = "gcs")),
    expect(dead_code, reason = "a store that is not in this build")
)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// S3 or a compatible service.
    S3,
    /// Google Cloud Storage.
    Gcs,
    /// Azure Blob Storage, where a bucket is called a container.
    Azure,
}

impl Kind {
    /// Where a caller can set the credentials that are missing.
    pub(super) fn credentials_advice(self) -> &'static str {
        match self {
            Self::S3 => {
                "Set them in the environment, a profile, the pod's identity or the options of the store"
            }
            Self::Gcs => {
                "Set GOOGLE_APPLICATION_CREDENTIALS, run 'gcloud auth application-default login', use the service account of the machine or the pod, or pass credentialsFile or token in the options of the store"
            }
            Self::Azure => {
                "Set AZURE_STORAGE_CONNECTION_STRING, AZURE_STORAGE_KEY or AZURE_STORAGE_SAS_TOKEN, use a managed identity or a workload identity, or pass them in the options of the store"
            }
        }
    }

    /// Permission without which the service reports a missing object as a denied read.
    pub(super) fn list_permission(self) -> Option<&'static str> {
        match self {
            Self::S3 => Some("s3:ListBucket"),
            Self::Gcs => Some("storage.objects.list"),
            Self::Azure => None,
        }
    }

    /// Shortest pause before a request is repeated that was refused because there were too many. Cloud Storage accepts
    /// about one write of an object in a second.
    pub(super) fn rate_pause(self, attempt: u32) -> Duration {
        match self {
            Self::Gcs => Duration::from_secs(1) * 2_u32.saturating_pow(attempt.min(4) - 1),
            Self::S3 | Self::Azure => Duration::ZERO,
        }
    }
}
