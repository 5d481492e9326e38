//! How archives are packed and unpacked, in the form of JavaScript.

use napi_derive::napi;

use crate::addon::number;
use crate::core::archives::codec::Format;
use crate::core::archives::commit::TargetMode;
use crate::core::archives::exclude::{Excludes, Preset};
use crate::core::archives::{Duplicates, Limits, Symlinks, UnpackOptions, WriteOptions};
use crate::core::error::Result;

/// A known kind of tree.
#[napi(string_enum, skip_typescript)]
pub enum NativePreset {
    /// Nothing is left out.
    #[napi(value = "none")]
    None,
    /// DENO_DIR.
    #[napi(value = "deno")]
    Deno,
    /// node_modules.
    #[napi(value = "node_modules")]
    NodeModules,
    /// Vite's cache folder.
    #[napi(value = "vite")]
    Vite,
}

impl From<NativePreset> for Preset {
    fn from(given: NativePreset) -> Self {
        match given {
            NativePreset::None => Self::None,
            NativePreset::Deno => Self::Deno,
            NativePreset::NodeModules => Self::NodeModules,
            NativePreset::Vite => Self::Vite,
        }
    }
}

/// How an archive is compressed.
#[napi(string_enum, skip_typescript)]
pub enum NativeFormat {
    /// zstd.
    #[napi(value = "tar.zst")]
    TarZst,
    /// gzip.
    #[napi(value = "tar.gz")]
    TarGz,
    /// Not at all.
    #[napi(value = "tar")]
    Tar,
}

impl From<NativeFormat> for Format {
    fn from(given: NativeFormat) -> Self {
        match given {
            NativeFormat::TarZst => Self::TarZst,
            NativeFormat::TarGz => Self::TarGz,
            NativeFormat::Tar => Self::Tar,
        }
    }
}

/// What may happen to a target that is not empty.
#[napi(string_enum, skip_typescript)]
pub enum NativeTargetMode {
    /// Nothing.
    #[napi(value = "if-empty")]
    IfEmpty,
    /// It is replaced as a whole.
    #[napi(value = "replace")]
    Replace,
    /// What is not there is added.
    #[napi(value = "merge")]
    Merge,
}

impl From<NativeTargetMode> for TargetMode {
    fn from(given: NativeTargetMode) -> Self {
        match given {
            NativeTargetMode::IfEmpty => Self::IfEmpty,
            NativeTargetMode::Replace => Self::Replace,
            NativeTargetMode::Merge => Self::Merge,
        }
    }
}

/// Which symbolic links are made.
#[napi(string_enum, skip_typescript)]
pub enum NativeSymlinks {
    /// Those that stay inside the tree.
    #[napi(value = "contained")]
    Contained,
    /// All that are relative.
    #[napi(value = "relative")]
    Relative,
    /// All.
    #[napi(value = "verbatim")]
    Verbatim,
    /// None: an archive that has one is refused.
    #[napi(value = "reject")]
    Reject,
}

impl From<NativeSymlinks> for Symlinks {
    fn from(given: NativeSymlinks) -> Self {
        match given {
            NativeSymlinks::Contained => Self::Contained,
            NativeSymlinks::Relative => Self::Relative,
            NativeSymlinks::Verbatim => Self::Verbatim,
            NativeSymlinks::Reject => Self::Reject,
        }
    }
}

/// What happens to a path that the archive has twice.
#[napi(string_enum, skip_typescript)]
pub enum NativeDuplicates {
    /// The last entry replaces the earlier one.
    #[napi(value = "replace")]
    Replace,
    /// The archive is refused.
    #[napi(value = "reject")]
    Reject,
}

impl From<NativeDuplicates> for Duplicates {
    fn from(given: NativeDuplicates) -> Self {
        match given {
            NativeDuplicates::Replace => Self::Replace,
            NativeDuplicates::Reject => Self::Reject,
        }
    }
}

