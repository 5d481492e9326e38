//! A stage that several calls use. Calls take effect in the order in which they were made. Calls that fill the stage
//! run concurrently. A publish or a discard runs alone, because a concurrent write would change content that is already
//! hashed.

use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Waker};

use futures::future::{MaybeDone, maybe_done};
use tokio::sync::RwLock;

use crate::core::error::{Code, Error, Result};
use crate::core::sys::workers;

use super::patience::Patience;
use super::publish::{PublishOptions, Published};
use super::stage::{Sealed, Stage, StageBase};
use super::store::Store;
use super::writer::Writer;

/// A stage until it is published or discarded.
#[derive(Debug)]
pub struct StageHandle {
    store: Arc<Store>,
    path: PathBuf,
    /// `None` after it was published or discarded.
    stage: Arc<RwLock<Option<Stage>>>,
}

impl Store {
    /// Creates a stage, with a fence if `fenced` is set.
    pub async fn stage(
        self: &Arc<Self>,
        from: StageBase,
        fenced: bool,
        patience: &Patience,
    ) -> Result<StageHandle> {
        let lock = if fenced {
            Some(self.writer_lock(patience).await?)
        } else {
            None
        };
        let (store, cancel) = (Arc::clone(self), patience.cancel.clone());
        workers::step(self.places(), move || {
            let fence = lock
                .map(|lock| Writer::new(&store, lock)?.issue_fence())
                .transpose()?;
            let stage = Stage::begin(&store, from, fence, &cancel)?;
            Ok(StageHandle {
                path: stage.tree(),
                stage: Arc::new(RwLock::new(Some(stage))),
                store,
            })
        })
        .await
    }
}

impl StageHandle {
    /// Directory to write into.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Runs work that fills the stage, concurrently with other such work. `from` is a directory that the work reads.
    pub fn fill<W>(&self, from: Option<PathBuf>, work: W) -> impl Future<Output = Result<()>> + Send + use<W>
    where
        W: FnOnce(&Stage) -> Result<()> + Send + 'static,
    {
        let shared = queued(Arc::clone(&self.stage).read_owned());
        let places = from.into_iter().chain(self.store.places()).collect();
        let store = Arc::clone(&self.store);
        async move {
            let stage = turn(shared).await;
            let filled = workers::step(places, move || work(open(stage.as_ref())?)).await;
            store.collect_if_full(&filled);
            filled
        }
    }

    /// Publishes the stage and starts a collection in the background. Fails with `ERR_MISSING_ENTRY` unless the stage
    /// contains the paths in `require`.
    pub fn publish(
        &self,
        require: Vec<String>,
        options: PublishOptions,
        patience: Patience,
    ) -> impl Future<Output = Result<Published>> + Send + use<> {
        let store = Arc::clone(&self.store);
        let published = self.publish_with(require, patience, move |writer, stage, sealed| {
            writer.publish(stage, sealed, &options)
        });
        async move {
            let published = published.await;
            match &published {
                Ok(_) => store.collect_in_background(),
                Err(_) => store.collect_if_full(&published),
            }
            published
        }
    }

    /// Hashes and freezes the stage, and runs `work` under the writer lock. `work` publishes the stage.
    pub fn publish_with<T, W>(
        &self,
        require: Vec<String>,
        patience: Patience,
        work: W,
    ) -> impl Future<Output = Result<T>> + Send + use<T, W>
    where
        T: Send + 'static,
        W: FnOnce(&mut Writer<'_>, &Stage, &Sealed) -> Result<T> + Send + 'static,
    {
        let (store, alone) = (
            Arc::clone(&self.store),
            queued(Arc::clone(&self.stage).write_owned()),
        );
        async move {
            let stage = turn(alone).await;
            let (sealing, cancel) = (Arc::clone(&store), patience.cancel.clone());
            let (mut stage, sealed) = workers::step(store.places(), move || {
                let sealed = open(stage.as_ref())?.seal(&sealing, &require, &cancel)?;
                Ok((stage, sealed))
            })
            .await?;
            store
                .write(&patience, move |writer| {
                    let published = work(writer, open(stage.as_ref())?, &sealed)?;
                    *stage = None;
                    Ok(published)
                })
                .await
        }
    }

    /// Removes the stage.
    pub fn discard(&self) -> impl Future<Output = Result<()>> + Send + use<> {
        let (places, alone) = (self.store.places(), queued(Arc::clone(&self.stage).write_owned()));
        async move {
            let unpublished = turn(alone).await.take();
            workers::step(places, move || {
                unpublished.map_or(Ok(()), |stage| stage.discard())
            })
            .await
        }
    }
}

/// Wraps a future so that it joins the queue immediately on the caller's thread, not when it is first polled.
fn queued<F: Future>(place: F) -> Pin<Box<MaybeDone<F>>> {
    let mut place = Box::pin(maybe_done(place));
    let _is_ready = place.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    place
}

async fn turn<F: Future>(mut place: Pin<Box<MaybeDone<F>>>) -> F::Output {
    place.as_mut().await;
    place.as_mut().take_output().expect("it is done, and taken once")
}

fn open(stage: Option<&Stage>) -> Result<&Stage> {
    stage.ok_or_else(|| {
        Error::new(
            Code::StageClosed,
            "The stage was already published or discarded. Create a new one with stage()",
        )
    })
}
