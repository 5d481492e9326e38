//! Options of the calls on bundles.

use std::path::PathBuf;
use std::time::Duration;

use napi::bindgen_prelude::Uint8Array;
use napi_derive::napi;

use crate::addon::cancel::{self, CancelToken};
use crate::addon::environment::EnvironmentId;
use crate::addon::number::{count, duration, timeout};
use crate::core::bundles::{CopyMethod, Durability, NO_BOUND, Options, Patience, PublishOptions, StageBase};
use crate::core::error::{Error, Result};

/// Which failures a publish survives.
#[napi(string_enum = "lowercase")]
pub enum NativeDurability {
    /// A killed process.
    Process,
    /// A killed process and power loss.
    Power,
}

/// How the entries of a directory are brought into a stage.
#[napi(string_enum = "lowercase")]
pub enum NativeCopyMethod {
    /// Clones files that can share blocks, and copies them elsewhere.
    Clone,
    /// Copies bytes.
    Copy,
    /// Renames entries.
    Move,
}

/// Options of `openBundles`.
#[napi(object)]
pub struct NativeBundleOptions {
    /// Which failures a publish survives.
    pub durability: NativeDurability,
    /// Number of previous generations to keep. Without it, the setting of the store is used.
    pub keep: Option<f64>,
    /// Time that an unpinned generation is kept after it stopped being current, in milliseconds. Without it, the
    /// setting of the store is used.
    pub grace_ms: Option<f64>,
    /// Bytes; infinite removes the bound.
    pub max_bytes: Option<f64>,
    /// Milliseconds; infinite removes the bound.
    pub max_age_ms: Option<f64>,
    /// Absolute path that becomes a link to a copy of the current generation.
    pub link: Option<String>,
    /// Whether a directory with files at `link` may be replaced.
    pub adopt: bool,
}

/// Options of `publish`.
#[napi(object)]
pub struct NativePublishOptions {
    /// Time to wait for the writer lock, in milliseconds. `Infinity` means no limit.
    pub timeout_ms: f64,
    /// Relative paths that must be in the stage.
    pub require: Vec<String>,
    /// Publishes only if the content differs from the current generation.
    pub if_changed: bool,
    /// Number of the generation that must be current. 0 means none.
    pub expect: Option<f64>,
    /// Identifies the inputs of the build.
    pub fingerprint: Option<String>,
    /// The builder's own data, as JSON text.
    pub meta: Option<String>,
    /// Whether to pin the new generation before a collection can remove it.
    pub pin: bool,
}

/// A file to write into a stage.
#[napi(object, object_to_js = false)]
pub struct NativeFile {
    /// Path relative to the stage.
    pub path: String,
    /// Content.
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
    /// Converts the options except `require` and the timeout.
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
