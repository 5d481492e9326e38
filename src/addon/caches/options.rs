//! Options of the calls on caches.

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

/// Whether writes to the store are conditional.
#[napi(string_enum, skip_typescript)]
pub enum NativeConditions {
    /// If the store honours conditions.
    #[napi(value = "auto")]
    Auto,
    /// Always. Nothing is written to a store that does not honour conditions.
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

/// Time limits and attempts of a call.
#[napi(object)]
pub struct NativeBudget {
    /// Time for the whole call in milliseconds. `Infinity` means no limit.
    pub deadline_ms: f64,
    /// Longest time without a byte, in milliseconds.
    pub idle_ms: f64,
    /// Lowest accepted throughput in bytes per second. 0 disables the check.
    pub min_bytes_per_second: f64,
    /// Number of attempts for one request.
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

/// Expected producer of a snapshot. Another producer is 'incompatible'.
#[napi(object)]
pub struct NativeExpect {
    /// Value of Node's `process.platform`.
    pub platform: Option<String>,
    /// Value of Node's `process.arch`.
    pub arch: Option<String>,
    /// `glibc` or `musl`.
    pub libc: Option<String>,
    /// Fingerprint that the snapshot was created with.
    pub fingerprint: Option<String>,
}

/// Options of a restore.
#[napi(object)]
pub struct NativeRestoreOptions {
    /// Keys, tried in this order.
    pub keys: Vec<String>,
    /// Absolute path of the target directory.
    pub into: String,
    /// How a target that already contains entries is treated.
    #[napi(ts_type = "'if-empty' | 'replace' | 'merge'")]
    pub mode: NativeTargetMode,
    /// Which symbolic links the archive may contain.
    #[napi(ts_type = "'contained' | 'relative' | 'verbatim' | 'reject'")]
    pub symlinks: NativeSymlinks,
    /// How a path that occurs twice in the archive is treated.
    #[napi(ts_type = "'replace' | 'reject'")]
    pub duplicates: NativeDuplicates,
    /// Expected producer of the snapshot.
    pub expect: NativeExpect,
    /// Limits of the reader.
    pub limits: NativeLimits,
    /// Number of parallel connections.
    pub concurrency: f64,
    /// Time limits and attempts.
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

/// Minimum requirements on a tree that becomes a generation.
#[napi(object)]
pub struct NativeGuard {
    /// Minimum number of files.
    pub min_files: f64,
    /// Minimum number of bytes.
    pub min_bytes: f64,
    /// Largest share by which the tree may be smaller than the current generation, from 0 to 1.
    pub max_shrink: f64,
    /// Disables `maxShrink`.
    pub allow_shrink: bool,
}

/// Options of a snapshot.
#[napi(object)]
pub struct NativeSnapshotOptions {
    /// Key of the cache entry.
    pub key: String,
    /// Absolute path of the directory to upload.
    pub from: String,
    /// Ticket of an earlier restore of the same key. The snapshot is 'superseded' if the key has changed since.
    pub ticket: Option<String>,
    /// Glob patterns of excluded entries.
    pub exclude: Vec<String>,
    /// Known kind of tree.
    #[napi(ts_type = "'deno' | 'node_modules' | 'vite' | 'none'")]
    pub preset: NativePreset,
    /// Identifies the inputs of the tree. Recorded with the generation.
    pub fingerprint: String,
    /// Minimum requirements on the tree.
    pub guard: NativeGuard,
    /// Milliseconds for which the tree must be unchanged.
    pub quiet_ms: f64,
    /// Compression level, -7 to 19. Default 3.
    pub level: Option<f64>,
    /// Limits of what is packed.
    pub limits: NativeLimits,
    /// Time limits and attempts.
    pub budget: NativeBudget,
}

impl NativeSnapshotOptions {
    pub(super) fn read(self) -> Result<(SnapshotOptions, Budget)> {
        let key = Key::parse("options.key", &self.key)?;
        let limits = self.limits.read()?;
        let ticket = self.ticket.map(|text| Ticket::parse(&text, &key)).transpose()?;
        #[expect(
            clippy::cast_possible_truncation,
            reason = "src/js has checked the range -7 to 19"
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
