//! An opened cache: a store, what signs, and how a key is looked up.

use std::sync::Arc;

use tokio::sync::OnceCell;

use super::conditions::Conditions;
use super::key::Key;
use super::pointer::{MAX_POINTER_BYTES, Pointer};
use super::store::{self, CallContext, Location, ObjectMeta, Store, StoreResult};
use crate::core::error::Result;
use crate::core::failure::{Cause, Failure, Stage};

/// An opened cache; clones share everything.
#[derive(Clone)]
pub struct Cache {
    pub(super) store: Option<Arc<dyn Store>>,
    pub(super) secret: Option<Arc<[u8]>>,
    pub(super) read_only: bool,
    pub(super) conditions: Conditions,
    /// Whether the size of an object was fixed when it was stored. A file in a folder can be one that was cut off.
    pub(super) declares_sizes: bool,
    /// Whether the store honours conditions, once that is known.
    pub(super) honours_conditions: Arc<OnceCell<bool>>,
}

/// What a key means now.
pub(super) enum KeyTarget {
    /// A pointer and the version of its object.
    Pointer(Box<Pointer>, String),
    /// One object.
    Object(ObjectMeta),
}

impl Cache {
    /// Opens a cache; `None` gives one whose calls all end as disabled. Does no I/O.
    pub fn open(
        location: Option<&Location>,
        secret: Option<Vec<u8>>,
        read_only: bool,
        conditions: Conditions,
    ) -> Result<Self> {
        Ok(Self {
            store: location.map(store::open).transpose()?,
            secret: secret.map(Arc::from),
            read_only,
            conditions,
            declares_sizes: !matches!(location, Some(Location::File(_))),
            honours_conditions: Arc::default(),
        })
    }

    /// What a key means now, its pointer checked.
    pub(super) async fn look_up(
        &self,
        store: &dyn Store,
        key: &Key,
        context: &Arc<CallContext>,
    ) -> StoreResult<KeyTarget> {
        self.find(store, key, context)
            .await
            .map_err(|(failure, _)| failure)
    }

    /// As [`look_up`](Self::look_up), but the failure also has the version of a pointer that exists and is not usable, so
    /// that a snapshot can replace it.
    pub(super) async fn find(
        &self,
        store: &dyn Store,
        key: &Key,
        context: &Arc<CallContext>,
    ) -> std::result::Result<KeyTarget, (Failure, Option<String>)> {
        if key.single_object().is_some() {
            if self.secret.is_some() {
                let failure = Failure::refused(
                    "a key that is one object carries no signature; with hmacKey use a key without such an ending",
                );
                return Err((failure.during(Stage::Lookup), None));
            }
            let object = stat_with_reason(store, key.as_str(), context).await;
            return object.map(KeyTarget::Object).map_err(in_lookup);
        }
        let read = store::read_small(store, &key.pointer(), MAX_POINTER_BYTES, context).await;
        let (bytes, etag) = read.map_err(in_lookup)?;
        match Pointer::read(&bytes, key, self.secret.as_deref()) {
            Ok(pointer) => Ok(KeyTarget::Pointer(Box::new(pointer), etag)),
            Err(failure) => Err((failure.during(Stage::Lookup), Some(etag))),
        }
    }

    /// Whether writes of this key are conditional: the store rejects a write whose condition is false, which is found
    /// out once with a small object. Fails if the caller requires conditions that the store does not honour.
    pub(super) async fn honours_conditions(
        &self,
        store: &dyn Store,
        key: &Key,
        context: &Arc<CallContext>,
    ) -> StoreResult<bool> {
        if self.conditions == Conditions::Off {
            return Ok(false);
        }
        if !store.conditions_are_uncertain() {
            return Ok(true);
        }
        let found = self
            .honours_conditions
            .get_or_try_init(|| super::conditions::honours_conditions(store, key, context))
            .await?;
        self.accept_conditions(*found)
    }

    /// Fails if conditions are required and the store does not honour them.
    pub(super) fn accept_conditions(&self, are_honoured: bool) -> StoreResult<bool> {
        if are_honoured || self.conditions != Conditions::Required {
            return Ok(are_honoured);
        }
        Err(Failure::new(
            Cause::Unguarded,
            "the store does not honour conditional writes (If-Match, If-None-Match), and the option conditions is \
             'required': use another store, or 'auto' to write without conditions",
        ))
    }
}

/// As `stat`, but a failure has the name of the error, such as `NoSuchBucket`: the answer to a HEAD has no body for it.
async fn stat_with_reason(
    store: &dyn Store,
    path: &str,
    context: &Arc<CallContext>,
) -> StoreResult<ObjectMeta> {
    match store.stat(path, context).await {
        Err(failure)
            if matches!(
                failure.cause,
                Cause::NotFound | Cause::Denied | Cause::CredentialsRefused | Cause::Misconfigured
            ) =>
        {
            match store.stream(path, None, context).await {
                Err(reason) => Err(reason),
                Ok(_) if failure.cause == Cause::NotFound => store.stat(path, context).await,
                Ok(_) => Err(failure),
            }
        }
        known => known,
    }
}

/// The failure of a look-up in the store.
fn in_lookup(failure: Failure) -> (Failure, Option<String>) {
    (store::during(failure, Stage::Lookup), None)
}
