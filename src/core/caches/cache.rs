//! An opened cache: a store, what signs, and how a key is looked up.

use std::sync::Arc;

use tokio::sync::OnceCell;

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
    pub fn open(location: Option<&Location>, secret: Option<Vec<u8>>, read_only: bool) -> Result<Self> {
        Ok(Self {
            store: location.map(store::open).transpose()?,
            secret: secret.map(Arc::from),
            read_only,
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
            let object = store.stat(key.as_str(), context).await;
            return object.map(KeyTarget::Object).map_err(explain);
        }
        let read = store::read_small(store, &key.pointer(), MAX_POINTER_BYTES, context).await;
        let (bytes, etag) = read.map_err(explain)?;
        match Pointer::read(&bytes, key, self.secret.as_deref()) {
            Ok(pointer) => Ok(KeyTarget::Pointer(Box::new(pointer), etag)),
            Err(failure) => Err((failure.during(Stage::Lookup), Some(etag))),
        }
    }

    /// Whether the store tells a false condition; found out once with a small object.
    pub(super) async fn honours_conditions(
        &self,
        store: &dyn Store,
        key: &Key,
        context: &Arc<CallContext>,
    ) -> StoreResult<bool> {
        if !store.conditions_are_uncertain() {
            return Ok(true);
        }
        let found = self
            .honours_conditions
            .get_or_try_init(|| super::conditions::honours_conditions(store, key, context))
            .await?;
        Ok(*found)
    }
}

/// The failure of a look-up in the store.
fn explain(mut failure: Failure) -> (Failure, Option<String>) {
    if failure.cause == Cause::Denied {
        let hint = "; a missing object is answered like this too where s3:ListBucket is not granted";
        failure.error.message.push_str(hint);
    }
    (store::during(failure, Stage::Lookup), None)
}
