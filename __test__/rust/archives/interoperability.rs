//! archives/other-tools-agree: warmswap restores the archives of other tools identically, and other tools extract those
//! of warmswap identically.

use std::fs;
use std::path::Path;
use std::process::Command;

use warmswap::core::archives::ExtractOptions;
use warmswap::core::archives::codec::Format;

use super::support::{Random, assert_same, describe, extract, pack_as, random_tree};

/// Returns `false` with a message if the program is not installed. In CI that is a failure.
fn has(program: &str) -> bool {
    let is_there = Command::new(program).arg("--version").output().is_ok();
    assert!(
        is_there || std::env::var_os("CI").is_none(),
        "{program} must be installed in CI"
    );
    if !is_there {
        eprintln!("SKIPPED: {program} is not installed");
    }
    is_there
}

fn shell(script: &str, directory: &Path) {
    let output = Command::new("bash")
        .args(["-c", &format!("set -eo pipefail; {script}")])
        .current_dir(directory)
        .env("LC_ALL", "C.UTF-8")
        .output()
        .expect("started");
    assert!(
        output.status.success(),
        "{script}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// A tree with a sparse file and long names.
fn sample(root: &Path) {
    random_tree(root, &mut Random(4242));
    let deep = root.join("deep").join("x".repeat(120)).join("y".repeat(120));
    fs::create_dir_all(&deep).expect("mkdir");
    fs::write(deep.join("z".repeat(120)), "long").expect("write");
    std::os::unix::fs::symlink("t".repeat(150), deep.join("link")).expect("symlink");
    let sparse = fs::File::create(root.join("sparse")).expect("create");
    sparse.set_len(5 << 20).expect("truncate");
    for offset in [0_u64, 1 << 20, 3_500_000] {
        std::os::unix::fs::FileExt::write_all_at(&sparse, b"island", offset).expect("write");
    }
}

/// GNU tar's own format keeps whole seconds, and Python rounds and sets no times of links.
fn without_fractions(text: &str) -> String {
    text.lines()
        .map(|line| {
            line.rsplit_once(if line.contains(" -> ") { '@' } else { '.' })
                .map_or(line, |(rest, _)| rest)
        })
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn archives_of_other_tools_are_restored_identically() {
    let root = tempfile::tempdir_in("/dev/shm").expect("a temporary directory");
    let tree = root.path().join("tree");
    fs::create_dir(&tree).expect("mkdir");
    sample(&tree);
    let wanted = describe(&tree);
    let cases = [
        ("tar", true, "tar --format=pax -cf ../a.tar ."),
        ("tar", false, "tar --format=gnu -cf ../a.tar ."),
        ("tar", false, "tar --format=gnu -Scf ../a.tar ."),
        (
            "tar",
            true,
            "tar --format=pax --sparse-version=1.0 -Scf ../a.tar .",
        ),
        ("tar", false, "tar -czf ../a.tar ."),
        ("zstd", false, "tar -cf - . | zstd -q -T0 --long=27 > ../a.tar"),
        ("pigz", false, "tar -cf - . | pigz > ../a.tar"),
        ("bsdtar", true, "bsdtar --format=pax -cf ../a.tar ."),
        (
            "bsdtar",
            false,
            "bsdtar --zstd --options hdrcharset=BINARY -cf ../a.tar .",
        ),
        (
            "python3",
            false,
            "python3 -c \"import tarfile; t = tarfile.open('../a.tar', 'w', format=tarfile.GNU_FORMAT); t.add('.'); t.close()\"",
        ),
        (
            "python3",
            true,
            "python3 -c \"import tarfile; t = tarfile.open('../a.tar', 'w:gz'); t.add('.'); t.close()\"",
        ),
    ];
    for (program, keeps_fractions, script) in cases {
        if !has(program) {
            continue;
        }
        shell(script, &tree);
        let bytes = fs::read(root.path().join("a.tar")).expect("an archive");
        let (stage, result) = extract(&bytes, &ExtractOptions::default());
        result.unwrap_or_else(|failure| panic!("{script}: {failure}"));
        let got = describe(stage.path());
        if keeps_fractions && !script.contains("python3") {
            assert_same(&got, &wanted, script);
        } else {
            assert_same(&without_fractions(&got), &without_fractions(&wanted), script);
        }
    }
}

#[test]
fn other_tools_extract_our_archives_identically() {
    let root = tempfile::tempdir_in("/dev/shm").expect("a temporary directory");
    let tree = root.path().join("tree");
    fs::create_dir(&tree).expect("mkdir");
    sample(&tree);
    let wanted = describe(&tree);
    let cases = [
        ("tar", Format::Tar, "tar -xpf ../a"),
        ("tar", Format::TarGz, "tar -xpzf ../a"),
        ("tar", Format::TarGz, "gzip -t < ../a && tar -xpzf ../a"),
        ("zstd", Format::TarZst, "zstd -qdc < ../a | tar -xp"),
        ("bsdtar", Format::TarZst, "bsdtar -xpf ../a"),
        ("bsdtar", Format::TarGz, "bsdtar -xpf ../a"),
        (
            "python3",
            Format::TarGz,
            "python3 -c \"import tarfile; tarfile.open('../a').extractall('.', filter='fully_trusted')\"",
        ),
    ];
    for (program, format, script) in cases {
        if !has(program) {
            continue;
        }
        fs::write(root.path().join("a"), pack_as(&tree, format).0).expect("write");
        let out = root.path().join("out");
        fs::create_dir(&out).expect("mkdir");
        shell(script, &out);
        let got = describe(&out);
        if script.contains("python3") {
            assert_same(&without_fractions(&got), &without_fractions(&wanted), script);
        } else {
            assert_same(&got, &wanted, script);
        }
        fs::remove_dir_all(&out).expect("rm");
    }
}
