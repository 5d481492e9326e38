//! What an answer says of an object.

use crate::core::caches::store::object::ObjectMeta;

/// The version of an object. A proxy that compresses makes a weak ETag of it, which no condition matches.
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
