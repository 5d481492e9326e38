//! Arguments of calls.

use std::path::PathBuf;
use std::time::Duration;

use napi::bindgen_prelude::Uint8Array;
use napi_derive::napi;

use crate::addon::cancel::{self, CancelToken};
use crate::addon::environment::EnvironmentId;
use crate::addon::number::{count, duration, timeout};
use crate::core::bundles::{CopyMethod, Durability, NO_BOUND, Options, Patience, PublishOptions, StageBase};
use crate::core::error::{Error, Result};

/// What a publish survives.
#[napi(string_enum = "lowercase")]
pub enum NativeDurability {
    /// A killed process.
    Process,
    /// Power loss too.
    Power,
}

/// How the contents of a directory become those of a stage.
#[napi(string_enum = "lowercase")]
pub enum NativeCopyMethod {
    /// Shared blocks where the filesystem has them.
    Clone,
    /// Bytes.
    Copy,
    /// Renames.
    Move,
}

/// Options of `openBundles`.
#[napi(object)]
pub struct NativeBundleOptions {
    /// What a publish survives.
    pub durability: NativeDurability,
    /// Generations beside the current one.
    pub keep: Option<f64>,
    /// Milliseconds.
    pub grace_ms: Option<f64>,
    /// Bytes; infinite removes the bound.
    pub max_bytes: Option<f64>,
    /// Milliseconds; infinite removes the bound.
    pub max_age_ms: Option<f64>,
    /// An absolute path.
    pub link: Option<String>,
    /// Whether a directory at `link` may be replaced.
    pub adopt: bool,
}

/// Options of `publish`.
#[napi(object)]
pub struct NativePublishOptions {
    /// Milliseconds.
    pub timeout_ms: f64,
    /// Paths that must be in the stage.
    pub require: Vec<String>,
    /// Publish only what differs.
    pub if_changed: bool,
    /// The number that must be current.
    pub expect: Option<f64>,
    /// What the stage was made from.
    pub fingerprint: Option<String>,
    /// JSON text.
    pub meta: Option<String>,
    /// Pin the result before anybody can collect it.
    pub pin: bool,
}

/// A file for a stage.
#[napi(object, object_to_js = false)]
pub struct NativeFile {
    /// Below the stage.
    pub path: String,
    /// Its bytes.
    pub contents: Uint8Array,
    /// Permission bits.
    pub mode: u32,
}

impl NativeBundleOptions {
    pub(super) fn into_core(self) -> Result<Options> {
        Ok(Options {
            durability: match self.durability {
                NativeDurability::Process => Durability::Process,
                NativeDurability::Power => Durability::Power,
            },
            keep: self.keep.map(|keep| count("keep", keep)).transpose()?,
            grace_ms: self
                .grace_ms
                .map(|grace| duration("graceMs", grace).map(milliseconds))
                .transpose()?,
            max_bytes: self
                .max_bytes
                .map(|bound| bound_of("maxBytes", bound))
                .transpose()?,
            max_age_ms: self
                .max_age_ms
                .map(|bound| bound_of("maxAgeMs", bound))
                .transpose()?,
            link: self.link.map(PathBuf::from),
            adopt: self.adopt,
        })
    }
}

impl NativePublishOptions {
    /// The options of the core, without `require` and the wait.
    pub(super) fn into_core(self, owner: EnvironmentId) -> Result<PublishOptions> {
        Ok(PublishOptions {
            if_changed: self.if_changed,
            expect: self.expect.map(|number| count("expect", number)).transpose()?,
            fingerprint: self.fingerprint,
            meta: self
                .meta
                .map(|text| serde_json::from_str(&text))
                .transpose()
                .map_err(|error| Error::argument("meta", error, "JSON"))?,
            pin_for: self.pin.then_some(owner),
        })
    }
}

impl NativeCopyMethod {
    pub(super) fn into_core(self) -> CopyMethod {
        match self {
            Self::Clone => CopyMethod::Clone,
            Self::Copy => CopyMethod::Copy,
            Self::Move => CopyMethod::Move,
        }
    }
}

pub(super) fn patience(timeout_ms: f64, token: Option<&CancelToken>) -> Result<Patience> {
    Ok(Patience {
        timeout: timeout("timeoutMs", timeout_ms)?,
        cancel: cancel::of(token),
    })
}

pub(super) fn stage_from(from_current: bool) -> StageBase {
    if from_current {
        StageBase::Current
    } else {
        StageBase::Empty
    }
}

fn bound_of(name: &str, bound: f64) -> Result<u64> {
    if bound == f64::INFINITY {
        return Ok(NO_BOUND);
    }
    count(name, bound)
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
