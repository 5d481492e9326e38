//! Main realm of a thread.

use napi::Env;
use napi::bindgen_prelude::{JsValue as _, Unknown};
use napi_derive::napi;

/// Returns `globalThis` of this thread's main realm, even when called from inside a vm context.
#[napi(ts_return_type = "typeof globalThis")]
pub fn main_realm(env: Env) -> napi::Result<Unknown<'static>> {
    env.get_global().map(|global| global.to_unknown())
}
