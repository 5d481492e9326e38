//! On Windows, names are UTF-16, and some sequences of units are not valid names.

use std::ffi::OsStr;

/// Prefix of a name that stands for bytes that are not UTF-8. The system refuses names with this character.
const NO_NAME: &str = "<name that is not UTF-8>";
/// Maximum length of a name in UTF-16 units.
const MOST_UNITS: usize = 255;

/// Bytes of a name or path: UTF-8, with three bytes for each unit of an incomplete surrogate pair.
pub(crate) fn as_bytes(name: &OsStr) -> &[u8] {
    name.as_encoded_bytes()
}

/// Name or path with these bytes. Bytes that are not UTF-8 become a name that the system refuses everywhere.
pub(crate) fn from_bytes(bytes: &[u8]) -> &OsStr {
    OsStr::new(std::str::from_utf8(bytes).unwrap_or(NO_NAME))
}

/// Why this system does not support a name. `None` if it does.
pub(crate) fn refusal(name: &[u8]) -> Option<&'static str> {
    let Ok(text) = std::str::from_utf8(name) else {
        return Some("it is not UTF-8");
    };
    if text.encode_utf16().count() > MOST_UNITS {
        return Some("it has more than 255 UTF-16 units");
    }
    if text.chars().any(|each| each < ' ' || "\\:*?\"<>|".contains(each)) {
        return Some("it contains a control character or one of \\ : * ? \" < > |");
    }
    if text.ends_with(['.', ' ']) {
        return Some("it ends with a dot or a space");
    }
    is_device(text).then_some("it is the name of a device")
}

/// Whether the text of a symbolic link is an absolute path, or one that depends on the current drive or directory.
pub(crate) fn is_absolute_link(text: &[u8]) -> bool {
    matches!(text, [b'/' | b'\\', ..]) || matches!(text, [drive, b':', ..] if drive.is_ascii_alphabetic())
}

/// Why the relative text of a symbolic link is not supported. A backslash separates components here, so that a text with
/// one would lead elsewhere than on the system that wrote it.
pub(crate) fn link_refusal(text: &[u8]) -> Option<&'static str> {
    text.split(|byte| *byte == b'/')
        .filter(|part| !matches!(*part, b"" | b"." | b".."))
        .find_map(refusal)
}

/// Whether a name is CON, NUL, COM1 …, with or without an extension.
pub(super) fn is_device(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or(name).trim_end();
    let stem = stem.to_ascii_uppercase();
    match stem.as_str() {
        "CON" | "PRN" | "AUX" | "NUL" | "CONIN$" | "CONOUT$" => true,
        _ => {
            let number = stem.strip_prefix("COM").or_else(|| stem.strip_prefix("LPT"));
            number.is_some_and(|number| {
                matches!(
                    number,
                    "1" | "2" | "3" | "4" | "5" | "6" | "7" | "8" | "9" | "¹" | "²" | "³"
                )
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unsupported_names_are_refused() {
        for name in [
            "a:b", "a\\b", "what?", "a\u{1}", "a.", "a ", "nul", "Com1.txt", "aux .c", "LPT¹",
        ] {
            assert!(refusal(name.as_bytes()).is_some(), "{name:?}");
        }
        assert!(refusal(b"\xff").is_some());
        assert!(refusal("x".repeat(256).as_bytes()).is_some());
        for text in ["..\\..\\a", "a/b:c", "a/...", "nul/a", "C:a", "\\\\server\\share"] {
            assert!(link_refusal(text.as_bytes()).is_some(), "{text:?}");
        }
        for text in ["../a", "./a", "a//b", "..", "../.pnpm/a@1.0.0/node_modules/a"] {
            assert_eq!(link_refusal(text.as_bytes()), None, "{text:?}");
            assert!(!is_absolute_link(text.as_bytes()), "{text:?}");
        }
        for text in ["/a", "\\a", "C:\\a", "c:a"] {
            assert!(is_absolute_link(text.as_bytes()), "{text:?}");
        }
        for name in ["a", ".a", "com10", "console", "größe.js", "a b", "null"] {
            assert_eq!(refusal(name.as_bytes()), None, "{name:?}");
        }
    }
}
