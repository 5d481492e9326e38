//! Options of `pack` and `unpack`.

use napi_derive::napi;

use crate::addon::number;
use crate::core::archives::codec::Format;
use crate::core::archives::commit::TargetMode;
use crate::core::archives::exclude::{Excludes, Preset};
use crate::core::archives::{Duplicates, Limits, Symlinks, UnpackOptions, WriteOptions};
use crate::core::error::Result;

/// Known kind of tree. Determines which entries are excluded.
#[napi(string_enum, skip_typescript)]
pub enum NativePreset {
    /// Excludes nothing.
    #[napi(value = "none")]
    None,
    /// Deno's cache directory (DENO_DIR).
    #[napi(value = "deno")]
    Deno,
    /// A `node_modules` directory.
    #[napi(value = "node_modules")]
    NodeModules,
    /// Vite's cache directory.
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

/// Archive format.
#[napi(string_enum, skip_typescript)]
pub enum NativeFormat {
    /// tar, compressed with zstd.
    #[napi(value = "tar.zst")]
    TarZst,
    /// tar, compressed with gzip.
    #[napi(value = "tar.gz")]
    TarGz,
    /// tar without compression.
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

/// How a target that already contains entries is treated.
#[napi(string_enum, skip_typescript)]
pub enum NativeTargetMode {
    /// The target must be missing or empty.
    #[napi(value = "if-empty")]
    IfEmpty,
    /// The target is replaced as a whole.
    #[napi(value = "replace")]
    Replace,
    /// Missing entries are added, existing ones are kept.
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

/// Which symbolic links an archive may contain. An archive with any other link is refused.
#[napi(string_enum, skip_typescript)]
pub enum NativeSymlinks {
    /// Links whose target is inside the tree.
    #[napi(value = "contained")]
    Contained,
    /// All relative links.
    #[napi(value = "relative")]
    Relative,
    /// All links.
    #[napi(value = "verbatim")]
    Verbatim,
    /// No links.
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

/// How a path that occurs twice in an archive is treated.
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

/// Options of `pack`.
#[napi(object)]
pub struct NativePackOptions {
    /// Glob patterns of excluded entries.
    pub exclude: Vec<String>,
    /// Known kind of tree.
    #[napi(ts_type = "'deno' | 'node_modules' | 'vite' | 'none'")]
    pub preset: NativePreset,
    /// Compression level: -7 to 19 for tar.zst (default 3), 0 to 9 for tar.gz (default 6).
    pub level: Option<f64>,
    /// Archive format.
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
            // `pack()` does not return a tree digest, so files are not hashed.
            hash: false,
            ..WriteOptions::default()
        })
    }
}

/// Options of `unpack`.
#[napi(object)]
pub struct NativeUnpackOptions {
    /// How a target that already contains entries is treated.
    #[napi(ts_type = "'if-empty' | 'replace' | 'merge'")]
    pub mode: NativeTargetMode,
    /// Which symbolic links the archive may contain.
    #[napi(ts_type = "'contained' | 'relative' | 'verbatim' | 'reject'")]
    pub symlinks: NativeSymlinks,
    /// How a path that occurs twice in the archive is treated.
    #[napi(ts_type = "'replace' | 'reject'")]
    pub duplicates: NativeDuplicates,
    /// Size of the archive in bytes, as declared by its sender.
    pub declared_bytes: Option<f64>,
    /// Limits of the reader.
    pub limits: NativeLimits,
    /// Time for the whole call in milliseconds. `Infinity` means no limit.
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

/// Limits of the reader. A missing field has its default.
#[napi(object)]
pub struct NativeLimits {
    /// Total bytes of all files. Default 64 GiB.
    pub max_bytes: Option<f64>,
    /// Number of entries. Default 5 000 000.
    pub max_files: Option<f64>,
    /// Bytes of one file. Default 64 GiB.
    pub max_file_bytes: Option<f64>,
    /// Decoded bytes for each compressed byte. Default 1000.
    pub max_ratio: Option<f64>,
    /// Memory in bytes for the decoder and its buffers. Default 192 MiB.
    pub max_memory_bytes: Option<f64>,
    /// Bytes that must stay free on the disk. Default 64 MiB.
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
