//! JavaScript functions that our threads call while the environment that they belong to lives.
//!
//! A `ThreadsafeFunction` must not be dropped by another thread while its environment ends: napi-rs 3.16 releases
//! it after its last reference is gone, and the finalizer that Node runs meanwhile finds no reference any more
//! to mark as aborted. The release then locks a mutex that Node has freed, on which libuv aborts without a word
//! (`uv_mutex_lock`). So each environment owns its functions, behind a lock that every call, every release and
//! the clean-up hook take. Node finalizes only after all clean-up hooks, by when the environment owns none.

use std::any::Any;
use std::collections::HashMap;
use std::marker::PhantomData;
use std::sync::{Arc, MutexGuard};

use napi::bindgen_prelude::{FromNapiValue, JsValuesTupleIntoVec};
use napi::threadsafe_function::{ThreadsafeFunction, ThreadsafeFunctionCallMode};
use napi::{Env, Status, sys};

use crate::core::sys::fault;
use crate::core::sys::sync::Mutex;

use super::per_environment::PerEnvironment;

// Weak: no listener keeps the process alive.
type Callable<T> = ThreadsafeFunction<T, (), T, Status, false, true>;

/// A JavaScript function of one argument that any thread may call and drop. It does not keep the process alive,
/// and calling it does nothing once its environment has ended.
pub struct Listener<T: 'static + JsValuesTupleIntoVec> {
    listeners: Arc<Listeners>,
    key: u64,
    argument: PhantomData<fn(T)>,
}

impl<T: 'static + JsValuesTupleIntoVec> Listener<T> {
    /// Queues a call; returns at once.
    pub(crate) fn call(&self, argument: T) {
        if let Some(callable) = self.listeners.callables().owned.get(&self.key)
            && let Some(callable) = callable.downcast_ref::<Callable<T>>()
        {
            callable.call(argument, ThreadsafeFunctionCallMode::NonBlocking);
        }
    }
}

impl<T: 'static + JsValuesTupleIntoVec> Drop for Listener<T> {
    fn drop(&mut self) {
        let mut callables = self.listeners.callables();
        let released = callables.owned.remove(&self.key);
        if fault::is_seeded("listener-released-outside-the-lock") {
            drop(callables);
        }
        drop(released);
    }
}

impl<T: 'static + JsValuesTupleIntoVec> FromNapiValue for Listener<T> {
    unsafe fn from_napi_value(env: sys::napi_env, value: sys::napi_value) -> napi::Result<Self> {
        let listeners = LISTENERS.of(&Env::from_raw(env))?;
        // SAFETY: environment and value are the caller's, who vouches for them.
        let callable = unsafe { Callable::<T>::from_napi_value(env, value) }?;
        let key = listeners.callables().own(Box::new(callable));
        Ok(Self {
            listeners,
            key,
            argument: PhantomData,
        })
    }
}

/// What one environment owns.
#[derive(Default)]
struct Listeners(Mutex<Callables>);

impl Listeners {
    /// Releases everything under the lock and on the environment's own thread: no other thread is inside Node for it.
    fn release_all(&self) {
        if !fault::is_seeded("listener-released-outside-the-lock") {
            self.callables().owned.clear();
        }
    }

    fn callables(&self) -> MutexGuard<'_, Callables> {
        self.0.lock()
    }
}

#[derive(Default)]
struct Callables {
    owned: HashMap<u64, Box<dyn Any + Send>>,
    next_key: u64,
}

impl Callables {
    fn own(&mut self, callable: Box<dyn Any + Send>) -> u64 {
        let key = self.next_key;
        self.next_key += 1;
        self.owned.insert(key, callable);
        key
    }
}

static LISTENERS: PerEnvironment<Arc<Listeners>> =
    PerEnvironment::new(Arc::default, |listeners| listeners.release_all());
