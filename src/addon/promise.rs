//! Promises that any native thread settles directly. A runtime in between would add a thread switch.

use napi::bindgen_prelude::{Object, ToNapiValue};
use napi::{Env, JsDeferred};

use crate::core::error::Result;

use super::error::Reply;

type Resolver<T> = Box<dyn FnOnce(Env) -> napi::Result<Reply<T>>>;

/// Settles a promise once. Does nothing after the environment has ended.
pub(crate) struct Settling<T: ToNapiValue + Send + 'static>(JsDeferred<Reply<T>, Resolver<T>>);

impl<T: ToNapiValue + Send + 'static> Settling<T> {
    /// Settles with a value or an error of the core.
    pub(crate) fn settle(self, result: Result<T>) {
        self.0.resolve(Box::new(move |_| Ok(Reply(result))));
    }

    /// Rejects with an internal error.
    pub(crate) fn reject(self, error: napi::Error) {
        self.0.reject(error);
    }
}

/// Creates a promise and its settling half.
pub(crate) fn open<T: ToNapiValue + Send + 'static>(env: &Env) -> napi::Result<(Settling<T>, Object<'_>)> {
    let (deferred, promise) = env.create_deferred()?;
    Ok((Settling(deferred), promise))
}

/// Creates a promise and a function that settles it with a result.
pub(crate) fn promise<T: ToNapiValue + Send + 'static>(
    env: &Env,
) -> napi::Result<(impl FnOnce(Result<T>) + Send + use<T>, Object<'_>)> {
    let (settling, promise) = open(env)?;
    Ok((move |result| settling.settle(result), promise))
}
