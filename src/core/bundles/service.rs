//! Calls on a store that wait. They wait for the writer lock without a thread of their own, and for the filesystem on
//! the threads of [`workers`]. They need a tokio runtime with timers.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::core::error::{Error, Result};
use crate::core::sys::workers;

use super::background::RunningCollection;
use super::collect::Collected;
use super::file_lock::FileLock;
use super::head::Head;
use super::named::NamedPin;
use super::naming::NamedPinRequest;
use super::patience::Patience;
use super::store::Store;
use super::writer::Writer;

/// Time that a background collection waits for the writer lock before it leaves the work to the next one.
const BACKGROUND_WAIT: Duration = Duration::from_secs(30);

impl Store {
    /// Paths whose filesystems the work on this store depends on.
    pub(super) fn places(&self) -> Vec<PathBuf> {
        vec![self.layout.root().to_path_buf()]
    }

    /// Waits for the writer lock and acquires it.
    pub(super) async fn writer_lock(&self, patience: &Patience) -> Result<FileLock> {
        self.lock(&self.layout.writer_lock(), patience).await
    }

    /// Waits for the build lock, which only one builder of all processes holds, and acquires it.
    pub async fn build_lock(&self, patience: &Patience) -> Result<FileLock> {
        self.lock(&self.layout.build_lock(), patience).await
    }

    async fn lock(&self, path: &Path, patience: &Patience) -> Result<FileLock> {
        self.check_writable()?;
        let lock = FileLock::acquire(path, patience.deadline(), &patience.cancel).await;
        lock.map_err(|error| self.explain(error))
    }

    /// Runs `work` under the writer lock.
    pub async fn write<T: Send + 'static>(
        self: &Arc<Self>,
        patience: &Patience,
        work: impl FnOnce(&mut Writer<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.write_at(self.places(), patience, work).await
    }

    async fn write_at<T: Send + 'static>(
        self: &Arc<Self>,
        places: Vec<PathBuf>,
        patience: &Patience,
        work: impl FnOnce(&mut Writer<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let lock = self.writer_lock(patience).await?;
        let store = Arc::clone(self);
        workers::step(places, move || work(&mut Writer::new(&store, lock)?)).await
    }

    /// Makes an older generation current again, and starts a collection in the background.
    pub async fn rollback(self: &Arc<Self>, number: u64, patience: &Patience) -> Result<Head> {
        let head = self
            .write(patience, move |writer| writer.rollback(number))
            .await?;
        self.collect_in_background();
        Ok(head)
    }

    /// Gives a generation a name until a time; see [`Writer::pin_named`].
    pub async fn pin_named(
        self: &Arc<Self>,
        request: NamedPinRequest,
        patience: &Patience,
    ) -> Result<(NamedPin, bool)> {
        self.write(patience, move |writer| writer.pin_named(&request))
            .await
    }

    /// Ends a named pin, and collects in the background. `false` if there was none.
    pub async fn release_named(self: &Arc<Self>, name: String, patience: &Patience) -> Result<bool> {
        let released = self
            .write(patience, move |writer| writer.release_named(&name))
            .await?;
        self.collect_in_background();
        Ok(released)
    }

    /// Replaces the link with a real directory that contains the same files. See [`Writer::give_directory`].
    pub async fn give_directory(self: &Arc<Self>, link: PathBuf, patience: &Patience) -> Result<bool> {
        let places = [self.places(), vec![link.clone()]].concat();
        let cancel = patience.cancel.clone();
        self.write_at(places, patience, move |writer| {
            writer.give_directory(&link, &cancel)
        })
        .await
    }

    /// Removes generations and stages that are no longer needed.
    pub async fn collect(self: &Arc<Self>, patience: &Patience) -> Result<Collected> {
        let lock = self.writer_lock(patience).await?;
        self.collect_with(lock).await
    }

    async fn collect_with(self: &Arc<Self>, lock: FileLock) -> Result<Collected> {
        let store = Arc::clone(self);
        workers::step(self.places(), move || {
            let collected = Writer::new(&store, lock)?.collect()?;
            store.sweep_trash()?;
            Ok(collected)
        })
        .await
    }

    /// Starts a collection after a failure for want of space: else a disk that is full of old generations stays full,
    /// because nothing is published on it (vercel/eve#1557).
    pub(super) fn collect_if_full<T>(self: &Arc<Self>, result: &Result<T>) {
        if result.as_ref().is_err_and(Error::is_full) {
            self.collect_in_background();
        }
    }

    /// Starts a collection. If it fails, the next collection or the caller of [`collect`](Self::collect) handles it.
    pub(super) fn collect_in_background(self: &Arc<Self>) {
        let Some(collection) = self.background.begin() else {
            return;
        };
        let store = Arc::clone(self);
        drop(tokio::spawn(async move {
            drop(store.collect_when_free(collection).await);
        }));
    }

    async fn collect_when_free(self: &Arc<Self>, mut collection: RunningCollection) -> Result<()> {
        let patience = Patience {
            timeout: Some(BACKGROUND_WAIT),
            cancel: self.background.closing.clone(),
        };
        let lock = self.writer_lock(&patience).await;
        collection.stop_waiting();
        self.collect_with(lock?).await.map(drop)
    }

    /// Stops the background collections that wait for the lock, and waits until none is running.
    pub async fn settled(&self) {
        self.background.close().await;
    }
}
