//! Locks: conversion only. A worker thread that ends lets its locks go and drops its waits.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use napi::Env;
use napi::bindgen_prelude::{Either, Object, PromiseRaw, ToNapiValue};
use napi_derive::napi;
use serde_json::Value;

use crate::core::error::{Code, Error, Result};
use crate::core::locks::{
    self, Acquired, Failure, Held, LockPath, ModeChoice, OnWait, Queue, Release, Request, Wait, WaitInfo,
};
use crate::core::sys::cancel::Cancel;
use crate::core::sys::deadline::Deadline;
use crate::core::sys::workers;

use crate::addon::cancel::{self, CancelToken};
use crate::addon::environment::{self, EnvironmentId};
use crate::addon::error::Reply;
use crate::addon::listener::Listener;
use crate::addon::number::{count, deadline, duration, number};
use crate::addon::promise::promise;
use crate::addon::runtime;

/// How a lock is to be taken.
#[napi(object)]
pub struct NativeLockOptions {
    /// Decided by filesystem, or asked for.
    #[napi(ts_type = "'auto' | 'kernel' | 'lease'")]
    pub mode: String,
    /// Milliseconds, 0 is one try.
    pub timeout_ms: f64,
    /// Milliseconds.
    pub lease_ttl_ms: f64,
    /// Milliseconds.
    pub foreign_stale_ms: f64,
    /// JSON.
    pub metadata: Option<String>,
    /// Whether children keep the lock.
    pub cover_children: bool,
    /// `worker_threads.threadId`.
    pub thread_id: f64,
    /// Names the call in its events.
    pub call: f64,
    /// A free lock in memory may be taken without a turn of the event loop.
    pub at_once: bool,
}

/// What happens to a wait or to a lock.
#[napi(object)]
pub struct NativeLockEvent {
    /// Which call it is of.
    pub call: f64,
    /// `lost` comes once, and nothing after it.
    #[napi(ts_type = "'wait' | 'lost'")]
    pub kind: String,
    /// Milliseconds since the call.
    pub waited_ms: f64,
    /// `Holder` as JSON.
    pub holder: Option<String>,
    /// Of the holder.
    #[napi(ts_type = "'alive' | 'dead' | 'unknown'")]
    pub liveness: String,
    /// Why it was lost.
    pub reason: Option<String>,
}

/// What stands at a lock's path.
#[napi(object)]
pub struct NativeInspection {
    /// Alive or unknown.
    pub held: bool,
    /// `Holder` as JSON.
    pub holder: Option<String>,
    /// Of the holder.
    #[napi(ts_type = "'alive' | 'dead' | 'unknown'")]
    pub liveness: Option<String>,
    /// Milliseconds since it was taken.
    pub age_ms: Option<f64>,
    /// Why the path cannot be locked, or why what is there is never taken over.
    pub warning: Option<String>,
}

/// Hears what happens to the waits and locks of many calls.
#[napi]
pub struct LockListener {
    listener: Arc<Listener<NativeLockEvent>>,
}

#[napi]
impl LockListener {
    /// Calls a function with each event.
    #[napi(constructor)]
    pub fn new(
        #[napi(ts_arg_type = "(event: NativeLockEvent) => void")] listener: Listener<NativeLockEvent>,
    ) -> Self {
        Self {
            listener: Arc::new(listener),
        }
    }
}

/// What one environment holds and waits for; `None` once it has ended.
#[derive(Default)]
struct Owner(Mutex<Option<Holdings>>);

#[derive(Default)]
struct Holdings {
    held: HashMap<String, Arc<Held>>,
    waits: Vec<Cancel>,
}

static OWNERS: LazyLock<Mutex<HashMap<EnvironmentId, Arc<Owner>>>> = LazyLock::new(Mutex::default);

fn owner(env: &Env) -> napi::Result<Arc<Owner>> {
    let id = environment::id(env);
    let mut owners = OWNERS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(owner) = owners.get(&id) {
        return Ok(Arc::clone(owner));
    }
    let owner = Arc::new(Owner(Mutex::new(Some(Holdings::default()))));
    owners.insert(id, Arc::clone(&owner));
    drop(owners);
    environment::on_exit(env, end_owner)?;
    Ok(owner)
}

