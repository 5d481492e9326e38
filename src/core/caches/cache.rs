//! An opened cache: its store, its signing secret, and the lookup of a key.

use std::sync::Arc;

use tokio::sync::OnceCell;

use super::background::Background;
use super::conditions::Conditions;
use super::key::Key;
use super::pointer::{MAX_POINTER_BYTES, Pointer};
use super::store::{self, CallContext, Location, ObjectMeta, Store, StoreResult};
use crate::core::error::Result;
use crate::core::failure::{Cause, Failure, Stage};

/// An opened cache. Clones share everything.
#[derive(Clone)]
pub struct Cache {
    pub(super) store: Option<Arc<dyn Store>>,
    pub(super) secret: Option<Arc<[u8]>>,
    pub(super) read_only: bool,
    pub(super) conditions: Conditions,
    /// Whether the store guarantees the size of an object. A file in a folder store may be truncated.
    pub(super) declares_sizes: bool,
    /// Whether the store honours conditions, once that is known.
    pub(super) honours_conditions: Arc<OnceCell<bool>>,
    pub(super) background: Background,
}

/// What a key currently refers to.
pub(super) enum KeyTarget {
    /// A pointer, and the version of its object.
    Pointer(Box<Pointer>, String),
    /// A single object.
    Object(ObjectMeta),
}

impl Cache {
    /// Opens a cache. With `None`, the cache is disabled and all its calls end as `disabled`. Makes no I/O.
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
            background: Background::default(),
        })
    }

    /// Waits up to 5 s for what earlier calls do after they have returned: writing tree manifests and removing the trees
    /// that they replaced.
    pub async fn wait_for_background(&self) {
        self.background.wait_until_done().await;
    }

    /// Finds what a key currently refers to, and checks its pointer.
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

    /// Like [`look_up`](Self::look_up). In addition, the failure carries the version of a pointer that exists but is
    /// not usable, so that a snapshot can replace it.
    pub(super) async fn find(
        &self,
        store: &dyn Store,
        key: &Key,
        context: &Arc<CallContext>,
    ) -> std::result::Result<KeyTarget, (Failure, Option<String>)> {
        if key.single_object().is_some() {
            if self.secret.is_some() {
                let failure = Failure::refused(
                    "a key that is a single object cannot be signed. With hmacKey, use a key without a file extension such as .tar.zst",
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

    /// Whether writes of this key are conditional. A small object is written once to find out whether the store honours
    /// conditions. Fails if the caller requires conditions and the store does not honour them.
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
            "the store does not honour conditional writes (If-Match, If-None-Match), and options.conditions is \
             'required'. Use another store, or 'auto' to write without conditions",
        ))
    }
}

/// Like `stat`, but a failure names the error, such as `NoSuchBucket`. The response to a HEAD request has no body that
/// names it.
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

/// Failure of a lookup in the store.
fn in_lookup(failure: Failure) -> (Failure, Option<String>) {
    (store::during(failure, Stage::Lookup), None)
}
