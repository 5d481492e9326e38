//! The reader neither panics nor changes anything outside its stage, for any bytes.
#![no_main]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use warmswap::core::archives::{self, ExtractOptions, Limits, Symlinks};

/// A folder with a canary; stages are made and removed beside it.
static ROOT: LazyLock<PathBuf> = LazyLock::new(|| {
    let root = tempfile::tempdir_in("/dev/shm").expect("a temporary directory").keep();
    fs::create_dir(root.join("outside")).expect("mkdir");
    fs::write(root.join("outside/kept"), "kept").expect("write");
    root
});

/// A tar under a header of ours, so that changes need not get a checksum right: without it nearly all inputs end there.
fn with_checksums(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for block in bytes.chunks_exact_mut(512).filter(|block| &block[257..262] == b"ustar") {
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }
    bytes
}

fn extract(bytes: &[u8], symlinks: Symlinks) {
    let stage = ROOT.join("stage");
    fs::create_dir(&stage).expect("the stage was removed");
    let options = ExtractOptions {
        limits: Limits {
            max_bytes: 1 << 22,
            max_file_bytes: 1 << 22,
            max_files: 200,
            ..Limits::default()
        },
        symlinks,
        hash: true,
        ..ExtractOptions::default()
    };
    drop(archives::extract(bytes, &stage, &options));
    assert!(is_as_it_was(&ROOT), "something outside the stage changed");
    fs::remove_dir_all(&stage).expect("what a reader makes can be removed");
}

fn is_as_it_was(root: &Path) -> bool {
    let count = |path: &Path| fs::read_dir(path).expect("readable").count();
    let kept = root.join("outside/kept");
    count(root) == 2 && count(&root.join("outside")) == 1 && fs::read(kept).is_ok_and(|text| text == b"kept")
}

fuzz_target!(|bytes: &[u8]| {
    extract(bytes, Symlinks::Contained);
    extract(&with_checksums(bytes), Symlinks::Verbatim);
});
