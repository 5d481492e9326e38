//! The name of a trust level.

use crate::core::error::{Error, Result};

/// Folder of all levels below the store's prefix.
const LEVELS: &str = ".warmswap-level";
const MAX_LEVEL_BYTES: usize = 40;

/// Name of a trust level: 1 to 40 of `a-z 0-9 -`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Level(String);

impl Level {
    /// Parses and checks a name. `argument` names it in errors.
    pub fn parse(argument: &str, text: &str) -> Result<Self> {
        let is_accepted = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if text.is_empty() || text.len() > MAX_LEVEL_BYTES || !text.bytes().all(is_accepted) {
            let shown: String = text.chars().take(60).collect();
            return Err(Error::argument(
                argument,
                format!("'{}'", shown.escape_debug()),
                "a trust level: 1 to 40 characters of a-z, 0-9 and '-'",
            ));
        }
        Ok(Self(text.to_owned()))
    }

    /// Text of the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Folder of its objects below the store's prefix, with a `/` at the end.
    pub fn folder(&self) -> String {
        format!("{LEVELS}/{}/", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::caches::key::Key;

    #[test]
    fn a_level_is_one_component_and_no_key_names_its_folder() {
        for case in ["", "a/b", "..", "Main", "a_b", "ä", " ", &"x".repeat(41)] {
            assert!(Level::parse("level", case).is_err(), "{case:?} must be refused");
        }
        for case in ["main", "pr-12", "0", "-", &"x".repeat(40)] {
            let level = Level::parse("level", case).expect("a level");
            let folder = level.folder();
            assert_eq!(folder, format!(".warmswap-level/{case}/"));
            for key in [
                format!("{folder}site"),
                format!("a/{folder}site"),
                format!("{folder}site").to_uppercase(),
                folder.trim_end_matches('/').to_owned(),
            ] {
                assert!(Key::parse("key", &key).is_err(), "{key:?} must be refused");
            }
        }
    }
}
