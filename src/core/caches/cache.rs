//! An opened cache: its store, how its pointers are signed, and the lookup of a key.

use std::sync::Arc;

use tokio::sync::OnceCell;

use super::background::Background;
use super::conditions::Conditions;
use super::key::Key;
use super::pointer::Pointer;
use super::store::{self, CallContext, Location, ObjectMeta, Prefixed, Store, StoreResult};
use super::trust::{LevelAccess, Seal, Trust};
use crate::core::error::Result;
use crate::core::failure::{Cause, Failure, Stage};

/// An opened cache. Clones share everything.
#[derive(Clone)]
pub struct Cache {
    /// Objects of the cache. With trust levels, those of one level: of the own one, or of the first one that is read.
    pub(super) store: Option<Arc<dyn Store>>,
    pub(super) seal: Seal,
    /// Views of this cache, one for each trust level that it reads, in order. Empty without trust levels.
    levels: Arc<[Cache]>,
    /// Trust level of this view.
    level: Option<LevelAccess>,
    pub(super) read_only: bool,
    /// Why it is read-only, if trust levels are the reason.
    read_only_reason: Option<Arc<str>>,
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
            seal: Seal::hmac(secret),
            levels: Arc::default(),
            level: None,
            read_only,
            read_only_reason: None,
            conditions,
            declares_sizes: !matches!(location, Some(Location::File(_))),
            honours_conditions: Arc::default(),
            background: Background::default(),
        })
    }

    /// The same cache with trust levels. It writes to its own level only, and reads what the levels of `trust` have
    /// signed.
    #[must_use]
    pub fn trusting(mut self, trust: Trust) -> Self {
        let Trust { reads, read_only } = trust;
        self.read_only |= read_only.is_some();
        self.read_only_reason = read_only.map(Arc::from);
        let base = self.store.take();
        let views: Vec<Self> = reads
            .into_iter()
            .map(|access| {
                let folder = access.level.folder();
                let view = |store: &Arc<dyn Store>| {
                    Arc::new(Prefixed::new(Arc::clone(store), folder)) as Arc<dyn Store>
                };
                Self {
                    store: base.as_ref().map(view),
                    seal: access.seal.clone(),
                    level: Some(access),
                    ..self.clone()
                }
            })
            .collect();
        let home = views.iter().find(|view| view.is_home()).or_else(|| views.first());
        let home = home.cloned().unwrap_or(self);
        Self {
            levels: Arc::from(views),
            ..home
        }
    }

    /// The places to read, in order: the cache itself, or one view for each trust level.
    pub(super) fn places(&self) -> Vec<Self> {
        if self.levels.is_empty() {
            return vec![self.clone()];
        }
        self.levels.to_vec()
    }

    /// Whether writes of this cache go to where this view reads.
    pub(super) fn is_home(&self) -> bool {
        self.level.as_ref().is_none_or(|level| level.is_own)
    }

    /// Name of the trust level of this view.
    pub(super) fn level_name(&self) -> Option<String> {
        let level = self.level.as_ref();
        level.map(|access| access.level.as_str().to_owned())
    }

    /// Why nothing is written to a read-only cache.
    pub(super) fn read_only_reason(&self) -> String {
        let reason = self.read_only_reason.as_deref();
        reason.unwrap_or("this cache is read-only").to_owned()
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
            if let Some(option) = self.seal.option() {
                let failure = Failure::refused(format!(
                    "a key that is a single object cannot be signed. With {option}, use a key without a file extension such as .tar.zst",
                ));
                return Err((failure.during(Stage::Lookup), None));
            }
            let object = stat_with_reason(store, key.as_str(), context).await;
            return object.map(KeyTarget::Object).map_err(in_lookup);
        }
        let read = store::read_small(store, &key.pointer(), self.seal.max_bytes(), context).await;
        let (bytes, etag) = read.map_err(in_lookup)?;
        match self.seal.read(&bytes, key) {
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
