//! Cancellation by an AbortSignal. src/js/native/abort.ts connects the signal to this token, because napi's own
//! AbortSignal overwrites the user's `onabort`.

use napi::Env;
use napi_derive::napi;

use crate::core::sys::cancel::Cancel;

use super::per_environment::PerEnvironment;

static ENDED: PerEnvironment<Cancel> = PerEnvironment::new(Cancel::new, Cancel::cancel);

/// Cancels the calls that it was passed to. Can be raised once.
#[napi]
pub struct CancelToken {
    pub(crate) inner: Cancel,
}

#[napi]
impl CancelToken {
    /// Creates a token that is not raised.
    #[napi(constructor)]
    pub fn new() -> Self {
        Self { inner: Cancel::new() }
    }

    /// Raises the token.
    #[napi]
    pub fn cancel(&self) {
        self.inner.cancel();
    }
}

/// Converts an optional argument to the core's token.
pub(crate) fn of(token: Option<&CancelToken>) -> Cancel {
    token.map_or_else(Cancel::new, |token| token.inner.clone())
}

/// Token that is raised when this environment ends, for work that must not outlive it.
pub(crate) fn at_end_of(env: &Env) -> napi::Result<Cancel> {
    ENDED.of(env)
}