fn end_owner(id: EnvironmentId) {
    let owner = OWNERS.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
    let holdings = owner.and_then(|owner| owner.holdings().take());
    let Some(Holdings { held, waits }) = holdings else {
        return;
    };
    waits.iter().for_each(Cancel::cancel);
    for held in held.values() {
        held.leave();
    }
}

impl Owner {
    fn holdings(&self) -> MutexGuard<'_, Option<Holdings>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Cancels this wait when the environment ends.
    fn begin_wait(&self, cancel: &Cancel) {
        if let Some(holdings) = self.holdings().as_mut() {
            holdings.waits.push(cancel.clone());
        }
    }

    fn end_wait(&self, cancel: &Cancel) {
        if let Some(holdings) = self.holdings().as_mut() {
            holdings.waits.retain(|each| !each.is_same(cancel));
        }
    }

    /// Keeps the lock until it is released or the environment ends: a garbage collector must not decide.
    fn keep(&self, held: &Arc<Held>) -> Result<()> {
        match self.holdings().as_mut() {
            Some(holdings) => {
                holdings.held.insert(held.token().to_owned(), Arc::clone(held));
                Ok(())
            }
            None => Err(Error::new(
                Code::Closed,
                "the thread that asked for the lock has ended",
            )),
        }
    }

    fn forget(&self, held: &Held) {
        if let Some(holdings) = self.holdings().as_mut() {
            holdings.held.remove(held.token());
        }
    }
}

/// A lock that is held.
#[napi]
pub struct NativeLock {
    held: Arc<Held>,
    owner: Arc<Owner>,
    waited_since: Option<u64>,
}

type Promise<'env, T> = napi::Result<PromiseRaw<'env, Reply<T>>>;

/// Takes a lock: at once where it is free and nothing on the way waits.
#[napi(ts_return_type = "Reply<NativeLock> | Promise<Reply<NativeLock>>")]
pub fn acquire_lock<'env>(
    env: &'env Env,
    path: String,
    options: NativeLockOptions,
    listener: &LockListener,
    token: Option<&CancelToken>,
) -> napi::Result<Either<Reply<NativeLock>, Object<'env>>> {
    let call = Call::new(env, listener, options.call, token)?;
    let at_once = options.at_once;
    let first_try = runtime::guarded(|| {
        let (lock, request, deadline) = asked(&path, options)?;
        let taken = if at_once {
            call.take_now(&lock, &request)?
        } else {
            None
        };
        Ok(taken.map_or_else(|| Either::B((lock, request, deadline)), Either::A))
    })?;
    let (lock, request, deadline) = match first_try.0 {
        Ok(Either::A(taken)) => return Ok(Either::A(Reply(Ok(taken)))),
        Ok(Either::B(asked)) => asked,
        Err(error) => return Ok(Either::A(Reply(Err(error)))),
    };
    let (settle, promise) = promise(env)?;
    let ended = call.clone();
    let on_wait = call.wait_listener();
    let wait = Wait::for_lock(lock, request, deadline, Some(on_wait), move |acquired| {
        ended.end();
        settle(acquired.and_then(|acquired| ended.keep(acquired)));
    });
    call.begin(wait);
    Ok(Either::B(promise))
}

/// Waits until nobody holds a lock; `true` where a dead holder had left it.
#[napi(ts_return_type = "Promise<Reply<boolean>>")]
pub fn wait_for_lock<'env>(
    env: &'env Env,
    path: String,
    options: NativeLockOptions,
    listener: &LockListener,
    token: Option<&CancelToken>,
) -> napi::Result<Object<'env>> {
    let (settle, promise) = promise(env)?;
    let call = Call::new(env, listener, options.call, token)?;
    match asked(&path, options) {
        Ok((lock, request, deadline)) => {
            let ended = call.clone();
            let on_wait = call.wait_listener();
            call.begin(Wait::for_vacancy(
                lock,
                request,
                deadline,
                Some(on_wait),
                move |orphaned| {
                    ended.end();
                    settle(orphaned);
                },
            ));
        }
        Err(error) => settle(Err(error)),
    }
    Ok(promise)
}

/// One call that waits, for one environment.
#[derive(Clone)]
struct Call {
    owner: Arc<Owner>,
    cancel: Cancel,
    listener: Arc<Listener<NativeLockEvent>>,
    number: f64,
}

impl Call {
    fn new(
        env: &Env,
        listener: &LockListener,
        number: f64,
        token: Option<&CancelToken>,
    ) -> napi::Result<Self> {
        Ok(Self {
            owner: owner(env)?,
            cancel: cancel::of(token),
            listener: Arc::clone(&listener.listener),
            number,
        })
    }

