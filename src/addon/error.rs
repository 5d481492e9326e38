//! Conversion of core errors to values that `src/js` throws.

use napi::bindgen_prelude::{Object, ToNapiValue, TypeName, ValueType};
use napi::{Env, sys};

use crate::core::error::{Error, Result};

/// Result of a native call: a value, or a failure object. `unwrap()` in src/js/native/native.ts throws the failure.
pub struct Reply<T>(pub(crate) Result<T>);

impl<T> From<Result<T>> for Reply<T> {
    fn from(result: Result<T>) -> Self {
        Self(result)
    }
}

impl<T> TypeName for Reply<T> {
    fn type_name() -> &'static str {
        "Reply"
    }

    fn value_type() -> ValueType {
        ValueType::Unknown
    }
}

impl<T: ToNapiValue> ToNapiValue for Reply<T> {
    unsafe fn to_napi_value(raw: sys::napi_env, reply: Self) -> napi::Result<sys::napi_value> {
        match reply.0 {
            // SAFETY: the caller passes its own environment, and the value is converted on that environment's thread.
            Ok(value) => unsafe { T::to_napi_value(raw, value) },
            Err(failure) => {
                let env = Env::from_raw(raw);
                let object = failure_object(&env, &failure)?;
                // SAFETY: as above.
                unsafe { Object::to_napi_value(raw, object) }
            }
        }
    }
}

/// `{ warmswapFailure: true, code, retryable, message, syscall?, path?, errno?, cause?, detail? }`.
fn failure_object<'env>(env: &'env Env, failure: &Error) -> napi::Result<Object<'env>> {
    let mut object = Object::new(env)?;
    object.set("warmswapFailure", true)?;
    object.set("code", failure.code.as_str())?;
    object.set("retryable", failure.code.is_retryable())?;
    object.set("message", failure.message.as_str())?;
    if let Some(op) = failure.op {
        object.set("syscall", op)?;
    }
    if let Some(path) = &failure.path {
        object.set("path", path.to_string_lossy().as_ref())?;
    }
    if let Some(errno) = failure.errno() {
        object.set("errno", errno)?;
    }
    if let Some(source) = &failure.source {
        object.set("cause", source.to_string())?;
    }
    if let Some(detail) = &failure.detail {
        object.set("detail", detail.to_string())?;
    }
    Ok(object)
}
