//! Removal of old blobs, and of a whole key.

use std::sync::Arc;
use std::time::Duration;

use super::cache::{Cache, KeyTarget};
use super::conditions::probes_in;
use super::ensure::records_in;
use super::key::Key;
use super::outcome::RestoreOutcome;
use super::report::Report;
use super::run::Budget;
use super::store::{CallContext, ObjectMeta, Store, StoreResult};
use crate::core::failure::Cause;
use crate::core::sys::cancel::Cancel;

impl Cache {
    /// Removes the blobs of a key that are neither current, nor among the `keep` newest, nor younger than `older_than`.
    /// A running snapshot may be about to point to a young blob.
    pub async fn prune(
        &self,
        key: Key,
        keep: u64,
        older_than: Duration,
        budget: Budget,
        cancel: Cancel,
    ) -> Report<Vec<ObjectMeta>> {
        if self.read_only {
            return Report::new(RestoreOutcome::Disabled, Vec::new()).because(self.read_only_reason());
        }
        self.call(
            budget,
            cancel,
            Vec::new(),
            move |cache, store, context| async move {
                let current = match cache.look_up(&*store, &key, &context).await {
                    Ok(KeyTarget::Pointer(pointer, _)) => key.blob(&pointer.sha256),
                    Ok(KeyTarget::Object(_)) => return Report::new(RestoreOutcome::Pruned, Vec::new()),
                    // Without a pointer no blob is current, and every blob that is old enough is removed.
                    Err(failure) if failure.cause == Cause::NotFound => String::new(),
                    Err(failure) => return Report::failed(failure, Vec::new()),
                };
                let mut removed = Vec::new();
                match prune_blobs(&*store, &key, &current, keep, older_than, &context, &mut removed).await {
                    Ok(()) => Report::new(RestoreOutcome::Pruned, removed),
                    Err(failure) => Report::failed(failure, removed),
                }
            },
        )
        .await
    }

    /// Removes a key. The pointer is removed first, so that no reader is referred to a blob that is being removed.
    pub async fn remove(&self, key: Key, budget: Budget, cancel: Cancel) -> Report<Vec<ObjectMeta>> {
        if self.read_only {
            return Report::new(RestoreOutcome::Disabled, Vec::new()).because(self.read_only_reason());
        }
        self.call(budget, cancel, Vec::new(), move |_, store, context| async move {
            let mut removed = Vec::new();
            match remove_all(&*store, &key, &context, &mut removed).await {
                Ok(()) => Report::new(RestoreOutcome::Removed, removed),
                Err(failure) => Report::failed(failure, removed),
            }
        })
        .await
    }
}

async fn prune_blobs(
    store: &dyn Store,
    key: &Key,
    current: &str,
    keep: u64,
    older_than: Duration,
    context: &Arc<CallContext>,
    removed: &mut Vec<ObjectMeta>,
) -> StoreResult<()> {
    let mut others = store.list(&key.blobs(), context).await?;
    others.retain(|blob| blob.path != current);
    others.sort_by_key(|blob| std::cmp::Reverse(blob.modified_ms));
    let kept = usize::try_from(keep.saturating_sub(1)).unwrap_or(usize::MAX);
    let old = others
        .into_iter()
        .skip(kept)
        .filter(|blob| blob.is_older(older_than));
    for blob in old {
        if is_still_older(store, &blob, older_than, context).await? {
            store.delete(&blob.path, context).await?;
            removed.push(blob);
        }
    }
    Ok(())
}

/// A snapshot that has found the blob since the listing has written it again, and is about to point to it.
async fn is_still_older(
    store: &dyn Store,
    blob: &ObjectMeta,
    older_than: Duration,
    context: &Arc<CallContext>,
) -> StoreResult<bool> {
    match store.stat(&blob.path, context).await {
        Ok(blob) => Ok(blob.is_older(older_than)),
        Err(failure) if failure.cause == Cause::NotFound => Ok(false),
        Err(failure) => Err(failure),
    }
}

async fn remove_all(
    store: &dyn Store,
    key: &Key,
    context: &Arc<CallContext>,
    removed: &mut Vec<ObjectMeta>,
) -> StoreResult<()> {
    if key.single_object().is_some() {
        return store.delete(key.as_str(), context).await;
    }
    store.delete(&key.pointer(), context).await?;
    for record in store.list(&records_in(key), context).await? {
        store.delete(&record.path, context).await?;
    }
    for blob in store.list(&key.blobs(), context).await? {
        store.delete(&blob.path, context).await?;
        removed.push(blob);
    }
    // Removes test objects of writers that may not delete. A young one may belong to a running probe: without its
    // object, the probe would conclude that conditions are ignored.
    let probes = store.list(&probes_in(key.as_str()), context).await?;
    for probe in probes.iter().filter(|probe| !probe.is_young()) {
        store.delete(&probe.path, context).await?;
    }
    Ok(())
}
