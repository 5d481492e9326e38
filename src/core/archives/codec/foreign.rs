//! Names of unsupported formats. An intact archive of another format is not reported as damaged.

/// Compression formats. Their content is unknown.
const COMPRESSED: [(&[u8], &str); 9] = [
    (b"\xfd7zXZ\0", "xz"),
    (b"BZh", "bzip2"),
    (b"\x04\x22\x4d\x18", "lz4"),
    (b"\x02\x21\x4c\x18", "lz4 (legacy format)"),
    (b"LZIP", "lzip"),
    (b"\x1f\x9d", "compress (.Z)"),
    (b"\x5d\0\0", "lzma"),
    (b"\xff\x06\0\0sNaPpY", "snappy"),
    (b"\x89LZO\0", "lzop"),
];

/// Other magic bytes at the start of a file, and their formats.
const MAGIC: [(&[u8], &str); 17] = [
    (b"PK\x03\x04", "a zip archive"),
    (b"PK\x05\x06", "a zip archive"),
    (b"PK\x07\x08", "a split zip archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"Rar!\x1a\x07", "a RAR archive"),
    (b"xar!", "a xar archive"),
    (b"!<arch>\n", "an ar archive"),
    (b"070701", "a cpio archive"),
    (b"070702", "a cpio archive"),
    (b"070707", "a cpio archive"),
    (b"\xc7\x71", "a cpio archive"),
    (b"SQLite format 3\0", "an SQLite database"),
    (b"\x7fELF", "a program (ELF)"),
    (b"\x89PNG", "an image (PNG)"),
    (b"%PDF-", "a PDF document"),
    (
        b"version https://git-lfs",
        "a Git LFS pointer instead of the file itself",
    ),
    (b"\x37\xa4\x30\xec", "a zstd dictionary"),
];

/// Compression format of the bytes, if it is known and not supported.
pub(super) fn compression(start: &[u8]) -> Option<&'static str> {
    let known = COMPRESSED.iter().find(|(magic, _)| start.starts_with(magic));
    match (known, start) {
        (Some((_, name)), _) => Some(name),
        // zstd before 0.8. Later versions have one magic number.
        (None, [0x1e | 0x22..=0x27, 0xb5, 0x2f, 0xfd, ..]) => Some("zstd from before version 0.8"),
        (None, [0x78, flags @ (0x01 | 0x5e | 0x9c | 0xda), ..])
            if (0x7800 | u16::from(*flags)).is_multiple_of(31) && !is_text(start) =>
        {
            Some("zlib")
        }
        _ => None,
    }
}

/// Format of the bytes, if it is known and not a tar archive.
pub(super) fn name(start: &[u8]) -> Option<&'static str> {
    if let Some(name) = compression(start) {
        return Some(name);
    }
    if let Some((_, name)) = MAGIC.iter().find(|(magic, _)| start.starts_with(magic)) {
        return Some(name);
    }
    if matches!(start, [0xff, 0xfe, ..] | [0xfe, 0xff, ..]) {
        return Some("text in UTF-16, probably the response of a server");
    }
    is_text(start).then(|| name_of_text(start))
}

fn name_of_text(start: &[u8]) -> &'static str {
    let text = start
        .strip_prefix(b"\xef\xbb\xbf")
        .unwrap_or(start)
        .trim_ascii_start();
    let begins = |with: &str| {
        text.get(..with.len())
            .is_some_and(|begin| begin.eq_ignore_ascii_case(with.as_bytes()))
    };
    if begins("<?xml") || begins("<error") {
        return "an XML document, probably the error of a server";
    }
    match text {
        [b'<', b'!' | b'a'..=b'z' | b'A'..=b'Z', ..] => {
            "an HTML page, probably the response of a server or a proxy"
        }
        [b'{' | b'[' | b'"', ..] => "JSON, probably the response of a server",
        _ => "text, probably the response of a server",
    }
}

/// Whether the bytes are the beginning of a UTF-8 text. The last character may be incomplete.
fn is_text(start: &[u8]) -> bool {
    let text = match std::str::from_utf8(start) {
        Ok(text) => text,
        Err(error) if error.error_len().is_none() => {
            std::str::from_utf8(&start[..error.valid_up_to()]).unwrap_or_default()
        }
        Err(_) => return false,
    };
    !text.is_empty()
        && !text
            .chars()
            .any(|letter| letter.is_control() && !letter.is_whitespace())
}

#[cfg(test)]
mod tests {
    use super::{compression, name};

    #[test]
    fn foreign_bytes_are_named() {
        for (start, expected) in [
            (&b"\xfd7zXZ\0\0\x04"[..], "xz"),
            (b"PK\x03\x04\x14\0", "zip"),
            (b"\n\n  <!DOCTYPE html><html>", "HTML"),
            (b"\xef\xbb\xbf<HTML>", "HTML"),
            (b"<h1>Not Found</h1>", "HTML"),
            (b"<?xml version='1.0'?><Error>", "XML"),
            (b"<Error xmlns='s3'><Code>", "XML"),
            (b"{\"error\":\n\t1}", "JSON"),
            (b"\"Not found\"", "JSON"),
            (b"404 page not found\n", "text"),
            ("gr\u{fc}n".as_bytes(), "text"),
            (&"gr\u{fc}".as_bytes()[..3], "text"),
            (b"\xff\xfe{\0", "UTF-16"),
            (b"\x25\xb5\x2f\xfd", "zstd from before"),
            (b"\x78\x9c\xed\xbd", "zlib"),
            (b"x^2 is text", "text"),
            (b"070707000001", "cpio"),
        ] {
            assert!(
                name(start).is_some_and(|name| name.contains(expected)),
                "{}",
                start.escape_ascii()
            );
        }
        for start in [&b""[..], b"{\0", b"\x1b\x07\x80", b"\x78\x9d\xed\xbd"] {
            assert_eq!(name(start), None, "{}", start.escape_ascii());
        }
        assert_eq!(compression(b"PK\x03\x04"), None);
    }
}
