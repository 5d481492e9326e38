//! Stages: written by many calls at once, published or discarded by one that is alone with them.

use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Waker};

use futures::future::{MaybeDone, maybe_done};
use napi::Env;
use napi_derive::napi;
use tokio::sync::{OwnedRwLockWriteGuard, RwLock};

use crate::addon::cancel::{self, CancelToken};
use crate::addon::runtime;
use crate::core::bundles::{How, Stage, Writer};
use crate::core::error::{Code, Error, Result};
use crate::core::sys::cancel::Cancel;

use super::collecting::collect_behind;
use super::options::{NativeFile, NativeGeneration, NativePublishOptions, describe, publish_options};
use super::{Promise, Shared, writer_lock};

/// A stage that is being written.
#[napi]
pub struct NativeStage {
    shared: Arc<Shared>,
    /// `None` once it was published or discarded. Those two take it alone: a write or a removal beside them would
    /// change what has been hashed already.
    stage: Arc<RwLock<Option<Stage>>>,
    path: String,
}

#[napi]
impl NativeStage {
    /// Where to write.
    #[napi(getter)]
    pub fn path(&self) -> String {
        self.path.clone()
    }

    /// Writes files: paths, contents and modes, one each.
    #[napi(ts_return_type = "Promise<Reply<void>>")]
    pub fn write<'env>(&self, env: &'env Env, files: Vec<NativeFile>) -> Promise<'env, ()> {
        // Copied here: a view of JavaScript's memory must not outlive the call.
        let files: Vec<_> = files
            .into_iter()
            .map(|file| (file.path, file.contents.to_vec(), file.mode))
            .collect();
        self.filling(env, None, move |stage| {
            files
                .iter()
                .try_for_each(|(path, contents, mode)| stage.write(path, contents, *mode))
        })
    }

    /// Makes a link.
    #[napi(ts_return_type = "Promise<Reply<void>>")]
    pub fn symlink<'env>(&self, env: &'env Env, relative: String, target: String) -> Promise<'env, ()> {
        self.filling(env, None, move |stage| stage.symlink(&relative, &target))
    }

    /// Takes over the contents of a directory.
    #[napi(ts_return_type = "Promise<Reply<void>>")]
    pub fn adopt<'env>(&self, env: &'env Env, directory: String, how: String) -> Promise<'env, ()> {
        let how = match how.as_str() {
            "move" => How::Move,
            "copy" => How::Copy,
            _ => How::Clone,
        };
        let from = PathBuf::from(directory);
        self.filling(env, Some(from.clone()), move |stage| {
            stage.adopt(&from, how, &Cancel::new())
        })
    }

    /// Makes it the current generation.
    #[napi(ts_return_type = "Promise<Reply<NativeGeneration>>")]
    pub fn publish<'env>(
        &self,
        env: &'env Env,
        options: NativePublishOptions,
        token: Option<&CancelToken>,
    ) -> Promise<'env, NativeGeneration> {
        let (shared, cancel) = (Arc::clone(&self.shared), cancel::of(token));
        let alone = queued(Arc::clone(&self.stage).write_owned());
        runtime::promised(env, async move {
            publish(shared, turn(alone).await, options, cancel).await
        })
    }

    /// Removes it.
    #[napi(ts_return_type = "Promise<Reply<void>>")]
    pub fn discard<'env>(&self, env: &'env Env) -> Promise<'env, ()> {
        let alone = queued(Arc::clone(&self.stage).write_owned());
        let place = self.shared.place();
        runtime::promised(env, async move {
            let unpublished = turn(alone).await.take();
            runtime::step(vec![place], move || {
                unpublished.map_or(Ok(()), |stage| stage.discard())
            })
            .await
        })
    }
}

impl NativeStage {
    pub(super) fn new(shared: Arc<Shared>, stage: Stage) -> Self {
        Self {
            shared,
            path: stage.tree().to_string_lossy().into_owned(),
            stage: Arc::new(RwLock::new(Some(stage))),
        }
    }

    /// Runs work that fills the stage, beside other such work. `from` is read for it.
    fn filling<'env>(
        &self,
        env: &'env Env,
        from: Option<PathBuf>,
        work: impl FnOnce(&Stage) -> Result<()> + Send + 'static,
    ) -> Promise<'env, ()> {
        let shared = queued(Arc::clone(&self.stage).read_owned());
        let places = from.into_iter().chain([self.shared.place()]).collect();
        runtime::promised(env, async move {
            let stage = turn(shared).await;
            runtime::step(places, move || work(open(stage.as_ref())?)).await
        })
    }
}

/// A future that has its place in the queue now, on the caller's thread, and not when a task is first run: calls on a
/// stage take effect in the order in which they were made.
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
            "the stage was published or discarded; make a new one with stage()",
        )
    })
}

async fn publish(
    shared: Arc<Shared>,
    stage: OwnedRwLockWriteGuard<Option<Stage>>,
    options: NativePublishOptions,
    cancel: Cancel,
) -> Result<NativeGeneration> {
    let timeout_ms = options.timeout_ms;
    let (sealing, token) = (Arc::clone(&shared), cancel.clone());
    let (mut stage, sealed, wanted) = runtime::step(vec![shared.place()], move || {
        let sealed = open(stage.as_ref())?.seal(&sealing.store, &options.require, &token)?;
        let wanted = publish_options(options, sealing.owner)?;
        Ok((stage, sealed, wanted))
    })
    .await?;
    let lock = writer_lock(&shared, timeout_ms, &cancel).await?;
    let writing = Arc::clone(&shared);
    let published = runtime::step(vec![shared.place()], move || {
        let published =
            Writer::new(&writing.store, lock)?.publish(open(stage.as_ref())?, &sealed, &wanted)?;
        *stage = None;
        Ok(published)
    })
    .await?;
    collect_behind(&shared);
    Ok(describe(&shared.store, published.head, Some(published.changed)))
}
