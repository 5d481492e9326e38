//! Whatever stands in an owner.json, looking at the lock neither panics nor changes anything.
#![no_main]

use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use warmswap::core::locks::{LockPath, inspect};

static LOCK: LazyLock<PathBuf> = LazyLock::new(|| {
    let lock = tempfile::tempdir_in("/dev/shm")
        .expect("a temporary directory")
        .keep()
        .join("lock");
    fs::create_dir(&lock).expect("mkdir");
    lock
});

fuzz_target!(|bytes: &[u8]| {
    let owner = LOCK.join("owner.json");
    fs::write(&owner, bytes).expect("write");
    let lock = LockPath::parse(LOCK.to_str().expect("text")).expect("a path");
    drop(inspect(&lock));
    assert_eq!(fs::read(&owner).expect("read"), bytes, "a look changed the record");
});
