//! An opened cache: a store, what signs, and how a key is looked up.

use std::sync::Arc;

use tokio::sync::OnceCell;

use super::key::Key;
use super::outcome::{RestoreOutcome, Stage};
use super::pointer::{MAX_POINTER_BYTES, Pointer, Refusal};
use super::store::{self, Answer, Failure, Kind, Listed, Location, Meter, Store};
use crate::core::error::Result;

/// An opened cache; clones share everything.
#[derive(Clone)]
pub struct Cache {
    pub(super) store: Option<Arc<dyn Store>>,
    pub(super) secret: Option<Arc<[u8]>>,
    pub(super) read_only: bool,
    /// Whether the store honours conditions, once that is known.
    pub(super) honours_conditions: Arc<OnceCell<bool>>,
}

/// What a key means now.
pub(super) enum Found {
    /// A pointer and the version of its object.
    Pointer(Box<Pointer>, String),
    /// One object.
    Single(Listed),
}

/// Why a key could not be looked up.
pub(super) struct NotFound {
    pub(super) outcome: RestoreOutcome,
    pub(super) reason: String,
    /// The version of a pointer that is there but not usable, so that a snapshot can replace it.
    pub(super) etag: Option<String>,
    /// Where it failed.
    pub(super) stage: Stage,
}

impl From<Failure> for NotFound {
    fn from(failure: Failure) -> Self {
        let reason = match failure.kind {
            Kind::Denied => format!(
                "{}; a missing object is answered like this too where s3:ListBucket is not granted",
                failure.message
            ),
            _ => failure.message.clone(),
        };
        Self {
            outcome: RestoreOutcome::from(&failure),
            reason,
            etag: None,
            stage: match failure.kind {
                Kind::CredentialsMissing | Kind::CredentialsTimeout => Stage::Credentials,
                _ => Stage::Lookup,
            },
        }
    }
}

impl Cache {
    /// Opens a cache; `None` gives one whose calls all end as disabled. Does no I/O.
    pub fn open(location: Option<&Location>, secret: Option<Vec<u8>>, read_only: bool) -> Result<Self> {
        Ok(Self {
            store: location.map(store::open).transpose()?,
            secret: secret.map(Arc::from),
            read_only,
            honours_conditions: Arc::default(),
        })
    }

    /// What a key means now, its pointer checked.
    pub(super) async fn look_up(
        &self,
        store: &dyn Store,
        key: &Key,
        meter: &Arc<Meter>,
    ) -> std::result::Result<Found, NotFound> {
        if key.single_object().is_some() {
            if self.secret.is_some() {
                return Err(NotFound {
                    outcome: RestoreOutcome::Refused,
                    reason: "a key that is one object carries no signature; with hmacKey use a key without such an ending".to_owned(),
                    etag: None,
                    stage: Stage::Lookup,
                });
            }
            return Ok(Found::Single(store.stat(key.as_str(), meter).await?));
        }
        let (bytes, etag) = store::read_small(store, &key.pointer(), MAX_POINTER_BYTES, meter).await?;
        match Pointer::read(&bytes, key, self.secret.as_deref()) {
            Ok(pointer) => Ok(Found::Pointer(Box::new(pointer), etag)),
            Err(refusal) => {
                let (outcome, reason) = match refusal {
                    Refusal::Malformed(reason) => (RestoreOutcome::Corrupt, reason),
                    Refusal::Version(version) => (
                        RestoreOutcome::Incompatible,
                        format!(
                            "the pointer has layout {version}, this version reads {}",
                            super::pointer::VERSION
                        ),
                    ),
                    Refusal::Signature(reason) => (RestoreOutcome::Refused, reason.to_owned()),
                };
                Err(NotFound {
                    outcome,
                    reason,
                    etag: Some(etag),
                    stage: Stage::Lookup,
                })
            }
        }
    }

    /// Whether the store tells a false condition; found out once with a small object.
    pub(super) async fn honours_conditions(
        &self,
        store: &dyn Store,
        key: &Key,
        meter: &Arc<Meter>,
    ) -> Answer<bool> {
        if !store.conditions_are_uncertain() {
            return Ok(true);
        }
        let found = self
            .honours_conditions
            .get_or_try_init(|| super::conditions::honours_conditions(store, key, meter))
            .await?;
        Ok(*found)
    }
}
