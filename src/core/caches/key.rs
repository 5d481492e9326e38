//! Names of caches in a store, and the paths of their objects.

use crate::core::archives::codec::Format;
use crate::core::error::{Error, Result};

/// Maximum length of a key in bytes. It leaves space for the prefix and the blob name within the 1024 bytes of S3.
const MAX_KEY_BYTES: usize = 512;
/// Extensions that make a key a single object, with the format that is written.
const SINGLE: &[(&str, Format)] = &[
    (".tar.zst", Format::TarZst),
    (".tar.gz", Format::TarGz),
    (".tgz", Format::TarGz),
    (".tar", Format::Tar),
];

/// Name of one cache: components of `A-Z a-z 0-9 . _ - @ + =`, separated by slashes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key(String);

impl Key {
    /// Parses and checks a key. `argument` names it in errors.
    pub fn parse(argument: &str, text: &str) -> Result<Self> {
        let refuse = |why: &str| {
            let shown: String = text.chars().take(120).collect();
            Err(Error::argument(
                argument,
                format!("'{}'", shown.escape_debug()),
                &format!("components of A-Z a-z 0-9 . _ - @ + = separated by '/', at most 512 bytes ({why})"),
            ))
        };
        if text.is_empty() || text.len() > MAX_KEY_BYTES {
            return refuse("it is empty or too long");
        }
        for part in text.split('/') {
            if part.is_empty() || part == "." || part == ".." {
                return refuse("it has an empty, '.' or '..' component");
            }
            if is_reserved(part) {
                return refuse("a component is a name that warmswap reserves");
            }
            if !part
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"._-@+=".contains(&byte))
            {
                return refuse("it contains another character");
            }
        }
        Ok(Self(text.to_owned()))
    }

    /// Text of the key.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Format of a key that is a single object. `None` for a key with a pointer and blobs.
    pub fn single_object(&self) -> Option<Format> {
        SINGLE
            .iter()
            .find(|(ending, _)| self.0.ends_with(ending))
            .map(|(_, format)| *format)
    }

    /// Path of the pointer.
    pub fn pointer(&self) -> String {
        format!("{}/current.json", self.0)
    }

    /// Prefix of the blobs.
    pub fn blobs(&self) -> String {
        format!("{}/blobs/", self.0)
    }

    /// Path of the blob with this sha256.
    pub fn blob(&self, sha256: &str) -> String {
        format!("{}/blobs/{sha256}.tar.zst", self.0)
    }
}

/// Whether warmswap uses this name for its own objects. Letter case does not matter for `.warmswap`, because a folder
/// store can be on a filesystem that ignores it: no key may name the folder of a trust level.
fn is_reserved(part: &str) -> bool {
    const OWN: &str = ".warmswap";
    let is_own = part
        .get(..OWN.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(OWN));
    part == "blobs" || part == "current.json" || is_own
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_cannot_leave_the_prefix_or_name_a_reserved_object() {
        let long = "x".repeat(513);
        let cases = [
            "",
            "/",
            "/a",
            "a/",
            "a//b",
            "..",
            "a/../b",
            "a b",
            "a\\b",
            "a\0",
            "ä",
            "a?b",
            "a/blobs",
            "current.json",
            ".warmswap-probe",
            ".warmswap-level/main/site",
            "a/.Warmswap-level/main",
            long.as_str(),
        ];
        for case in cases {
            assert!(Key::parse("key", case).is_err(), "{case:?} must be refused");
        }
        for case in ["a", "site/main@v1+x=y_z-1.2", "a/b.tar.zst"] {
            assert!(Key::parse("key", case).is_ok(), "{case:?} must be accepted");
        }
    }

    #[test]
    fn the_extension_selects_a_single_object_or_blobs() {
        let format = |text: &str| Key::parse("key", text).expect("a key").single_object();
        assert_eq!(format("a.tgz"), Some(Format::TarGz));
        assert_eq!(format("a.tar.gz"), Some(Format::TarGz));
        assert_eq!(format("a.tar"), Some(Format::Tar));
        assert_eq!(format("a.tar.zst"), Some(Format::TarZst));
        assert_eq!(format("a.zst"), None);
    }
}
