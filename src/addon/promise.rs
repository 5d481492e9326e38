//! A promise that any thread of ours settles itself: a runtime in between would be one change of thread more.

use napi::bindgen_prelude::{Object, ToNapiValue};
use napi::{Env, JsDeferred};

use crate::core::error::Result;

use super::error::Reply;

type Resolver<T> = Box<dyn FnOnce(Env) -> napi::Result<Reply<T>>>;

/// What settles a promise, once. After its environment has ended that does nothing.
pub(crate) struct Settling<T: ToNapiValue + Send + 'static>(JsDeferred<Reply<T>, Resolver<T>>);

impl<T: ToNapiValue + Send + 'static> Settling<T> {
    /// With a value or a failure of the core.
    pub(crate) fn settle(self, result: Result<T>) {
        self.0.resolve(Box::new(move |_| Ok(Reply(result))));
    }

    /// With a bug of ours.
    pub(crate) fn reject(self, error: napi::Error) {
        self.0.reject(error);
    }
}

/// A promise, and what settles it.
pub(crate) fn open<T: ToNapiValue + Send + 'static>(env: &Env) -> napi::Result<(Settling<T>, Object<'_>)> {
    let (deferred, promise) = env.create_deferred()?;
    Ok((Settling(deferred), promise))
}

/// As [`open`], for a caller that only has a result.
pub(crate) fn promise<T: ToNapiValue + Send + 'static>(
    env: &Env,
) -> napi::Result<(impl FnOnce(Result<T>) + Send + use<T>, Object<'_>)> {
    let (settling, promise) = open(env)?;
    Ok((move |result| settling.settle(result), promise))
}
