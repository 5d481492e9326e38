//! archives/stays-in-the-target: nothing is written outside the stage. A canary tree is next to it.

use std::fs;
use std::path::Path;

use warmswap::core::archives::{self, ExtractOptions, Symlinks};
use warmswap::core::failure::Cause;

use super::support::{Raw, describe, extract, extract_error, record};

/// Extracts next to a canary, which must be unchanged afterwards. Returns the failure, or the tree.
fn beside_a_canary(bytes: &[u8], symlinks: Symlinks) -> Result<String, Cause> {
    let root = tempfile::tempdir_in("/dev/shm").expect("a temporary directory");
    let (stage, canary) = (root.path().join("out"), root.path().join("outside"));
    fs::create_dir_all(canary.join("deep")).expect("mkdir");
    fs::write(canary.join("kept"), "kept").expect("write");
    fs::write(canary.join("deep/kept"), "kept").expect("write");
    fs::create_dir(&stage).expect("mkdir");
    let before = describe(&canary);
    let options = ExtractOptions {
        symlinks,
        ..ExtractOptions::default()
    };
    let result = archives::extract(bytes, &stage, &options);
    assert_eq!(describe(&canary), before, "the canary changed");
    assert_eq!(
        fs::read_dir(root.path()).expect("readdir").count(),
        2,
        "an entry was created next to the stage"
    );
    result.map(|_| describe(&stage)).map_err(|failure| failure.cause)
}

#[test]
fn no_path_leaves_the_stage() {
    let cases = [
        "/etc/evil",
        "../evil",
        "a/../../evil",
        "./../evil",
        "a/..",
        "..",
        "../outside/kept",
        "../outside2",
        "/",
    ];
    for case in cases {
        let bytes = Raw::default().file(case, b"evil").end();
        assert_eq!(
            beside_a_canary(&bytes, Symlinks::Verbatim),
            Err(Cause::Refused),
            "{case}"
        );
        let bytes = Raw::default().directory(case).end();
        assert_eq!(
            beside_a_canary(&bytes, Symlinks::Verbatim),
            Err(Cause::Refused),
            "{case} as a directory"
        );
        let bytes = Raw::default()
            .pax(&record("path", case))
            .file("innocent", b"evil")
            .end();
        assert_eq!(
            beside_a_canary(&bytes, Symlinks::Verbatim),
            Err(Cause::Refused),
            "{case} in pax"
        );
        let long = [case.as_bytes(), b"\0"].concat();
        let bytes = Raw::default()
            .with(b'L', b"././@LongLink", b"", &long, |_| {})
            .file("innocent", b"evil")
            .end();
        assert_eq!(
            beside_a_canary(&bytes, Symlinks::Verbatim),
            Err(Cause::Refused),
            "{case} as a GNU long name"
        );
    }
}

#[test]
fn nothing_is_written_through_a_link() {
    let through = |link: &str| {
        [
            Raw::default().symlink("l", link).file("l/evil", b"evil").end(),
            Raw::default().symlink("l", link).directory("l").end(),
            Raw::default()
                .directory("l")
                .symlink("l", link)
                .file("l/evil", b"evil")
                .end(),
            Raw::default()
                .symlink("l", link)
                .symlink("m", "l")
                .file("m/evil", b"evil")
                .end(),
            Raw::default().symlink("l", link).hard_link("h", "l/kept").end(),
            Raw::default()
                .file("l", b"x")
                .symlink("l", link)
                .file("l/evil", b"evil")
                .end(),
            Raw::default()
                .symlink("l", link)
                .hard_link("h", "l")
                .file("h/evil", b"evil")
                .end(),
            Raw::default()
                .symlink("l", link)
                .with(b'D', b"l", b"", b"", |_| {})
                .end(),
        ]
    };
    let replaced = |link: &str| {
        [
            Raw::default().symlink("l", link).file("l", b"evil").end(),
            Raw::default()
                .symlink("l", link)
                .hard_link("h", "l")
                .file("h", b"evil")
                .end(),
            Raw::default()
                .file("f", b"evil")
                .symlink("l", link)
                .hard_link("l", "f")
                .end(),
            Raw::default().file("l", b"x").symlink("l", link).end(),
            Raw::default().symlink("l", link).hard_link("h", "l").end(),
        ]
    };
    for link in ["../outside", "../outside/kept", "../outside/deep"] {
        for (index, bytes) in through(link).iter().enumerate() {
            assert_eq!(
                beside_a_canary(bytes, Symlinks::Verbatim),
                Err(Cause::Refused),
                "case {index} with {link}"
            );
        }
        // The last entry with a name replaces the link, and is not written through it.
        for (index, bytes) in replaced(link).iter().enumerate() {
            let tree = beside_a_canary(bytes, Symlinks::Verbatim);
            assert!(tree.is_ok(), "case {index} with {link}: {tree:?}");
            let contained = beside_a_canary(bytes, Symlinks::Contained);
            let is_gone = index == 0 || index == 2;
            assert_eq!(
                contained.is_ok(),
                is_gone,
                "case {index} with {link}: {contained:?}"
            );
        }
    }
}