/// How to pack.
#[napi(object)]
pub struct NativePackOptions {
    /// Patterns of what is left out.
    pub exclude: Vec<String>,
    /// A known kind of tree.
    #[napi(ts_type = "'deno' | 'node_modules' | 'vite' | 'none'")]
    pub preset: NativePreset,
    /// The codec's level.
    pub level: Option<f64>,
    /// How it is compressed.
    #[napi(ts_type = "'tar.zst' | 'tar.gz' | 'tar'")]
    pub format: NativeFormat,
}

impl NativePackOptions {
    pub(super) fn read(self) -> Result<WriteOptions> {
        let format = Format::from(self.format);
        let level = self
            .level
            .map(|level| number::level("level", level))
            .transpose()?;
        Ok(WriteOptions {
            format,
            level: level.unwrap_or(format.default_level()),
            excludes: Excludes::new(self.preset.into(), &self.exclude)?,
            // Nobody asks a packed stream for its tree.
            hash: false,
            ..WriteOptions::default()
        })
    }
}

/// How to unpack.
#[napi(object)]
pub struct NativeUnpackOptions {
    /// What may happen to a target that is not empty.
    #[napi(ts_type = "'if-empty' | 'replace' | 'merge'")]
    pub mode: NativeTargetMode,
    /// Which symbolic links are made.
    #[napi(ts_type = "'contained' | 'relative' | 'verbatim' | 'reject'")]
    pub symlinks: NativeSymlinks,
    /// What happens to a path that the archive has twice.
    #[napi(ts_type = "'replace' | 'reject'")]
    pub duplicates: NativeDuplicates,
    /// Size of the archive as its sender declared it.
    pub declared_bytes: Option<f64>,
    /// What is accepted at most.
    pub limits: NativeLimits,
    /// Milliseconds from now; `Infinity` is never.
    pub deadline_ms: f64,
}

impl NativeUnpackOptions {
    pub(super) fn read(self) -> Result<UnpackOptions> {
        Ok(UnpackOptions {
            mode: self.mode.into(),
            symlinks: self.symlinks.into(),
            duplicates: self.duplicates.into(),
            declared_bytes: self
                .declared_bytes
                .map(|bytes| number::count("size", bytes))
                .transpose()?,
            limits: self.limits.read()?,
            deadline: number::deadline("deadlineMs", self.deadline_ms)?,
        })
    }
}

/// What a reader accepts at most; what is left out has its default.
#[napi(object)]
pub struct NativeLimits {
    /// All files together.
    pub max_bytes: Option<f64>,
    /// Entries.
    pub max_files: Option<f64>,
    /// One file.
    pub max_file_bytes: Option<f64>,
    /// Decoded bytes for one compressed byte.
    pub max_ratio: Option<f64>,
    /// Decoder and buffers.
    pub max_memory_bytes: Option<f64>,
    /// What must stay free on the disk.
    pub min_free_bytes: Option<f64>,
}

impl NativeLimits {
    pub(crate) fn read(&self) -> Result<Limits> {
        let standard = Limits::default();
        let pick = |name: &str, value: Option<f64>, standard: u64| {
            value.map_or(Ok(standard), |value| number::count(name, value))
        };
        Ok(Limits {
            max_bytes: pick("limits.maxBytes", self.max_bytes, standard.max_bytes)?,
            max_files: pick("limits.maxFiles", self.max_files, standard.max_files)?,
            max_file_bytes: pick(
                "limits.maxFileBytes",
                self.max_file_bytes,
                standard.max_file_bytes,
            )?,
            max_ratio: self
                .max_ratio
                .map(|ratio| number::count("limits.maxRatio", ratio))
                .transpose()?,
            max_memory_bytes: pick(
                "limits.maxMemoryBytes",
                self.max_memory_bytes,
                standard.max_memory_bytes,
            )?,
            min_free_bytes: pick(
                "limits.minFreeBytes",
                self.min_free_bytes,
                standard.min_free_bytes,
            )?,
        })
    }
}
