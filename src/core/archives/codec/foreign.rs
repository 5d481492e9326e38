//! Names of what is no archive that is read here. A good archive of another kind is not a damaged one.

/// Magic bytes at the start, and what they are.
const MAGIC: [(&[u8], &str); 14] = [
    (b"\xfd7zXZ\0", "xz"),
    (b"BZh", "bzip2"),
    (b"PK\x03\x04", "a zip archive"),
    (b"PK\x05\x06", "a zip archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"Rar!\x1a\x07", "a RAR archive"),
    (b"\x04\x22\x4d\x18", "lz4"),
    (b"LZIP", "lzip"),
    (b"\x1f\x9d", "compress (.Z)"),
    (b"\x5d\0\0", "lzma"),
    (b"\xff\x06\0\0sNaPpY", "snappy"),
    (b"!<arch>\n", "an ar archive"),
    (b"070701", "a cpio archive"),
    (
        b"version https://git-lfs",
        "a Git LFS pointer, not the file that it stands for",
    ),
];

/// What the bytes are, if it is known and no tar archive.
pub(super) fn name(start: &[u8]) -> Option<&'static str> {
    if let Some((_, name)) = MAGIC.iter().find(|(magic, _)| start.starts_with(magic)) {
        return Some(name);
    }
    match start {
        // zstd before 0.8; later ones have one magic number.
        [0x1e | 0x22..=0x27, 0xb5, 0x2f, 0xfd, ..] => return Some("zstd of before version 0.8"),
        [0x37, 0xa4, 0x30, 0xec, ..] => return Some("a zstd dictionary"),
        _ => {}
    }
    let text = start
        .strip_prefix(b"\xef\xbb\xbf")
        .unwrap_or(start)
        .trim_ascii_start();
    let begins = |with: &[u8]| {
        text.get(..with.len())
            .is_some_and(|begin| begin.eq_ignore_ascii_case(with))
    };
    if ["<!doctype html", "<html", "<head", "<body", "<!--"]
        .iter()
        .any(|tag| begins(tag.as_bytes()))
    {
        return Some("an HTML page, probably the answer of a server or a proxy");
    }
    if begins(b"<?xml") || begins(b"<error>") {
        return Some("an XML document, probably the error of a server");
    }
    if (begins(b"{") || begins(b"["))
        && text
            .iter()
            .all(|byte| *byte >= b' ' || byte.is_ascii_whitespace())
    {
        return Some("JSON, probably the answer of a server");
    }
    None
}

#[cfg(test)]
mod tests {
    use super::name;

    #[test]
    fn foreign_bytes_are_named() {
        for (start, expected) in [
            (&b"\xfd7zXZ\0\0\x04"[..], "xz"),
            (b"PK\x03\x04\x14\0", "zip"),
            (b"\n\n  <!DOCTYPE html><html>", "HTML"),
            (b"\xef\xbb\xbf<HTML>", "HTML"),
            (b"<?xml version='1.0'?><Error>", "XML"),
            (b"{\"error\":\n\t1}", "JSON"),
            (b"\x25\xb5\x2f\xfd", "zstd of before"),
        ] {
            assert!(
                name(start).is_some_and(|name| name.contains(expected)),
                "{}",
                start.escape_ascii()
            );
        }
        for start in [&b""[..], b"{\0", b"random bytes", b"./package.json"] {
            assert_eq!(name(start), None, "{}", start.escape_ascii());
        }
    }
}
