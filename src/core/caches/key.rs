//! Names of caches in a store, and where their objects lie.

use crate::core::archives::codec::Format;
use crate::core::error::{Error, Result};

/// Longest key, in bytes: leaves room for prefix and blob name in S3's 1024.
const MAX_KEY_BYTES: usize = 512;
/// Endings that make a key one object, with the format that is written under them.
const SINGLE: &[(&str, Format)] = &[
    (".tar.zst", Format::TarZst),
    (".tar.gz", Format::TarGz),
    (".tgz", Format::TarGz),
    (".tar", Format::Tar),
];

/// The name of one cache: parts of `A-Z a-z 0-9 . _ - @ + =` between slashes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key(String);

impl Key {
    /// Checks a key that a user gave under the name `argument`.
    pub fn parse(argument: &str, text: &str) -> Result<Self> {
        let refuse = |why: &str| {
            let shown: String = text.chars().take(120).collect();
            Err(Error::argument(
                argument,
                format!("'{}'", shown.escape_debug()),
                &format!("parts of A-Z a-z 0-9 . _ - @ + = with '/' between them, at most 512 bytes ({why})"),
            ))
        };
        if text.is_empty() || text.len() > MAX_KEY_BYTES {
            return refuse("it is empty or too long");
        }
        for part in text.split('/') {
            if part.is_empty() || part == "." || part == ".." {
                return refuse("it has an empty, '.' or '..' part");
            }
            if part == "blobs" || part == "current.json" || part.starts_with(".warmswap") {
                return refuse("a part is a name of warmswap's own");
            }
            if !part
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"._-@+=".contains(&byte))
            {
                return refuse("another character is in it");
            }
        }
        Ok(Self(text.to_owned()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The format of a key that is one object; `None` for a pointer with blobs.
    pub fn single_object(&self) -> Option<Format> {
        SINGLE
            .iter()
            .find(|(ending, _)| self.0.ends_with(ending))
            .map(|(_, format)| *format)
    }

    /// The path of the pointer.
    pub fn pointer(&self) -> String {
        format!("{}/current.json", self.0)
    }

    /// The prefix of the blobs.
    pub fn blobs(&self) -> String {
        format!("{}/blobs/", self.0)
    }

    /// The path of the blob whose bytes have this sha256.
    pub fn blob(&self, sha256: &str) -> String {
        format!("{}/blobs/{sha256}.tar.zst", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_cannot_leave_the_prefix_or_name_an_object_of_ours() {
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
    fn the_ending_decides_between_one_object_and_blobs() {
        let format = |text: &str| Key::parse("key", text).expect("a key").single_object();
        assert_eq!(format("a.tgz"), Some(Format::TarGz));
        assert_eq!(format("a.tar.gz"), Some(Format::TarGz));
        assert_eq!(format("a.tar"), Some(Format::Tar));
        assert_eq!(format("a.tar.zst"), Some(Format::TarZst));
        assert_eq!(format("a.zst"), None);
    }
}
