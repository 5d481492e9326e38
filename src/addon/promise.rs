//! Promises that any native thread settles directly. A runtime in between would add a thread switch.

use std::marker::PhantomData;

use napi::bindgen_prelude::{Object, ToNapiValue};
use napi::{Env, JsDeferred, sys};

use crate::core::error::Result;

use super::error::Reply;

/// A value of JavaScript. napi's code for a promise is compiled once for each type of its values: 4 KB.
struct Converted(sys::napi_value);

impl ToNapiValue for Converted {
    unsafe fn to_napi_value(_: sys::napi_env, converted: Self) -> napi::Result<sys::napi_value> {
        Ok(converted.0)
    }
}

type Resolver = Box<dyn FnOnce(Env) -> napi::Result<Converted>>;

/// Settles a promise once. Does nothing after the environment has ended.
pub(crate) struct Settling<T>(JsDeferred<Converted, Resolver>, PhantomData<fn(T)>);

impl<T: ToNapiValue + Send + 'static> Settling<T> {
    /// Settles with a value or an error of the core.
    pub(crate) fn settle(self, result: Result<T>) {
        self.0.resolve(Box::new(move |env| {
            // SAFETY: napi calls this on the thread of `env`, and returns the value to that environment.
            unsafe { Reply::to_napi_value(env.raw(), Reply(result)) }.map(Converted)
        }));
    }

    /// Rejects with an internal error.
    pub(crate) fn reject(self, error: napi::Error) {
        self.0.reject(error);
    }
}

/// Creates a promise and its settling half.
pub(crate) fn open<T: ToNapiValue + Send + 'static>(env: &Env) -> napi::Result<(Settling<T>, Object<'_>)> {
    let (deferred, promise) = env.create_deferred()?;
    Ok((Settling(deferred, PhantomData), promise))
}

/// Creates a promise and a function that settles it with a result.
pub(crate) fn promise<T: ToNapiValue + Send + 'static>(
    env: &Env,
) -> napi::Result<(impl FnOnce(Result<T>) + Send + use<T>, Object<'_>)> {
    let (settling, promise) = open(env)?;
    Ok((move |result| settling.settle(result), promise))
}
