//! Whatever stands in a manifest, comparing a generation with it does not panic, and only the true one fits.
#![no_main]

use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use warmswap::core::bundles::{FileLock, From, Options, Patience, PublishOptions, Stage, Store, Writer};
use warmswap::core::sys::cancel::Cancel;

struct Fixture {
    store: Store,
    number: u64,
    manifest: PathBuf,
    truth: Vec<u8>,
}

static FIXTURE: LazyLock<Fixture> = LazyLock::new(|| {
    let root = tempfile::tempdir_in("/dev/shm").expect("a temporary directory").keep();
    let patience = Patience::for_at_most(Duration::from_secs(5));
    let store = Store::open(root.to_str().expect("text"), &Options::default(), &patience).expect("a store");
    let cancel = Cancel::new();
    let stage = Stage::begin(&store, From::Empty, None, &cancel).expect("a stage");
    stage.write("deep/file.js", b"export {}", 0o644).expect("write");
    stage.symlink("link", "deep/file.js").expect("symlink");
    let sealed = stage.seal(&store, &[], &cancel).expect("sealed");
    let lock = FileLock::acquire(&store.layout().writer_lock(), &patience).expect("the lock");
    let mut writer = Writer::new(&store, lock).expect("a writer");
    writer.publish(&stage, &sealed, &PublishOptions::default()).expect("published");
    drop(writer);
    let number = store.current().expect("readlink").expect("a generation");
    let manifest = store.layout().manifest(number);
    let truth = fs::read(&manifest).expect("read");
    Fixture { store, number, manifest, truth }
});

fuzz_target!(|bytes: &[u8]| {
    let fixture = &*FIXTURE;
    drop(fs::remove_file(&fixture.manifest));
    fs::write(&fixture.manifest, bytes).expect("write");
    let found = fixture.store.verify(Some(fixture.number), &Cancel::new());
    if *bytes == *fixture.truth {
        assert_eq!(found.expect("the true manifest"), []);
    }
});
