//! Detects whether a store honours conditional writes. Some stores ignore conditions silently, so it is tested with a
//! write.

use std::sync::Arc;

use bytes::Bytes;

use super::key::Key;
use super::store::{Body, CallContext, Condition, PART_BYTES, Spool, Store, StoreResult, of_system};
use crate::core::failure::{Cause, Failure};
use crate::core::sys::cancel::Cancel;

/// Whether writes are conditional.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conditions {
    /// If the store honours conditions.
    Auto,
    /// Always. Nothing is written to a store that does not honour conditions.
    Required,
    /// Never. No condition is sent, and no test is made.
    Off,
}

/// Directory of the test objects in this folder of the store.
pub(super) fn probes_in(folder: &str) -> String {
    if folder.is_empty() {
        ".warmswap-probe/".to_owned()
    } else {
        format!("{folder}/.warmswap-probe/")
    }
}

/// Path for a test object in this folder of the store.
pub(super) fn probe_path(folder: &str) -> String {
    probes_in(folder) + &uuid::Uuid::new_v4().simple().to_string()
}

/// Folder to which a policy for this key allows writes: below the key, or next to the single object.
fn folder_of(key: &Key) -> &str {
    match key.single_object() {
        None => key.as_str(),
        Some(_) => key.as_str().rsplit_once('/').map_or("", |(folder, _)| folder),
    }
}

/// A version that no object has.
pub(super) fn stale() -> Condition {
    Condition::Version("\"00000000000000000000000000000000\"".to_owned())
}

/// Whether the store honours the conditions of a write to this key.
pub(super) async fn honours_conditions(
    store: &dyn Store,
    key: &Key,
    context: &Arc<CallContext>,
) -> StoreResult<bool> {
    match probe_conditions(store, folder_of(key), context).await {
        // A store whose policies are that detailed supports conditions, so they are sent.
        Err(failure) if failure.cause == Cause::Denied => Ok(true),
        found => found,
    }
}

/// The same for an object that is uploaded in several parts. The condition applies to the completion of the upload.
pub(super) async fn honours_in_parts(
    store: &dyn Store,
    key: &Key,
    condition: &Condition,
    context: &Arc<CallContext>,
) -> StoreResult<bool> {
    let path = probe_path(folder_of(key));
    let body = Body::Bytes(Bytes::from_static(b"warmswap probe"));
    match store.write(&path, body, Condition::Always, context).await {
        Err(failure) if failure.cause == Cause::Denied => return Ok(true),
        written => written?,
    };
    let mistaken = match condition {
        Condition::Version(_) => stale(),
        Condition::Absent | Condition::Always => Condition::Absent,
    };
    let honoured = probe_multipart(store, &path, mistaken, context).await;
    tidy_up(store, &path, context).await;
    honoured
}

/// Removes a test object, even after the call has ended. If the writer lacks the permission to delete, a few bytes are
/// left.
pub(super) async fn tidy_up(store: &dyn Store, path: &str, context: &Arc<CallContext>) {
    let once = Arc::new(CallContext::new(Cancel::new(), context.idle, 1));
    drop(store.delete(path, &once).await);
}

/// Whether a write that must not happen is refused.
pub(super) async fn probe_conditions(
    store: &dyn Store,
    folder: &str,
    context: &Arc<CallContext>,
) -> StoreResult<bool> {
    let path = probe_path(folder);
    let body = || Body::Bytes(Bytes::from_static(b"warmswap probe"));
    let honours = async {
        let Some(written) = accepts_condition(store, &path, body(), context).await? else {
            return Ok(false);
        };
        let absent = was_refused(store.write(&path, body(), Condition::Absent, context).await)?;
        let version = was_refused(store.write(&path, body(), stale(), context).await)?;
        Ok(absent && version && accepts_version(store, &path, body(), written, context).await?)
    };
    let honours = honours.await;
    tidy_up(store, &path, context).await;
    honours
}

/// Whether a write that replaces the current version is accepted. `DigitalOcean` Spaces rejects it with 412 unless the
/// version is sent without its quotes (slatedb#1818).
async fn accepts_version(
    store: &dyn Store,
    path: &str,
    body: Body,
    version: String,
    context: &Arc<CallContext>,
) -> StoreResult<bool> {
    let write = |condition| store.write(path, body.clone(), condition, context);
    let condition = Condition::Version(version.clone());
    match write(condition.clone()).await {
        Ok(_) => return Ok(true),
        Err(failure) if failure.cause == Cause::Misconfigured => return Ok(false),
        // The response to a successful write can be lost. Its repetition then fails.
        Err(failure) if matches!(failure.cause, Cause::Changed | Cause::Conflict) => {
            if store.stat(path, context).await?.etag != version {
                return Ok(true);
            }
        }
        Err(failure) => return Err(failure),
    }
    if !store.set_plain_versions(true) {
        return Ok(false);
    }
    let works = was_refused(write(stale()).await)? && write(condition).await.is_ok();
    store.set_plain_versions(works);
    Ok(works)
}

/// Writes under a condition that holds. Returns the new version, or nothing if the condition is not accepted. Stores
/// without conditions respond with 400 or 501 (Alibaba OSS: `NotImplemented` for both), and accept the same write
/// without the condition.
async fn accepts_condition(
    store: &dyn Store,
    path: &str,
    body: Body,
    context: &Arc<CallContext>,
) -> StoreResult<Option<String>> {
    let failure = match store.write(path, body.clone(), Condition::Absent, context).await {
        Ok(version) => return Ok(Some(version)),
        Err(failure) => failure,
    };
    match failure.cause {
        Cause::Misconfigured => match store.write(path, body, Condition::Always, context).await {
            Ok(_) => Ok(None),
            Err(_) => Err(failure),
        },
        // The response to a successful write can be lost. Its repetition then fails.
        Cause::Changed | Cause::Conflict => match store.stat(path, context).await {
            Ok(object) => Ok(Some(object.etag)),
            Err(_) => Err(failure),
        },
        _ => Err(failure),
    }
}

fn was_refused(written: StoreResult<String>) -> StoreResult<bool> {
    match written {
        Ok(_) => Ok(false),
        Err(failure) if matches!(failure.cause, Cause::Changed | Cause::Conflict) => Ok(true),
        // A server that does not know the header may report an error instead of ignoring it.
        Err(failure) if failure.cause == Cause::Misconfigured => Ok(false),
        Err(failure) => Err(failure),
    }
}

/// Uploads two parts over an existing object, under a condition that does not hold. The completion must be refused.
pub(super) async fn probe_multipart(
    store: &dyn Store,
    path: &str,
    mistaken: Condition,
    context: &Arc<CallContext>,
) -> StoreResult<bool> {
    let size = PART_BYTES + 1;
    let file = crate::core::sys::fs::anonymous(&std::env::temp_dir()).map_err(of_system)?;
    file.set_len(size)
        .map_err(|error| Failure::new(Cause::Other, error.to_string()))?;
    let spool = Spool {
        file,
        size,
        path: std::env::temp_dir(),
    };
    was_refused(
        store
            .write(path, Body::Spool(Arc::new(spool)), mistaken, context)
            .await,
    )
}
