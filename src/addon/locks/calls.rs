//! Binding of the lock calls that wait.

use std::sync::Arc;

use napi::Env;
use napi::bindgen_prelude::{Either, Object};
use napi_derive::napi;

use super::events::{CallEvents, LockListener};
use super::lock::NativeLock;
use super::options::{Checked, NativeLockOptions};
use super::scopes::scope;
use crate::addon::cancel::{self, CancelToken};
use crate::addon::error::Reply;
use crate::addon::promise::promise;
use crate::addon::runtime;

/// Acquires a lock. Acquires it synchronously if it is free, `inline` is set and no step can block.
#[napi(ts_return_type = "Reply<NativeLock> | Promise<Reply<NativeLock>>")]
pub fn acquire_lock<'env>(
    env: &'env Env,
    path: String,
    options: NativeLockOptions,
    listener: &LockListener,
    token: Option<&CancelToken>,
) -> napi::Result<Either<Reply<NativeLock>, Object<'env>>> {
    let scope = scope(env)?;
    let events = CallEvents::new(listener, options.call);
    let inline = options.inline;
    let first_try = runtime::guarded(|| {
        let checked = Checked::new(&path, options)?;
        if inline && let Some(acquired) = scope.try_acquire_inline(&checked.lock, &checked.request)? {
            return Ok(Either::A(NativeLock::new(acquired, &scope, &events)));
        }
        Ok(Either::B(checked))
    })?;
    let checked = match first_try.0 {
        Ok(Either::A(acquired)) => return Ok(Either::A(Reply(Ok(acquired)))),
        Ok(Either::B(checked)) => checked,
        Err(error) => return Ok(Either::A(Reply(Err(error)))),
    };
    let (settle, promise) = promise(env)?;
    let Checked {
        lock,
        request,
        deadline,
    } = checked;
    let (cancel, on_wait) = (cancel::of(token), events.on_wait());
    let of = Arc::clone(&scope);
    scope.acquire(lock, request, deadline, &cancel, Some(on_wait), move |acquired| {
        settle(acquired.map(|acquired| NativeLock::new(acquired, &of, &events)));
    });
    Ok(Either::B(promise))
}

/// Waits until the lock is free. Resolves with `true` if a dead holder had left it.
#[napi(ts_return_type = "Promise<Reply<boolean>>")]
pub fn wait_for_lock<'env>(
    env: &'env Env,
    path: String,
    options: NativeLockOptions,
    listener: &LockListener,
    token: Option<&CancelToken>,
) -> napi::Result<Object<'env>> {
    let (settle, promise) = promise(env)?;
    let scope = scope(env)?;
    let events = CallEvents::new(listener, options.call);
    match Checked::new(&path, options) {
        Ok(checked) => {
            let Checked {
                lock,
                request,
                deadline,
            } = checked;
            let (cancel, on_wait) = (cancel::of(token), events.on_wait());
            scope.wait_until_vacant(lock, request, deadline, &cancel, Some(on_wait), settle);
        }
        Err(error) => settle(Err(error)),
    }
    Ok(promise)
}
