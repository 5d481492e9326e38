//! Round trips of archives.

use std::fs;
use std::path::Path;

use warmswap::core::caches::archive::{self, ExtractOptions, WriteOptions};
use warmswap::core::caches::codec::Format;
use warmswap::core::caches::failure::Outcome;

fn sample(root: &Path) {
    fs::create_dir_all(root.join("a/b")).expect("mkdir");
    fs::create_dir_all(root.join("empty")).expect("mkdir");
    fs::write(root.join("a/one.js"), "export default 1").expect("write");
    fs::write(root.join("a/b/big.bin"), vec![7_u8; 3 << 20]).expect("write");
    fs::write(root.join("nothing"), "").expect("write");
    fs::hard_link(root.join("a/one.js"), root.join("again.js")).expect("link");
    std::os::unix::fs::symlink("a/one.js", root.join("link.js")).expect("symlink");
}

fn packed(root: &Path, format: Format) -> (Vec<u8>, archive::WriteSummary) {
    let mut bytes = Vec::new();
    let options = WriteOptions {
        format,
        ..WriteOptions::default()
    };
    let summary = archive::write(root, &mut bytes, &options).expect("packed");
    (bytes, summary)
}

#[test]
fn what_was_packed_is_what_is_extracted() {
    let temporary = tempfile::tempdir().expect("a temporary directory");
    let tree = temporary.path().join("tree");
    sample(&tree);
    for format in [Format::TarZst, Format::TarGz, Format::Tar] {
        let (bytes, summary) = packed(&tree, format);
        let stage = temporary.path().join(format.as_str());
        fs::create_dir(&stage).expect("mkdir");
        let options = ExtractOptions {
            hash: true,
            ..ExtractOptions::default()
        };
        let extracted = archive::extract(bytes.as_slice(), &stage, &options).expect("extracted");
        assert_eq!((extracted.files, extracted.bytes), (summary.files, summary.bytes));
        assert_eq!(
            extracted.tree.digest(),
            summary.tree.digest(),
            "{}",
            format.as_str()
        );
        assert_eq!(
            fs::read(stage.join("link.js")).expect("read"),
            b"export default 1"
        );
    }
}

#[test]
fn an_archive_that_is_cut_is_corrupt() {
    let temporary = tempfile::tempdir().expect("a temporary directory");
    let tree = temporary.path().join("tree");
    sample(&tree);
    let (bytes, _) = packed(&tree, Format::TarZst);
    for cut in [0, 1, 100, bytes.len() / 2, bytes.len() - 40] {
        let stage = tempfile::tempdir().expect("a temporary directory");
        let failure =
            archive::extract(&bytes[..cut], stage.path(), &ExtractOptions::default()).expect_err("cut off");
        assert_eq!(failure.outcome, Outcome::Corrupt, "{failure}");
    }
}
