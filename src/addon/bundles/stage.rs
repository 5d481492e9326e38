//! Binding of stages.

use std::path::PathBuf;
use std::sync::Arc;

use napi::Env;
use napi_derive::napi;

use crate::addon::cancel::CancelToken;
use crate::addon::environment::EnvironmentId;
use crate::addon::runtime::{self, Promise};
use crate::core::bundles::{StageHandle, Store};
use crate::core::sys::cancel::Cancel;

use super::options::{NativeCopyMethod, NativeFile, NativePublishOptions, patience};
use super::reports::{NativeGeneration, describe};

/// A stage that is being written.
#[napi]
pub struct NativeStage {
    store: Arc<Store>,
    owner: EnvironmentId,
    stage: StageHandle,
}

impl NativeStage {
    pub(super) fn new(store: Arc<Store>, owner: EnvironmentId, stage: StageHandle) -> Self {
        Self { store, owner, stage }
    }
}

#[napi]
impl NativeStage {
    /// Directory to write into.
    #[napi(getter)]
    pub fn path(&self) -> String {
        self.stage.path().to_string_lossy().into_owned()
    }

    /// Writes files into the stage.
    #[napi(ts_return_type = "Promise<Reply<void>>")]
    pub fn write<'env>(&self, env: &'env Env, files: Vec<NativeFile>) -> Promise<'env, ()> {
        // Copied here, because a view of JavaScript's memory must not outlive the call.
        let files: Vec<_> = files
            .into_iter()
            .map(|file| (file.path, file.contents.to_vec(), file.mode))
            .collect();
        let written = self.stage.fill(None, move |stage| {
            files
                .iter()
                .try_for_each(|(path, contents, mode)| stage.write(path, contents, *mode))
        });
        runtime::promised(env, written)
    }

    /// Creates a symbolic link with any text as its target.
    #[napi(ts_return_type = "Promise<Reply<void>>")]
    pub fn symlink<'env>(&self, env: &'env Env, relative: String, target: String) -> Promise<'env, ()> {
        let made = self
            .stage
            .fill(None, move |stage| stage.symlink(&relative, &target));
        runtime::promised(env, made)
    }

    /// Copies or moves the contents of a directory into the stage.
    #[napi(ts_return_type = "Promise<Reply<void>>")]
    pub fn adopt<'env>(&self, env: &'env Env, directory: String, how: NativeCopyMethod) -> Promise<'env, ()> {
        let (from, how) = (PathBuf::from(directory), how.into_core());
        let adopted = self.stage.fill(Some(from.clone()), move |stage| {
            stage.adopt(&from, how, &Cancel::new())
        });
        runtime::promised(env, adopted)
    }

    /// Publishes the stage as the current generation.
    #[napi(ts_return_type = "Promise<Reply<NativeGeneration>>")]
    pub fn publish<'env>(
        &self,
        env: &'env Env,
        mut options: NativePublishOptions,
        token: Option<&CancelToken>,
    ) -> Promise<'env, NativeGeneration> {
        let require = std::mem::take(&mut options.require);
        let converted = patience(options.timeout_ms, token)
            .and_then(|patience| Ok((options.into_core(self.owner)?, patience)));
        let (options, patience) = match converted {
            Ok(converted) => converted,
            Err(error) => return runtime::settled(env, Err(error)),
        };
        let (store, published) = (
            Arc::clone(&self.store),
            self.stage.publish(require, options, patience),
        );
        runtime::promised(env, async move {
            let published = published.await?;
            Ok(describe(&store, published.head, Some(published.changed)))
        })
    }

    /// Removes the stage.
    #[napi(ts_return_type = "Promise<Reply<void>>")]
    pub fn discard<'env>(&self, env: &'env Env) -> Promise<'env, ()> {
        runtime::promised(env, self.stage.discard())
    }
}
