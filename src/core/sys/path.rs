//! Checked paths: a [`Root`] is absolute, and a [`Rel`] cannot lead out of it.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::core::error::{Error, Result};

/// Maximum length of a name in bytes (Linux NAME_MAX).
pub const MAX_NAME_BYTES: usize = 255;
/// Maximum length of a path in bytes (Linux PATH_MAX, including its NUL).
pub const MAX_PATH_BYTES: usize = 4096;

/// An absolute path of a store, lock or target.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Root(PathBuf);

impl Root {
    /// Parses and checks an absolute path. `argument` names it in errors.
    pub fn parse(argument: &str, text: &str) -> Result<Self> {
        if text.is_empty() {
            return Err(Error::argument(argument, "''", "an absolute path"));
        }
        if text.contains('\0') {
            return Err(Error::argument(
                argument,
                format!("{text:?}"),
                "a path without NUL",
            ));
        }
        if text.len() >= MAX_PATH_BYTES {
            return Err(Error::argument(
                argument,
                format!("it has {} bytes", text.len()),
                "a path shorter than 4096 bytes",
            ));
        }
        let path = Path::new(text);
        if !path.is_absolute() {
            return Err(Error::argument(
                argument,
                format!("'{text}'"),
                "an absolute path. Use path.resolve() for a relative one",
            ));
        }
        Ok(Self(path.components().collect()))
    }

    /// The path itself.
    pub fn as_path(&self) -> &Path {
        &self.0
    }

    /// Appends a checked relative path. There is no other way to build a path below this one.
    pub fn join(&self, relative: &Rel) -> PathBuf {
        self.0.join(relative.as_str())
    }
}

impl AsRef<Path> for Root {
    fn as_ref(&self) -> &Path {
        &self.0
    }
}

/// A relative path with `/` between its components that stays below the path that it is joined to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rel(String);

impl Rel {
    /// Parses and checks a relative path. `argument` names it in errors.
    pub fn parse(argument: &str, text: &str) -> Result<Self> {
        let refuse = |why: &str| {
            Err(Error::argument(
                argument,
                format!("'{}'", text.escape_debug()),
                &format!("a relative path with '/' between its components ({why})"),
            ))
        };
        if text.is_empty() {
            return refuse("it is empty");
        }
        if text.contains('\0') {
            return refuse("it contains NUL");
        }
        if text.starts_with('/') || text.contains('\\') || has_drive(text) {
            return refuse("it is absolute or contains a backslash or a drive letter");
        }
        if text.len() >= MAX_PATH_BYTES {
            return refuse("it has 4096 bytes or more");
        }
        for name in text.split('/') {
            match name {
                "" => return refuse("it has an empty component"),
                "." | ".." => return refuse("it has a '.' or '..' component"),
                _ if name.len() > MAX_NAME_BYTES => return refuse("a component has more than 255 bytes"),
                _ if is_reserved(name) => return refuse("a component is a name that Windows reserves"),
                _ => {}
            }
        }
        Ok(Self(text.to_owned()))
    }

    /// Text of the path, with `/` between the components.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Rel {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// `C:/a` is an absolute Windows path on every platform. `a:b` is an ordinary name, except on Windows.
fn has_drive(text: &str) -> bool {
    match text.as_bytes() {
        [letter, b':', rest @ ..] if letter.is_ascii_alphabetic() => {
            cfg!(windows) || rest.first() == Some(&b'/')
        }
        _ => false,
    }
}

/// Whether Windows does not support a name: CON, NUL, COM1 …, with or without an extension, and names with a colon.
/// Other platforms have no reserved names.
fn is_reserved(name: &str) -> bool {
    cfg!(windows) && (name.contains(':') || is_device(name))
}

fn is_device(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or(name).to_ascii_uppercase();
    match stem.as_str() {
        "CON" | "PRN" | "AUX" | "NUL" => true,
        _ => {
            stem.len() == 4
                && (stem.starts_with("COM") || stem.starts_with("LPT"))
                && matches!(stem.as_bytes()[3], b'1'..=b'9')
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relative_path_cannot_leave_its_root() {
        let long = "x".repeat(256);
        let cases = [
            "",
            "/a",
            "..",
            "../a",
            "a/../b",
            "./a",
            "a//b",
            "a/",
            "a\0b",
            "C:/a",
            "a\\b",
            long.as_str(),
        ];
        for case in cases {
            assert!(Rel::parse("relative", case).is_err(), "{case:?} must be refused");
        }
        for case in ["nul", "COM1.txt", "con.mjs", "a:b.mjs", "a/aux.js", "b:", "a/c:d"] {
            assert_eq!(Rel::parse("relative", case).is_ok(), !cfg!(windows), "{case:?}");
        }
        for (name, expected) in [
            ("nul", true),
            ("COM1.txt", true),
            ("com10", false),
            ("console", false),
        ] {
            assert_eq!(is_device(name), expected, "{name:?}");
        }
        for case in ["a", "a/b.js", "..a/b..", "assets/größe.js", "com10"] {
            assert!(Rel::parse("relative", case).is_ok(), "{case:?} must be accepted");
        }
    }

    #[test]
    fn a_root_is_absolute() {
        for case in ["", "a/b", "./a", "/a\0b"] {
            assert!(Root::parse("root", case).is_err(), "{case:?} must be refused");
        }
        let drive = if cfg!(windows) { "C:" } else { "" };
        let root = Root::parse("root", &format!("{drive}/a//b/")).expect("absolute");
        assert_eq!(root.as_path(), PathBuf::from(format!("{drive}/a/b")));
    }
}