    /// Waits until there is an answer, the token is raised or the environment ends.
    fn begin(self, wait: Wait) {
        self.owner.begin_wait(&self.cancel);
        let place = wait.place();
        self.cancel.on_raise(move || place.give_up());
        let (lock, mode) = wait.what();
        match Queue::known(&lock, mode) {
            Ok(Some(queue)) => queue.enter(wait),
            Ok(None) => Queue::find_apart(wait),
            Err(error) => wait.fail(error),
        }
    }

    fn take_now(&self, lock: &LockPath, request: &Request) -> Result<Option<NativeLock>> {
        let acquired = locks::take_now(lock, request)?;
        acquired.map(|acquired| self.keep(acquired)).transpose()
    }

    fn end(&self) {
        self.owner.end_wait(&self.cancel);
    }

    fn keep(&self, acquired: Acquired) -> Result<NativeLock> {
        let Acquired { held, waited_since } = acquired;
        self.owner.keep(&held)?;
        held.on_lost(self.lost_listener());
        Ok(NativeLock {
            held,
            owner: Arc::clone(&self.owner),
            waited_since,
        })
    }

    fn wait_listener(&self) -> OnWait {
        let (listener, call) = (Arc::clone(&self.listener), self.number);
        Box::new(move |info: WaitInfo| {
            listener.call(NativeLockEvent {
                call,
                kind: "wait".to_owned(),
                waited_ms: milliseconds(info.waited),
                holder: info.holder.as_ref().map(json),
                liveness: info.liveness.as_str().to_owned(),
                reason: None,
            });
        })
    }

    fn lost_listener(&self) -> Box<dyn FnOnce(&str) + Send> {
        let (listener, call) = (Arc::clone(&self.listener), self.number);
        Box::new(move |reason: &str| {
            listener.call(NativeLockEvent {
                call,
                kind: "lost".to_owned(),
                waited_ms: 0.0,
                holder: None,
                liveness: "unknown".to_owned(),
                reason: Some(reason.to_owned()),
            });
        })
    }
}

fn asked(path: &str, options: NativeLockOptions) -> Result<(LockPath, Request, Deadline)> {
    let deadline = deadline("timeoutMs", options.timeout_ms)?;
    Ok((LockPath::parse(path)?, request(options)?, deadline))
}

fn request(options: NativeLockOptions) -> Result<Request> {
    Ok(Request {
        mode: match options.mode.as_str() {
            "kernel" => ModeChoice::Kernel,
            "lease" => ModeChoice::Lease,
            _ => ModeChoice::Auto,
        },
        lease_ttl: duration("leaseTtlMs", options.lease_ttl_ms)?,
        foreign_stale: duration("foreignStaleMs", options.foreign_stale_ms)?,
        metadata: options.metadata.as_deref().map(parse_json).transpose()?,
        thread_id: u32::try_from(count("threadId", options.thread_id)?).unwrap_or(u32::MAX),
        covers_children: options.cover_children,
        ..Request::default()
    })
}

fn parse_json(text: &str) -> Result<Value> {
    serde_json::from_str(text).map_err(|error| Error::argument("metadata", error, "JSON"))
}

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

/// What a sweep found.
#[napi(object)]
pub struct NativeSwept {
    /// Paths that are gone.
    pub removed: Vec<String>,
    /// Lock directories whose holders are alive or unknown.
    pub held: Vec<String>,
}

/// Sweeps what killed processes left in a directory of locks.
#[napi(ts_return_type = "Promise<Reply<NativeSwept>>")]
pub fn sweep_locks<'env>(
    env: &'env Env,
    directory: String,
    timeout_ms: f64,
    token: Option<&CancelToken>,
) -> Promise<'env, NativeSwept> {
    let path = PathBuf::from(&directory);
    answered(env, path, timeout_ms, token, move || {
        let swept = locks::sweep(Path::new(&directory))?;
        let texts = |paths: Vec<PathBuf>| {
            paths
                .into_iter()
                .map(|path| path.to_string_lossy().into_owned())
                .collect()
        };
        Ok(NativeSwept {
            removed: texts(swept.removed),
            held: texts(swept.held),
        })
    })
}

