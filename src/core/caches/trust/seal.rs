//! Signs and verifies the pointers of a cache.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::keys::{PublicKey, SigningKey};
use super::level::Level;
use crate::core::caches::key::Key;
use crate::core::caches::pointer::{MAX_POINTER_BYTES, Pointer, VERSION, hex, unhex};
use crate::core::failure::{Cause, Failure, Result};
use crate::core::sys::fault;

/// Maximum size of a signed pointer in bytes: a pointer as a JSON string, and a signature.
const MAX_SIGNED_BYTES: usize = 2 * MAX_POINTER_BYTES;
/// First line of what a signature covers.
const PURPOSE: &str = "warmswap-trust-1";
/// Version of a signed pointer. Versions of warmswap without trust levels refuse it, and do not replace it.
const SIGNED_VERSION: u32 = 2;

/// How the pointers of a cache are signed and verified.
#[derive(Clone)]
pub enum Seal {
    /// They are not.
    Open,
    /// With a secret that readers and writers share.
    Hmac(Arc<[u8]>),
    /// With the key pair of a trust level.
    Level(Arc<LevelSeal>),
}

/// Keys of one trust level.
pub struct LevelSeal {
    pub(super) level: Level,
    /// Private key, if this process may write to the level.
    pub(super) signer: Option<SigningKey>,
    /// A signature of one of them is accepted.
    pub(super) trusted: Vec<PublicKey>,
}

/// What a pointer is used for. A signature for one use is not valid for another.
#[derive(Clone, Copy)]
pub(in crate::core::caches) enum Scope<'a> {
    /// The current generation of a key.
    Current,
    /// The result of `ensure` for this fingerprint.
    Result(&'a str),
}

/// A pointer in its stored form.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
pub(in crate::core::caches) enum StoredPointer {
    /// Without a level's signature. It can have one with a shared secret.
    Plain(Box<Pointer>),
    /// Signed by a level.
    Signed(SignedPointer),
}

/// A pointer that a level has signed.
#[derive(Serialize, Deserialize)]
pub(in crate::core::caches) struct SignedPointer {
    v: u32,
    /// JSON of the pointer. The signature covers exactly this text.
    pointer: String,
    /// Ed25519 signature, in hexadecimal.
    signature: String,
}

impl Seal {
    /// Seal with a shared secret, if there is one.
    pub fn hmac(secret: Option<Vec<u8>>) -> Self {
        secret.map_or(Self::Open, |secret| Self::Hmac(Arc::from(secret)))
    }

    /// Name of the option that the caller has set to sign pointers.
    pub(in crate::core::caches) fn option(&self) -> Option<&'static str> {
        match self {
            Self::Open => None,
            Self::Hmac(_) => Some("hmacKey"),
            Self::Level(_) => Some("trust"),
        }
    }

    /// Largest pointer that is read, in bytes.
    pub(in crate::core::caches) fn max_bytes(&self) -> usize {
        match self {
            Self::Open | Self::Hmac(_) => MAX_POINTER_BYTES,
            Self::Level(_) => MAX_SIGNED_BYTES,
        }
    }

    /// Bytes of `current.json`.
    pub(in crate::core::caches) fn to_bytes(&self, pointer: &Pointer, key: &Key) -> Vec<u8> {
        serde_json::to_vec(&self.sign(pointer, key, Scope::Current)).unwrap_or_default()
    }

    /// Parses and verifies `current.json`.
    pub(in crate::core::caches) fn read(&self, bytes: &[u8], key: &Key) -> Result<Pointer> {
        let Self::Level(seal) = self else {
            return Pointer::read(bytes, key, self.secret());
        };
        if bytes.len() > MAX_SIGNED_BYTES {
            return Err(Failure::corrupt(format!(
                "the pointer has more than {MAX_SIGNED_BYTES} bytes"
            )));
        }
        // An error of serde_json names only line and column, never the content.
        let stored = serde_json::from_slice(bytes).map_err(|error| match version_of(bytes) {
            Some(v) if v > SIGNED_VERSION => newer(v),
            _ => Failure::corrupt(format!(
                "the pointer is not valid JSON of the expected form: {error}"
            )),
        })?;
        seal.verify(stored, key, Scope::Current)
    }

    /// The stored form of a pointer.
    pub(in crate::core::caches) fn sign(
        &self,
        pointer: &Pointer,
        key: &Key,
        scope: Scope<'_>,
    ) -> StoredPointer {
        match self {
            Self::Open | Self::Hmac(_) => StoredPointer::Plain(Box::new(pointer.signed(key, self.secret()))),
            Self::Level(seal) => seal.sign(pointer, key, scope),
        }
    }

    /// Verifies a pointer that is part of another object.
    pub(in crate::core::caches) fn verify(
        &self,
        stored: StoredPointer,
        key: &Key,
        scope: Scope<'_>,
    ) -> Result<Pointer> {
        match (self, stored) {
            (Self::Level(seal), stored) => seal.verify(stored, key, scope),
            (Self::Open | Self::Hmac(_), StoredPointer::Plain(pointer)) => {
                pointer.checked(key, self.secret())
            }
            (Self::Open | Self::Hmac(_), StoredPointer::Signed(_)) => Err(Failure::new(
                Cause::Incompatible,
                "the pointer is signed for a trust level. Open the cache with options.trust",
            )),
        }
    }

    fn secret(&self) -> Option<&[u8]> {
        match self {
            Self::Hmac(secret) => Some(secret),
            Self::Open | Self::Level(_) => None,
        }
    }
}

