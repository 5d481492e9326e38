//! Whatever stands in a manifest, comparing a generation with it does not panic, and only the true one fits.
#![no_main]

use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use warmswap::core::bundles::{Options, Patience, PublishOptions, StageBase, Store};
use warmswap::core::error::Result;
use warmswap::core::sys::cancel::Cancel;

struct Fixture {
    store: Arc<Store>,
    number: u64,
    manifest: PathBuf,
    truth: Vec<u8>,
}

static FIXTURE: LazyLock<Fixture> = LazyLock::new(|| {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    runtime.expect("a runtime").block_on(published()).expect("a store with a generation")
});

async fn published() -> Result<Fixture> {
    let root = tempfile::tempdir_in("/dev/shm").expect("a temporary directory").keep();
    let patience = Patience::for_at_most(Duration::from_secs(5));
    let root = root.to_str().expect("text").to_owned();
    let store = Store::open(root, Options::default(), &patience).await?;
    let stage = store.stage(StageBase::Empty, false, &patience).await?;
    let filled = stage.fill(None, |stage| {
        stage.write("deep/file.js", b"export {}", 0o644)?;
        stage.symlink("link", "deep/file.js")
    });
    filled.await?;
    let published = stage.publish(Vec::new(), PublishOptions::default(), patience).await?;
    store.settled().await;
    let number = published.head.number;
    let manifest = store.layout().manifest(number);
    let truth = fs::read(&manifest).expect("read");
    Ok(Fixture { store, number, manifest, truth })
}

fuzz_target!(|bytes: &[u8]| {
    let fixture = &*FIXTURE;
    drop(fs::remove_file(&fixture.manifest));
    fs::write(&fixture.manifest, bytes).expect("write");
    let found = fixture.store.verify(Some(fixture.number), &Cancel::new());
    if *bytes == *fixture.truth {
        assert_eq!(found.expect("the true manifest"), []);
    }
});
