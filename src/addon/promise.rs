//! A promise that any thread of ours settles itself: a runtime in between would be one change of thread more.

use napi::Env;
use napi::bindgen_prelude::{Object, ToNapiValue};

use crate::core::error::Result;

use super::error::Reply;

type Resolver<T> = Box<dyn FnOnce(Env) -> napi::Result<Reply<T>>>;

/// A promise, and what settles it. Settling it after its environment has ended does nothing.
pub(crate) fn promise<T: ToNapiValue + Send + 'static>(
    env: &Env,
) -> napi::Result<(impl FnOnce(Result<T>) + Send + use<T>, Object<'_>)> {
    let (deferred, promise) = env.create_deferred::<Reply<T>, Resolver<T>>()?;
    Ok((
        move |result| deferred.resolve(Box::new(move |_| Ok(Reply(result)))),
        promise,
    ))
}
