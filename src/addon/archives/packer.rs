//! Binding of `pack`.

use std::path::PathBuf;

use napi::Env;
use napi::bindgen_prelude::{PromiseRaw, Uint8Array};
use napi_derive::napi;

use crate::addon::archives::options::NativePackOptions;
use crate::addon::error::Reply;
use crate::addon::runtime;
use crate::core::archives::{self, PackStream};

/// A running `pack` call. Packing starts with the first call of `next`.
#[napi]
pub struct Packer {
    stream: PackStream,
}

#[napi]
impl Packer {
    /// Resolves with the next bytes, or with nothing at the end of the archive.
    #[napi(ts_return_type = "Promise<Reply<Uint8Array | null>>")]
    pub fn next<'env>(&self, env: &'env Env) -> napi::Result<PromiseRaw<'env, Reply<Option<Uint8Array>>>> {
        let stream = self.stream.clone();
        runtime::promised(env, async move {
            let next = stream.next().await.map_err(|failure| failure.error)?;
            Ok(next.map(Uint8Array::from))
        })
    }

    /// Stops packing.
    #[napi]
    pub fn cancel(&self) {
        self.stream.cancel();
    }
}

impl Drop for Packer {
    fn drop(&mut self) {
        self.stream.cancel();
    }
}

/// Prepares to pack a directory. Nothing is read yet.
#[napi(ts_return_type = "Reply<Packer>")]
pub fn start_pack(directory: String, options: NativePackOptions) -> napi::Result<Reply<Packer>> {
    runtime::guarded(|| {
        let stream = archives::pack(PathBuf::from(directory), options.read()?)?;
        Ok(Packer { stream })
    })
}
