//! Collecting, now and behind a publish.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::addon::runtime;
use crate::core::bundles::{Collected, FileLock, Store, Writer};
use crate::core::error::Result;

use super::{Shared, writer_lock};

/// How long the collection after a publish waits for the writer lock before it leaves the work to the next one.
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) fn collect(store: &Store, lock: FileLock) -> Result<Collected> {
    let collected = Writer::new(store, lock)?.collect()?;
    store.sweep_trash()?;
    Ok(collected)
}

/// Collects in the background. A failure is left to the next collection, or to whoever calls `collect()`.
pub(super) fn collect_behind(shared: &Arc<Shared>) {
    if shared.collecting.swap(true, Ordering::AcqRel) {
        return;
    }
    let shared = Arc::clone(shared);
    shared.behind.send_modify(|running| *running += 1);
    let collecting = Arc::clone(&shared);
    let started = runtime::spawn(async move {
        drop(collect_when_free(Arc::clone(&collecting)).await);
        collecting.behind.send_modify(|running| *running -= 1);
    });
    if started.is_err() {
        shared.collecting.store(false, Ordering::Release);
        shared.behind.send_modify(|running| *running -= 1);
    }
}

async fn collect_when_free(shared: Arc<Shared>) -> Result<()> {
    let lock = writer_lock(&shared, PATIENCE.as_secs_f64() * 1000.0, &shared.closing).await;
    // Before the work: a publish from now on needs a collection of its own.
    shared.collecting.store(false, Ordering::Release);
    let lock = lock?;
    runtime::step(vec![shared.place()], move || collect(&shared.store, lock))
        .await
        .map(drop)
}
