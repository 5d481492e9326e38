//! Metadata of an object in a response.

use crate::core::caches::store::object::ObjectMeta;

/// Version of an object. A proxy that compresses converts it to a weak ETag, which matches no condition.
pub(super) fn version_of(metadata: &opendal::Metadata) -> &str {
    let etag = metadata.etag().unwrap_or_default();
    etag.strip_prefix("W/").unwrap_or(etag)
}

/// Path, size, version and time of an object.
pub(super) fn object_meta(path: &str, metadata: &opendal::Metadata) -> ObjectMeta {
    ObjectMeta {
        path: path.to_owned(),
        size: metadata.content_length(),
        etag: version_of(metadata).to_owned(),
        modified_ms: metadata
            .last_modified()
            .and_then(|time| u64::try_from(time.into_inner().as_millisecond()).ok())
            .unwrap_or(0),
    }
}
