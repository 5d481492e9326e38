//! Exclusion of entries from a snapshot: patterns of the caller, and presets for trees that contain more than a cache.

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use crate::core::error::{Error, Result};

use crate::core::archives::tree;

/// Prefix of warmswap's own names (stages and tree manifests). They are never part of a tree.
pub(in crate::core) const OWN_PREFIX: &[u8] = b".warmswap-";
/// Created by mkfs in the root of every ext4.
const OF_THE_FILESYSTEM: &[u8] = b"lost+found";

/// Whether this name in a tree's root is never part of the tree: it belongs to warmswap or to the filesystem.
pub(in crate::core) fn is_no_content(name: &[u8]) -> bool {
    name.starts_with(OWN_PREFIX) || name == OF_THE_FILESYSTEM
}

/// Known kind of tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Preset {
    /// Excludes nothing.
    #[default]
    None,
    /// A DENO_DIR. Excludes live SQLite caches that never shrink (one had 28 GB, with 220 MB of modules), an absolute
    /// link to the deno of build time, and registry responses with volatile headers.
    Deno,
    /// A node_modules. Excludes caches of tools, because an outdated `.vite` is worse than none (504 Outdated Optimize
    /// Dep).
    NodeModules,
    /// Vite's cache directory. Excludes the work that an optimizer has not finished.
    Vite,
}

impl Preset {
    fn patterns(self) -> &'static [&'static str] {
        match self {
            Self::None => &[],
            Self::Deno => &[
                "*_cache_v[0-9]*",
                "*.db",
                "*.db-{shm,wal,journal}",
                "node_compat_bin",
                "npm/**/registry.json",
            ],
            Self::NodeModules => &[".cache", ".vite", ".vite-temp", ".vitest"],
            Self::Vite => &["deps_temp*", "deps_ssr_temp*", "vitest"],
        }
    }
}

/// Patterns of excluded paths. The content of an excluded directory is excluded too.
#[derive(Debug, Clone, Default)]
pub struct Excludes {
    set: GlobSet,
}

impl Excludes {
    /// Compiles the patterns. They are matched against the path relative to the tree: `*` and `?` do not match `/`,
    /// `**` does. A pattern without `/` matches the name at any depth.
    pub fn new(preset: Preset, patterns: &[String]) -> Result<Self> {
        let mut builder = GlobSetBuilder::new();
        let rooted = preset.patterns().iter().map(|pattern| (*pattern).to_owned());
        let given = patterns.iter().map(|pattern| at_any_depth(pattern));
        for pattern in rooted.chain(given) {
            let glob = GlobBuilder::new(&pattern)
                .literal_separator(true)
                .backslash_escape(true)
                .build()
                .map_err(|error| {
                    Error::argument(
                        "exclude",
                        format!("'{pattern}'"),
                        &format!("a glob ({})", error.kind()),
                    )
                })?;
            builder.add(glob);
        }
        let set = builder
            .build()
            .map_err(|error| Error::argument("exclude", error, "valid glob patterns"))?;
        Ok(Self { set })
    }

    /// Whether this relative path is excluded.
    pub fn matches(&self, path: &[u8]) -> bool {
        is_no_content(path) || self.set.is_match(tree::as_path(path))
    }
}

fn at_any_depth(pattern: &str) -> String {
    let trimmed = pattern.trim_end_matches('/');
    match trimmed.strip_prefix('/') {
        Some(rooted) => rooted.to_owned(),
        None if trimmed.contains('/') => trimmed.to_owned(),
        None => format!("**/{trimmed}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_documented() {
        let excludes = Excludes::new(
            Preset::NodeModules,
            &["*.log".into(), "a/*.js".into(), "/top".into()],
        )
        .expect("valid patterns");
        for path in [
            "x.log",
            "deep/x.log",
            "a/b.js",
            "top",
            ".vite",
            ".cache",
            ".warmswap-stage-1",
        ] {
            assert!(excludes.matches(path.as_bytes()), "{path} is excluded");
        }
        for path in ["a/b/c.js", "deep/top", "deep/.vite", "log"] {
            assert!(!excludes.matches(path.as_bytes()), "{path} is kept");
        }
        assert!(Excludes::new(Preset::None, &["[".into()]).is_err());
    }

    #[test]
    fn the_deno_preset_keeps_modules() {
        let excludes = Excludes::new(Preset::Deno, &[]).expect("valid patterns");
        for path in [
            "v8_code_cache_v2",
            "dep_analysis_cache_v2-wal",
            "node_compat_bin",
            "npm/registry.npmjs.org/react/registry.json",
        ] {
            assert!(excludes.matches(path.as_bytes()), "{path} is excluded");
        }
        for path in [
            "npm/registry.npmjs.org/react/18.0.0/index.js",
            "remote/https/deno.land/ab",
            "gen/x.js",
        ] {
            assert!(!excludes.matches(path.as_bytes()), "{path} is kept");
        }
    }
}