/// Looks at a lock without taking it.
#[napi(ts_return_type = "Promise<Reply<NativeInspection>>")]
pub fn inspect_lock<'env>(
    env: &'env Env,
    path: String,
    timeout_ms: f64,
    token: Option<&CancelToken>,
) -> Promise<'env, NativeInspection> {
    answered(env, PathBuf::from(&path), timeout_ms, token, move || {
        let found = locks::inspect(&LockPath::parse(&path)?)?;
        Ok(NativeInspection {
            held: found.is_held,
            holder: found.holder.as_ref().map(json),
            liveness: found.liveness.map(|liveness| liveness.as_str().to_owned()),
            age_ms: found.age.map(milliseconds),
            warning: found.warning,
        })
    })
}

/// Runs work that waits only for the filesystem of `path`, and gives up at its time or when the token is raised.
fn answered<'env, T: ToNapiValue + Send + 'static>(
    env: &'env Env,
    path: PathBuf,
    timeout_ms: f64,
    token: Option<&CancelToken>,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Promise<'env, T> {
    let cancel = cancel::of(token);
    runtime::promised(env, async move {
        let deadline = deadline("options.timeoutMs", timeout_ms)?;
        workers::within(deadline, &cancel, &path, runtime::step(vec![path.clone()], work)).await
    })
}

/// Renames unless a later generation of the lock exists.
#[napi(ts_return_type = "Promise<Reply<void>>")]
pub fn publish_fenced(env: &Env, path: String, generation: f64, from: String, to: String) -> Promise<'_, ()> {
    let place = PathBuf::from(&path);
    runtime::blocking(env, &place, move || {
        let lock = LockPath::parse(&path)?;
        let generation = count("generation", generation)?;
        locks::publish_fenced(&lock, generation, Path::new(&from), Path::new(&to))
    })
}

#[napi]
impl NativeLock {
    /// The random name of this taking.
    #[napi(getter)]
    pub fn token(&self) -> String {
        self.held.token().to_owned()
    }

    /// The fencing token.
    #[napi(getter)]
    pub fn generation(&self) -> f64 {
        number(self.held.generation())
    }

    /// How it is kept.
    #[napi(getter, ts_return_type = "'kernel' | 'lease'")]
    pub fn mode(&self) -> String {
        self.held.mode().as_str().to_owned()
    }

    /// The dead holder that was followed: `Holder` as JSON.
    #[napi(getter)]
    pub fn took_over_from(&self) -> Option<String> {
        self.held.took_over_from().as_ref().map(json)
    }

    /// The generation that had the lock when the wait began.
    #[napi(getter)]
    pub fn waited_since(&self) -> Option<f64> {
        self.waited_since.map(number)
    }

    /// The last failed run: `{ generation, message }` as JSON.
    #[napi(getter)]
    pub fn failure(&self) -> Option<String> {
        self.held.inherited_failure().map(json)
    }

    /// Fails unless the lock is held.
    #[napi(ts_return_type = "Reply<void>")]
    pub fn assert_held(&self) -> napi::Result<Reply<()>> {
        runtime::guarded(|| self.held.assert_held())
    }

    /// Tells waiters what is being done.
    #[napi]
    pub fn progress(&self, phase: String) {
        self.held.progress(&phase);
    }

    /// Renames unless a later generation exists.
    #[napi(ts_return_type = "Promise<Reply<void>>")]
    pub fn publish<'env>(&self, env: &'env Env, from: String, to: String) -> Promise<'env, ()> {
        let held = Arc::clone(&self.held);
        let place = held.lock().directory().to_path_buf();
        runtime::blocking(env, &place, move || {
            held.publish_file(Path::new(&from), Path::new(&to))
        })
    }

    /// The descriptor that children keep the lock with.
    #[napi(ts_return_type = "Reply<number>")]
    pub fn child_fd(&self) -> napi::Result<Reply<i32>> {
        runtime::guarded(|| self.held.child_fd())
    }

    /// Gives the lock back; `false` where it was lost. With the message of a failed run for those who waited.
    #[napi(ts_return_type = "Reply<boolean>")]
    pub fn release(&self, failure: Option<String>) -> napi::Result<Reply<bool>> {
        runtime::guarded(|| {
            let failure = failure.map(|message| Failure {
                generation: self.held.generation(),
                message,
            });
            let release = self.held.release(failure);
            self.owner.forget(&self.held);
            Ok(release == Release::Released)
        })
    }
}
