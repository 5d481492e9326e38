//! Trust levels of a cache.

use napi::bindgen_prelude::Uint8Array;
use napi_derive::napi;

use crate::addon::error::Reply;
use crate::addon::runtime;
use crate::core::caches::{Trust, TrustOptions};
use crate::core::error::Result;

/// Public keys of one trust level.
#[napi(object)]
pub struct NativeTrustedLevel {
    /// Name of the level.
    pub level: String,
    /// Ed25519 public keys, 32 bytes each.
    pub keys: Vec<Uint8Array>,
}

/// Trust levels of a cache.
#[napi(object)]
pub struct NativeTrust {
    /// Level of this process.
    pub level: Option<String>,
    /// Private key of this level: PKCS#8 in DER.
    pub sign_with: Option<Uint8Array>,
    /// Public keys of each level.
    pub trusted_keys: Vec<NativeTrustedLevel>,
    /// Levels to read, in this order. By default all levels with public keys.
    pub reads_from: Option<Vec<String>>,
}

impl NativeTrust {
    pub(super) fn read(self) -> Result<Trust> {
        let keys_of = |of: NativeTrustedLevel| {
            let keys = of.keys.iter().map(|key| key.to_vec()).collect();
            (of.level, keys)
        };
        let options = TrustOptions {
            level: self.level,
            sign_with: self.sign_with.map(|der| der.to_vec()),
            trusted_keys: self.trusted_keys.into_iter().map(keys_of).collect(),
            reads_from: self.reads_from,
        };
        options.resolve()
    }
}

/// What a cache with these trust levels reads and writes.
#[napi(object)]
pub struct NativeTrustPlan {
    /// Why nothing is written. Absent if the own level is written.
    pub read_only: Option<String>,
    /// Levels that are read, in order, with the keys that are accepted.
    pub reads: Vec<NativeTrustedLevel>,
}

/// Checks trust levels, and resolves their defaults.
#[napi(ts_return_type = "Reply<NativeTrustPlan>")]
pub fn plan_trust(trust: NativeTrust) -> napi::Result<Reply<NativeTrustPlan>> {
    runtime::guarded(|| {
        let Trust { reads, read_only } = trust.read()?;
        let reads = reads.iter().map(|access| NativeTrustedLevel {
            level: access.level.as_str().to_owned(),
            keys: access.trusted_keys().into_iter().map(Uint8Array::from).collect(),
        });
        Ok(NativeTrustPlan {
            read_only,
            reads: reads.collect(),
        })
    })
}
