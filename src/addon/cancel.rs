//! The token that an AbortSignal of JavaScript raises (wired in src/js/native/abort.ts, because napi's own
//! AbortSignal overwrites the user's `onabort`).

use napi::Env;
use napi_derive::napi;

use crate::core::sys::cancel::Cancel;

use super::per_environment::PerEnvironment;

static ENDED: PerEnvironment<Cancel> = PerEnvironment::new(Cancel::new, Cancel::cancel);

/// Raised once, shared by a call and its caller.
#[napi]
pub struct CancelToken {
    pub(crate) inner: Cancel,
}

#[napi]
impl CancelToken {
    /// A token that is not raised.
    #[napi(constructor)]
    pub fn new() -> Self {
        Self { inner: Cancel::new() }
    }

    /// Raises it.
    #[napi]
    pub fn cancel(&self) {
        self.inner.cancel();
    }
}

/// The core's token of an optional argument.
pub(crate) fn of(token: Option<&CancelToken>) -> Cancel {
    token.map_or_else(Cancel::new, |token| token.inner.clone())
}

/// Raised when this environment ends: for work that goes on without it.
pub(crate) fn at_end_of(env: &Env) -> napi::Result<Cancel> {
    ENDED.of(env)
}
