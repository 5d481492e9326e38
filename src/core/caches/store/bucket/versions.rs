//! Versions of objects: the ETag in S3 and Azure, the generation in Cloud Storage. Here and in pointers, a generation is
//! written with quotes, as an ETag is.

use opendal::Metadata;
use opendal::options::{ReaderOptions, WriteOptions};

use crate::core::caches::store::kind::Kind;
use crate::core::caches::store::object::{Condition, ObjectMeta};
use crate::core::caches::store::transport::ANY_GENERATION;

/// Version of an object. Empty if the service did not name it. A proxy that compresses converts an ETag to a weak one,
/// which matches no condition.
pub(super) fn version_of(kind: Kind, metadata: &Metadata) -> String {
    match (kind, metadata.version()) {
        (Kind::Gcs, version) => version.map_or_else(String::new, |version| format!("\"{version}\"")),
        (Kind::S3 | Kind::Azure, _) => {
            let etag = metadata.etag().unwrap_or_default();
            etag.strip_prefix("W/").unwrap_or(etag).to_owned()
        }
    }
}

/// Path, size, version and time of an object.
pub(super) fn object_meta(kind: Kind, path: &str, metadata: &Metadata) -> ObjectMeta {
    ObjectMeta {
        path: path.to_owned(),
        size: metadata.content_length(),
        etag: version_of(kind, metadata),
        modified_ms: metadata
            .last_modified()
            .and_then(|time| u64::try_from(time.into_inner().as_millisecond()).ok())
            .unwrap_or(0),
    }
}

/// Number of a generation. No object has generation 1, so it stands for a version of another service.
fn generation(version: &str) -> String {
    match version.trim_matches('"').parse() {
        Ok(0_u64) | Err(_) => "1".to_owned(),
        Ok(generation) => generation.to_string(),
    }
}

/// Options of a read, of this version if one is named.
pub(super) fn reader_options(kind: Kind, version: Option<&str>) -> ReaderOptions {
    match kind {
        Kind::Gcs => ReaderOptions {
            if_version_match: version.map(generation),
            ..ReaderOptions::default()
        },
        Kind::S3 | Kind::Azure => ReaderOptions {
            if_match: version.map(str::to_owned),
            ..ReaderOptions::default()
        },
    }
}

/// Options of a write in one request, or in parts. With `is_plain`, versions are sent without their quotes.
pub(super) fn write_options(
    kind: Kind,
    condition: &Condition,
    in_parts: bool,
    is_plain: bool,
) -> WriteOptions {
    let mut options = WriteOptions::default();
    match (kind, condition) {
        // The transport adds the condition (see `upload_condition`). With a content type, OpenDAL sends the metadata and
        // the bytes together: the only form of an upload for which fake-gcs-server 1.54 checks conditions.
        (Kind::Gcs, _) if in_parts => options.if_version_not_match = Some(ANY_GENERATION.to_owned()),
        (Kind::Gcs, _) => options.content_type = Some("application/octet-stream".to_owned()),
        (_, Condition::Always) => {}
        (_, Condition::Absent) => options.if_not_exists = true,
        (_, Condition::Version(etag)) if is_plain => {
            options.if_match = Some(etag.trim_matches('"').to_owned());
        }
        (_, Condition::Version(etag)) => options.if_match = Some(etag.clone()),
    }
    options
}

/// Parameter that the transport adds to an upload. OpenDAL 0.59 sends every conditional upload to Cloud Storage in two
/// requests, and uploads in parts without a condition through another protocol.
pub(super) fn upload_condition(kind: Kind, condition: &Condition) -> Option<String> {
    match (kind, condition) {
        (Kind::S3 | Kind::Azure, _) | (Kind::Gcs, Condition::Always) => None,
        (Kind::Gcs, Condition::Absent) => Some("ifGenerationMatch=0".to_owned()),
        (Kind::Gcs, Condition::Version(version)) => {
            Some(format!("ifGenerationMatch={}", generation(version)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_of_another_service_matches_no_generation() {
        for (version, expected) in [
            ("\"1796068383820592\"", "1796068383820592"),
            ("1796068383820592", "1796068383820592"),
            ("\"00000000000000000000000000000000\"", "1"),
            ("\"0\"", "1"),
            ("\"d41d8cd98f00b204e9800998ecf8427e\"", "1"),
            ("\"5&ifGenerationMatch=0\"", "1"),
            ("", "1"),
        ] {
            let condition = Condition::Version(version.to_owned());
            assert_eq!(
                upload_condition(Kind::Gcs, &condition),
                Some(format!("ifGenerationMatch={expected}")),
                "{version}"
            );
        }
    }
}
