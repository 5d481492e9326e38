//! Results of calls.

use napi_derive::napi;

use crate::addon::number::number;
use crate::core::bundles::{Collected, Head, NamedPin, Problem, Store};

/// Facts of a generation.
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

/// The result of a collection.
#[napi(object)]
pub struct NativeCollected {
    /// Generations that were removed.
    pub removed: Vec<f64>,
    /// Generations that were kept.
    pub kept: Vec<f64>,
    /// Generations that a reader has pinned.
    pub pinned: Vec<f64>,
    /// Stages of dead writers.
    pub swept_stages: f64,
}

/// A generation that is kept under a name.
#[napi(object)]
pub struct NativeNamedPin {
    /// The name.
    pub name: String,
    /// The generation.
    pub generation: f64,
    /// Milliseconds since the epoch.
    pub pinned_at: f64,
    /// Milliseconds since the epoch.
    pub expires_at: f64,
    /// Only of a pin: whether the generation had the name before.
    pub resumed: Option<bool>,
}

/// Pinned generations exceed the bound of a store.
#[napi(object)]
pub struct NativeExcess {
    /// Bytes of all generations.
    pub bytes: f64,
    /// The bound.
    pub max_bytes: f64,
}

/// How an entry differs from the manifest.
#[napi(object)]
pub struct NativeProblem {
    /// Where.
    pub path: String,
    /// The kind of difference.
    pub problem: NativeProblemKind,
}

/// How an entry differs.
#[napi(string_enum = "lowercase")]
pub enum NativeProblemKind {
    /// Not there, or of another type.
    Missing,
    /// Longer or shorter.
    Size,
    /// Other bytes, or another link target.
    Hash,
    /// Other permissions.
    Mode,
    /// Not in the manifest.
    Extra,
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

pub(super) fn named_pin(pin: NamedPin, resumed: Option<bool>) -> NativeNamedPin {
    NativeNamedPin {
        name: pin.name,
        generation: number(pin.number),
        pinned_at: number(pin.pinned_at),
        expires_at: number(pin.expires_at),
        resumed,
    }
}

pub(super) fn problem((path, problem): (String, Problem)) -> NativeProblem {
    let problem = match problem {
        Problem::Missing => NativeProblemKind::Missing,
        Problem::Size => NativeProblemKind::Size,
        Problem::Hash => NativeProblemKind::Hash,
        Problem::Mode => NativeProblemKind::Mode,
        Problem::Extra => NativeProblemKind::Extra,
    };
    NativeProblem { path, problem }
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
