//! Results of the calls on bundles.

use napi_derive::napi;

use crate::addon::number::number;
use crate::core::bundles::{Collected, Head, NamedPin, Problem, Store};

/// Facts of a generation.
#[napi(object)]
pub struct NativeGeneration {
    /// Number of the generation.
    pub number: f64,
    /// Digest over paths, types, modes, link targets and bytes.
    pub digest: String,
    /// Time of the publish, in milliseconds since the epoch.
    pub published_at: f64,
    /// Number of files and links.
    pub files: f64,
    /// Total bytes of the files.
    pub bytes: f64,
    /// Time at which the stage was created, in microseconds of this boot's monotonic clock. Missing if it was created
    /// in another boot.
    pub started_at: Option<f64>,
    /// Fence of the stage, if it has one.
    pub fence: Option<f64>,
    /// Identifies the inputs of the build.
    pub fingerprint: Option<String>,
    /// The builder's own data, as JSON text.
    pub meta: Option<String>,
    /// Whether a new generation was created. Set by a publish only.
    pub changed: Option<bool>,
}

/// Result of a collection.
#[napi(object)]
pub struct NativeCollected {
    /// Generations that were removed.
    pub removed: Vec<f64>,
    /// Generations that were kept.
    pub kept: Vec<f64>,
    /// Generations that were kept only because a reader has pinned them.
    pub pinned: Vec<f64>,
    /// Number of removed stages whose writers had died.
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

/// A difference between a generation and its manifest.
#[napi(object)]
pub struct NativeProblem {
    /// Relative path of the entry.
    pub path: String,
    /// Kind of the difference.
    pub problem: NativeProblemKind,
}

/// Kind of a difference between an entry and the manifest.
#[napi(string_enum = "lowercase")]
pub enum NativeProblemKind {
    /// The entry is missing or has another type.
    Missing,
    /// The file has another size.
    Size,
    /// The file has other bytes, or the link has another target.
    Hash,
    /// The entry has other permissions.
    Mode,
    /// The entry is not in the manifest.
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
