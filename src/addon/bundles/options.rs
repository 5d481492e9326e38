//! What crosses, and its conversion.

use std::path::PathBuf;
use std::time::Duration;

use napi::bindgen_prelude::Uint8Array;
use napi_derive::napi;

use crate::addon::environment::EnvironmentId;
use crate::addon::number::{count, duration, number};
use crate::core::bundles::{Collected, Durability, Head, Options, Problem, PublishOptions, Store};
use crate::core::error::{Error, Result};

/// Options of `openBundles`.
#[napi(object)]
pub struct NativeBundleOptions {
    /// `process` or `power`.
    pub durability: String,
    /// Generations beside the current one.
    pub keep: Option<f64>,
    /// Milliseconds.
    pub grace_ms: Option<f64>,
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

/// What is known of a generation.
#[napi(object)]
pub struct NativeGeneration {
    /// Its number.
    pub number: f64,
    /// Over everything in it.
    pub digest: String,
    /// Milliseconds since the epoch.
    pub published_at: f64,
    /// Files and links.
    pub files: f64,
    /// Bytes of the files.
    pub bytes: f64,
    /// When its stage was made, microseconds of this boot's clock; left out for another boot.
    pub started_at: Option<f64>,
    /// The fence of its stage.
    pub fence: Option<f64>,
    /// What it was made from.
    pub fingerprint: Option<String>,
    /// JSON text.
    pub meta: Option<String>,
    /// Only of a publish: whether a new generation was made.
    pub changed: Option<bool>,
}

/// What a collection did.
#[napi(object)]
pub struct NativeCollected {
    /// Numbers that went.
    pub removed: Vec<f64>,
    /// Numbers that stay.
    pub kept: Vec<f64>,
    /// Numbers that a reader holds.
    pub pinned: Vec<f64>,
    /// Stages of dead writers.
    pub swept_stages: f64,
}

/// How an entry differs from the manifest.
#[napi(object)]
pub struct NativeProblem {
    /// Where.
    pub path: String,
    /// `missing`, `size`, `hash`, `mode` or `extra`.
    #[napi(ts_type = "'missing' | 'size' | 'hash' | 'mode' | 'extra'")]
    pub problem: String,
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

pub(super) fn open_options(options: NativeBundleOptions) -> Result<Options> {
    Ok(Options {
        durability: if options.durability == "power" {
            Durability::Power
        } else {
            Durability::Process
        },
        keep: options.keep.map(|keep| count("keep", keep)).transpose()?,
        grace_ms: options
            .grace_ms
            .map(|grace| duration("graceMs", grace).map(milliseconds))
            .transpose()?,
        link: options.link.map(PathBuf::from),
        adopt: options.adopt,
    })
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// What a publish asks for, but for its `require` and its wait.
pub(super) fn publish_options(options: NativePublishOptions, owner: EnvironmentId) -> Result<PublishOptions> {
    Ok(PublishOptions {
        if_changed: options.if_changed,
        expect: options.expect.map(|number| count("expect", number)).transpose()?,
        fingerprint: options.fingerprint,
        meta: options
            .meta
            .map(|text| serde_json::from_str(&text))
            .transpose()
            .map_err(|error| Error::argument("meta", error, "JSON"))?,
        pin_for: options.pin.then_some(owner),
    })
}

pub(super) fn describe(store: &Store, head: Head, changed: Option<bool>) -> NativeGeneration {
    NativeGeneration {
        started_at: store.is_of_this_boot(&head).then(|| number(head.started_at)),
        number: number(head.number),
        digest: head.digest,
        published_at: number(head.published_at),
        files: number(head.files),
        bytes: number(head.bytes),
        fence: head.fence.map(number),
        fingerprint: head.fingerprint,
        meta: head.meta.map(|meta| meta.to_string()),
        changed,
    }
}

pub(super) fn problem((path, problem): (String, Problem)) -> NativeProblem {
    let problem = match problem {
        Problem::Missing => "missing",
        Problem::Size => "size",
        Problem::Hash => "hash",
        Problem::Mode => "mode",
        Problem::Extra => "extra",
    };
    NativeProblem {
        path,
        problem: problem.to_owned(),
    }
}

pub(super) fn collected(collected: Collected) -> NativeCollected {
    let numbers = |list: Vec<u64>| list.into_iter().map(number).collect();
    NativeCollected {
        removed: numbers(collected.removed),
        kept: numbers(collected.kept),
        pinned: numbers(collected.pinned),
        swept_stages: number(collected.swept_stages),
    }
}
