//! The settings of a store: `config.json`, and `bounds.json` with what version 0.1.0 does not know.
//!
//! Version 0.1.0 writes `config.json` again without fields that it does not know, so the bounds have a file of their own.
//! That file also has the `graceMs` that the user chose, while a named pin raises the one in `config.json`
//! ([`super::named`]). The chosen value counts only as long as `config.json` has a value that was raised here: a program
//! that knows no bounds can have changed it since.

use serde::{Deserialize, Serialize};

use crate::core::error::{Code, Error, Optional, Result};
use crate::core::sys::{fault, fs};

use super::format::{Config, replace_durably};
use super::layout::Layout;
use super::options::{NO_BOUND, Options};

/// What every opener of a store shares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Settings {
    pub(super) keep: u64,
    pub(super) grace_ms: u64,
    /// Most bytes of all generations.
    pub(super) max_bytes: Option<u64>,
    /// Most milliseconds since a generation stopped being current.
    pub(super) max_age_ms: Option<u64>,
}

/// What `bounds.json` says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Bounds {
    #[serde(skip_serializing_if = "Option::is_none")]
    max_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_age_ms: Option<u64>,
    /// The value that the user chose while `config.json` has one of `raised`.
    #[serde(skip_serializing_if = "Option::is_none")]
    grace_ms: Option<u64>,
    /// The latest values of `graceMs` that named pins needed. Two, because the two files are not replaced in one step.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    raised: Vec<u64>,
}

impl Bounds {
    fn read(layout: &Layout) -> Result<Self> {
        if fault::is_seeded("protocol-1") {
            return Ok(Self::default());
        }
        let bytes = fs::read_capped(&layout.file("bounds.json"), 65_536).optional()?;
        Ok(bytes
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .unwrap_or_default())
    }

    fn is_raised(&self, config: Config) -> bool {
        self.grace_ms.is_some() && self.raised.contains(&config.grace_ms)
    }

    fn settings(&self, config: Config) -> Settings {
        let chosen = self.grace_ms.filter(|_| self.is_raised(config));
        Settings {
            keep: config.keep,
            grace_ms: chosen.unwrap_or(config.grace_ms),
            max_bytes: self.max_bytes,
            max_age_ms: self.max_age_ms,
        }
    }

    fn write(&self, layout: &Layout) -> Result<()> {
        if *self == Self::default() {
            return fs::remove_file(&layout.file("bounds.json")).optional().map(drop);
        }
        let text = serde_json::to_vec(self)
            .map_err(|error| Error::new(Code::Io, format!("serialize bounds.json: {error}")))?;
        replace_durably(layout, "bounds.json", &text)
    }
}

impl Settings {
    pub(super) fn read(layout: &Layout) -> Result<Self> {
        Ok(Bounds::read(layout)?.settings(Config::written(layout)?.unwrap_or_default()))
    }

    /// These settings, with what an opener changes.
    pub(super) fn with(self, options: &Options) -> Self {
        let bound = |given: Option<u64>, before| {
            given.map_or(before, |given| Some(given).filter(|bound| *bound != NO_BOUND))
        };
        Self {
            keep: options.keep.unwrap_or(self.keep),
            grace_ms: options.grace_ms.unwrap_or(self.grace_ms),
            max_bytes: bound(options.max_bytes, self.max_bytes),
            max_age_ms: bound(options.max_age_ms, self.max_age_ms),
        }
    }
}

/// Writes what an opener changes.
pub(super) fn configure(layout: &Layout, options: &Options) -> Result<()> {
    let known = Config::written(layout)?;
    let bounds = Bounds::read(layout)?;
    let config = known.unwrap_or_default();
    let before = bounds.settings(config);
    let wanted = before.with(options);
    if known.is_some() && before == wanted {
        return Ok(());
    }
    let stays_raised = bounds.is_raised(config) && config.grace_ms > wanted.grace_ms;
    let next = Bounds {
        max_bytes: wanted.max_bytes,
        max_age_ms: wanted.max_age_ms,
        grace_ms: Some(wanted.grace_ms).filter(|_| stays_raised),
        raised: if stays_raised {
            bounds.raised.clone()
        } else {
            Vec::new()
        },
    };
    let grace_ms = if stays_raised {
        config.grace_ms
    } else {
        wanted.grace_ms
    };
    let next_config = Config {
        keep: wanted.keep,
        grace_ms,
    };
    if known != Some(next_config) {
        next_config.write(layout)?;
    }
    if next != bounds {
        next.write(layout)?;
    }
    Ok(())
}

/// Makes `graceMs` in `config.json` at least `needed`, for programs that know no named pins. Restores the value that the
/// user chose where that is enough.
pub(super) fn raise_grace(layout: &Layout, needed: u64) -> Result<()> {
    let bounds = Bounds::read(layout)?;
    let config = Config::written(layout)?.unwrap_or_default();
    let chosen = bounds.settings(config).grace_ms;
    if needed <= chosen {
        if bounds.raised.is_empty() {
            return Ok(());
        }
        if bounds.is_raised(config) {
            let restored = Config {
                grace_ms: chosen,
                ..config
            };
            restored.write(layout)?;
        }
        let lowered = Bounds {
            grace_ms: None,
            raised: Vec::new(),
            ..bounds
        };
        return lowered.write(layout);
    }
    // Time passes, so a value that was enough once is enough until a pin is renewed.
    if config.grace_ms >= needed || fault::is_seeded("no-grace-for-protocol-1") {
        return Ok(());
    }
    let known = Some(config.grace_ms).filter(|_| bounds.is_raised(config));
    let raised = Bounds {
        grace_ms: Some(chosen),
        raised: known.into_iter().chain([needed]).collect(),
        ..bounds
    };
    raised.write(layout)?;
    let config = Config {
        grace_ms: needed,
        ..config
    };
    config.write(layout)
}