impl LevelSeal {
    fn sign(&self, pointer: &Pointer, key: &Key, scope: Scope<'_>) -> StoredPointer {
        let Some(signer) = &self.signer else {
            // A cache without a private key is read-only. Readers refuse this.
            return StoredPointer::Plain(Box::new(pointer.clone()));
        };
        let text = serde_json::to_string(pointer).unwrap_or_default();
        let signature = signer.sign(&self.message(key, scope, &text));
        StoredPointer::Signed(SignedPointer {
            v: SIGNED_VERSION,
            pointer: text,
            signature: hex(&signature),
        })
    }

    /// Checks the signature before anything else is read from the pointer.
    fn verify(&self, stored: StoredPointer, key: &Key, scope: Scope<'_>) -> Result<Pointer> {
        let signed = match stored {
            StoredPointer::Signed(signed) => signed,
            StoredPointer::Plain(pointer) if fault::is_seeded("trust-unsigned") => {
                return pointer.checked(key, None);
            }
            StoredPointer::Plain(_) => return Err(self.refused(key, "it is not signed")),
        };
        if signed.v != SIGNED_VERSION {
            return Err(newer(signed.v));
        }
        let signature =
            unhex(&signed.signature).ok_or_else(|| self.refused(key, "its signature is not hexadecimal"))?;
        let message = self.message(key, scope, &signed.pointer);
        let is_trusted = self
            .trusted
            .iter()
            .any(|each| each.verifies(&message, &signature));
        if !is_trusted && !fault::is_seeded("trust-any-key") {
            return Err(self.refused(
                key,
                "its signature does not match this level, this key, this use and the trusted public keys",
            ));
        }
        Pointer::read(signed.pointer.as_bytes(), key, None)
    }

    /// What a signature covers. No level, key or scope contains a line feed.
    fn message(&self, key: &Key, scope: Scope<'_>, pointer: &str) -> Vec<u8> {
        let covered = |seeded_bug: &str, part: String| {
            if fault::is_seeded(seeded_bug) {
                String::new()
            } else {
                part
            }
        };
        let level = covered("trust-level-uncovered", self.level.as_str().to_owned());
        let key = covered("trust-key-uncovered", key.as_str().to_owned());
        let scope = covered(
            "trust-scope-uncovered",
            match scope {
                Scope::Current => "current".to_owned(),
                Scope::Result(fingerprint) => {
                    format!("ensure {}", blake3::hash(fingerprint.as_bytes()).to_hex())
                }
            },
        );
        format!("{PURPOSE}\n{level}\n{key}\n{scope}\n{pointer}").into_bytes()
    }

    fn refused(&self, key: &Key, why: &str) -> Failure {
        let (key, level) = (key.as_str(), self.level.as_str());
        Failure::refused(format!(
            "the pointer of '{key}' at trust level '{level}' is refused: {why}. A writer without the private key of this \
             level has written it, or the key pair was changed. Check the policy of the store, then remove the key with \
             a process of level '{level}'"
        ))
    }
}

fn version_of(bytes: &[u8]) -> Option<u32> {
    #[derive(Deserialize)]
    struct Versioned {
        v: u32,
    }
    let versioned: Versioned = serde_json::from_slice(bytes).ok()?;
    Some(versioned.v)
}

fn newer(version: u32) -> Failure {
    Failure::new(
        Cause::Incompatible,
        format!(
            "the pointer has layout version {version}. This version of warmswap supports versions {VERSION} and {SIGNED_VERSION}"
        ),
    )
}
