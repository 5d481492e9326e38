//! JavaScript functions that native threads call while their environment exists.
//!
//! A `ThreadsafeFunction` must not be dropped on another thread while its environment ends. napi-rs 3.16 releases it
//! after the last reference is gone, and the finalizer that Node runs at that time finds no reference to mark as
//! aborted. The release then locks a mutex that Node has freed, and libuv aborts without a message (`uv_mutex_lock`).
//! Each environment therefore owns its functions, behind a lock that every call, every release and the clean-up hook
//! acquire. Node finalizes only after all clean-up hooks, and by then the environment owns no function.

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

// Weak: a listener does not keep the process alive.
type Callable<T> = ThreadsafeFunction<T, (), T, Status, false, true>;

/// A JavaScript function with one argument that any thread may call and drop. It does not keep the process alive.
/// Calling it after its environment has ended does nothing.
pub struct Listener<T: 'static + JsValuesTupleIntoVec> {
    listeners: Arc<Listeners>,
    key: u64,
    argument: PhantomData<fn(T)>,
}

impl<T: 'static + JsValuesTupleIntoVec> Listener<T> {
    /// Queues a call and returns immediately.
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
        // SAFETY: the caller guarantees that environment and value are valid.
        let callable = unsafe { Callable::<T>::from_napi_value(env, value) }?;
        let key = listeners.callables().own(Box::new(callable));
        Ok(Self {
            listeners,
            key,
            argument: PhantomData,
        })
    }
}

/// Functions that one environment owns.
#[derive(Default)]
struct Listeners(Mutex<Callables>);

impl Listeners {
    /// Releases all functions, under the lock and on the environment's own thread. No other thread uses Node for this
    /// environment at that time.
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
