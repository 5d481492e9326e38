//! What JavaScript gives to the calls of `addon/caches.rs`.

use std::path::PathBuf;

use napi_derive::napi;

use crate::core::archives::codec;
use crate::core::archives::exclude::Excludes;
use crate::core::caches::{
    Budget, Conditions, Guard, Key, PackOptions, Producer, RestoreOptions, SnapshotOptions, Ticket,
};
use crate::core::error::Result;

use super::super::archives::{
    NativeDuplicates, NativeLimits, NativePreset, NativeSymlinks, NativeTargetMode,
};
use super::super::number;

/// Whether writes are conditional.
#[napi(string_enum, skip_typescript)]
pub enum NativeConditions {
    /// If the store honours conditions.
    #[napi(value = "auto")]
    Auto,
    /// Always, or nothing is written.
    #[napi(value = "required")]
    Required,
    /// Never.
    #[napi(value = "off")]
    Off,
}

impl From<NativeConditions> for Conditions {
    fn from(given: NativeConditions) -> Self {
        match given {
            NativeConditions::Auto => Self::Auto,
            NativeConditions::Required => Self::Required,
            NativeConditions::Off => Self::Off,
        }
    }
}

/// Time and patience of a call.
#[napi(object)]
pub struct NativeBudget {
    /// The whole call.
    pub deadline_ms: f64,
    /// Longest silence.
    pub idle_ms: f64,
    /// Least throughput; 0 is off.
    pub min_bytes_per_second: f64,
    /// Tries of one request.
    pub attempts: f64,
}

impl NativeBudget {
    pub(super) fn read(&self) -> Result<Budget> {
        Ok(Budget {
            deadline: number::duration("deadlineMs", self.deadline_ms)?,
            idle: number::duration("idleMs", self.idle_ms)?,
            min_bytes_per_second: number::count("minBytesPerSecond", self.min_bytes_per_second)?,
            attempts: u32::try_from(number::count("attempts", self.attempts)?).unwrap_or(u32::MAX),
        })
    }
}

/// What the producer must have been.
#[napi(object)]
pub struct NativeExpect {
    /// As Node names it.
    pub platform: Option<String>,
    /// As Node names it.
    pub arch: Option<String>,
    /// `glibc` or `musl`.
    pub libc: Option<String>,
    /// What the snapshot was given.
    pub fingerprint: Option<String>,
}

/// What to restore.
#[napi(object)]
pub struct NativeRestoreOptions {
    /// Tried in turn.
    pub keys: Vec<String>,
    /// Absolute.
    pub into: String,
    /// What may happen to a target that is not empty.
    #[napi(ts_type = "'if-empty' | 'replace' | 'merge'")]
    pub mode: NativeTargetMode,
    /// Which symbolic links are made.
    #[napi(ts_type = "'contained' | 'relative' | 'verbatim' | 'reject'")]
    pub symlinks: NativeSymlinks,
    /// What happens to a path that the archive has twice.
    #[napi(ts_type = "'replace' | 'reject'")]
    pub duplicates: NativeDuplicates,
    /// What the producer must have been.
    pub expect: NativeExpect,
    /// What is accepted at most.
    pub limits: NativeLimits,
    /// Connections.
    pub concurrency: f64,
    /// Time and patience.
    pub budget: NativeBudget,
}

impl NativeRestoreOptions {
    pub(super) fn read(self) -> Result<(RestoreOptions, Budget)> {
        let keys = self.keys.iter().enumerate().map(|(index, key)| {
            let argument = if index == 0 {
                "options.key".to_owned()
            } else {
                format!("options.fallbackKeys[{}]", index - 1)
            };
            Key::parse(&argument, key)
        });
        let text = Option::unwrap_or_default;
        let options = RestoreOptions {
            keys: keys.collect::<Result<_>>()?,
            into: PathBuf::from(self.into),
            mode: self.mode.into(),
            symlinks: self.symlinks.into(),
            duplicates: self.duplicates.into(),
            expect: Producer {
                platform: text(self.expect.platform),
                arch: text(self.expect.arch),
                libc: text(self.expect.libc),
                fingerprint: text(self.expect.fingerprint),
                ..Producer::default()
            },
            limits: self.limits.read()?,
            concurrency: usize::try_from(number::count("options.concurrency", self.concurrency)?)
                .unwrap_or(1),
        };
        Ok((options, self.budget.read()?))
    }
}

/// What may become a generation.
#[napi(object)]
pub struct NativeGuard {
    /// Fewest files.
    pub min_files: f64,
    /// Fewest bytes.
    pub min_bytes: f64,
    /// Largest share that may be missing.
    pub max_shrink: f64,
    /// No limit to that.
    pub allow_shrink: bool,
}

/// What to snapshot.
#[napi(object)]
pub struct NativeSnapshotOptions {
    /// Its name.
    pub key: String,
    /// Absolute.
    pub from: String,
    /// Of a restore.
    pub ticket: Option<String>,
    /// Globs.
    pub exclude: Vec<String>,
    /// A known kind of tree.
    #[napi(ts_type = "'deno' | 'node_modules' | 'vite' | 'none'")]
    pub preset: NativePreset,
    /// Recorded.
    pub fingerprint: String,
    /// What may become a generation.
    pub guard: NativeGuard,
    /// How long the tree must be unchanged.
    pub quiet_ms: f64,
    /// Of the compression.
    pub level: Option<f64>,
    /// What is packed at most.
    pub limits: NativeLimits,
    /// Time and patience.
    pub budget: NativeBudget,
}

impl NativeSnapshotOptions {
    pub(super) fn read(self) -> Result<(SnapshotOptions, Budget)> {
        let key = Key::parse("options.key", &self.key)?;
        let limits = self.limits.read()?;
        let ticket = self.ticket.map(|text| Ticket::parse(&text, &key)).transpose()?;
        #[expect(
            clippy::cast_possible_truncation,
            reason = "src/js checked that it is from -7 to 19"
        )]
        let level = self.level.map(|level| level as i32);
        if let Some(level) = level {
            codec::check_level(key.single_object().unwrap_or_default(), level)?;
        }
        let options = SnapshotOptions {
            key,
            from: PathBuf::from(self.from),
            ticket,
            packing: PackOptions {
                excludes: Excludes::new(self.preset.into(), &self.exclude)?,
                level,
                max_files: limits.max_files,
                max_bytes: limits.max_bytes,
            },
            guard: Guard {
                min_files: number::count("options.guard.minFiles", self.guard.min_files)?,
                min_bytes: number::count("options.guard.minBytes", self.guard.min_bytes)?,
                max_shrink: self.guard.max_shrink,
                allow_shrink: self.guard.allow_shrink,
            },
            quiet: number::duration("options.quietMs", self.quiet_ms)?,
            producer: Producer::of_this_machine(self.fingerprint),
        };
        Ok((options, self.budget.read()?))
    }
}