#[test]
fn a_hard_link_refers_only_to_files_of_its_archive() {
    for target in [
        "../outside/kept",
        "/etc/passwd",
        "later",
        "d",
        "nowhere",
        "l/kept",
    ] {
        let bytes = Raw::default()
            .directory("d")
            .symlink("l", "d")
            .hard_link("h", target)
            .file("later", b"x")
            .end();
        assert_eq!(
            beside_a_canary(&bytes, Symlinks::Verbatim),
            Err(Cause::Refused),
            "{target}"
        );
    }
    let good = Raw::default()
        .file("f", b"data")
        .hard_link("d/h", "./f")
        .hard_link("again", "d/h")
        .end();
    let tree = beside_a_canary(&good, Symlinks::Contained).expect("extracted");
    assert_eq!(tree.matches(" 4 ").count(), 3, "{tree}");
}

#[test]
fn unknown_types_are_refused_and_setuid_is_dropped() {
    for flag in [b'M', b'N', b'Z'] {
        let bytes = Raw::default().with(flag, b"d", b"", b"", |_| {}).end();
        assert_eq!(
            extract_error(&bytes).cause,
            Cause::Refused,
            "{}",
            flag.escape_ascii()
        );
    }
    let bytes = Raw::default()
        .with(b'0', b"s", b"", b"x", |block| {
            block[100..108].copy_from_slice(b"0007755\0")
        })
        .end();
    let tree = beside_a_canary(&bytes, Symlinks::Contained).expect("extracted");
    assert!(tree.starts_with("s 755 "), "{tree}");
}

#[test]
fn links_follow_the_requested_rule() {
    let inside = Raw::default().file("a/b", b"x").symlink("l", "a/b").end();
    let workspace = Raw::default()
        .symlink("node_modules/pkg", "../../packages/pkg")
        .end();
    let absolute = Raw::default().symlink("l", "/etc/passwd").end();
    let together = Raw::default()
        .directory("p/q")
        .symlink("p/q/r", "../..")
        .symlink("s", "p/q/r/../x")
        .end();
    let outcome = |bytes: &[u8], rule| beside_a_canary(bytes, rule).err();
    for rule in [Symlinks::Contained, Symlinks::Relative, Symlinks::Verbatim] {
        assert_eq!(outcome(&inside, rule), None);
    }
    assert_eq!(outcome(&inside, Symlinks::Reject), Some(Cause::Refused));
    assert_eq!(outcome(&workspace, Symlinks::Contained), Some(Cause::Refused));
    assert_eq!(outcome(&workspace, Symlinks::Relative), None);
    assert_eq!(outcome(&absolute, Symlinks::Relative), Some(Cause::Refused));
    assert_eq!(outcome(&absolute, Symlinks::Verbatim), None);
    assert_eq!(outcome(&together, Symlinks::Contained), Some(Cause::Refused));
}

#[test]
fn a_pack_stores_a_link_as_a_link() {
    let root = tempfile::tempdir_in("/dev/shm").expect("a temporary directory");
    let tree = root.path().join("tree");
    fs::create_dir(&tree).expect("mkdir");
    fs::write(root.path().join("secret"), "secret").expect("write");
    std::os::unix::fs::symlink("../secret", tree.join("link")).expect("symlink");
    std::os::unix::fs::symlink("..", tree.join("up")).expect("symlink");
    let (bytes, summary) = super::support::pack(&tree);
    assert_eq!((summary.files, summary.leaving_links), (0, 2));
    let options = ExtractOptions {
        symlinks: Symlinks::Relative,
        ..ExtractOptions::default()
    };
    let (stage, result) = extract(&bytes, &options);
    result.expect("extracted");
    assert_eq!(
        fs::read_link(stage.path().join("link")).ok().as_deref(),
        Some(Path::new("../secret"))
    );
}
