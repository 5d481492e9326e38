//! CVE-2025-36852: a job of a pull request writes to the cache that the main branch reads.
//!
//! The writer here has the private key of its own level, knows every name and every byte of the main branch's objects, and
//! may write anywhere: the store enforces no policy. It cannot make the main branch restore anything else than what the
//! main branch has saved under the same key.

// guarantee: caches/no-poisoning, fleet/no-poisoning

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use warmswap::core::archives::commit::TargetMode;
use warmswap::core::archives::exclude::Excludes;
use warmswap::core::archives::{Duplicates, Limits, Symlinks};
use warmswap::core::caches::store::{self, Body, CallContext, Condition, Store};
use warmswap::core::caches::{
    Budget, Cache, Conditions, EnsureFailure, EnsureOptions, EnsureStep, Guard, Key, Location, PackOptions,
    Producer, RestoreOptions, Run, SnapshotOptions, Trust, TrustOptions,
};
use warmswap::core::failure::Stage;
use warmswap::core::sys::cancel::Cancel;

use super::support::describe;
use super::support::seeded_bugs::is_killed_by;

const MAIN: u8 = 1;
const PULL_REQUEST: u8 = 2;

/// A private key: PKCS#8 of an Ed25519 key with this seed.
fn private_key(seed: u8) -> Vec<u8> {
    const PKCS8: [u8; 16] = [
        0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
    ];
    [&PKCS8[..], &[seed; 32]].concat()
}

fn public_key(seed: u8) -> Vec<u8> {
    writer("x", seed).reads[0].trusted_keys().remove(0)
}

/// Writes to this level, and reads it.
fn writer(level: &str, seed: u8) -> Trust {
    let options = TrustOptions {
        level: Some(level.to_owned()),
        sign_with: Some(private_key(seed)),
        ..TrustOptions::default()
    };
    options.resolve().expect("it fits")
}

/// A store, and what the main branch has saved in it.
struct Arena {
    root: TempDir,
    store: Arc<dyn Store>,
    location: Location,
    runtime: Runtime,
}

impl Arena {
    fn new(is_memory: bool) -> Self {
        let root = tempfile::tempdir_in("/dev/shm").expect("a temporary directory");
        let location = if is_memory {
            Location::Memory(root.path().display().to_string())
        } else {
            Location::File(root.path().join("store"))
        };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build();
        let arena = Self {
            store: store::open(&location).expect("a store"),
            root,
            location,
            runtime: runtime.expect("a runtime"),
        };
        let main = arena.cache(writer("main", MAIN));
        assert_eq!(arena.save(&main, "site", "main").0, "uploaded");
        assert_eq!(arena.save(&main, "tools", "the tools of main").0, "uploaded");
        for fingerprint in ["one", "two"] {
            let built = arena.ensure(&main, "site", fingerprint, "built by main");
            assert_eq!(built, Ok("built".to_owned()));
        }
        arena
    }

    fn cache(&self, trust: Trust) -> Cache {
        let cache = Cache::open(Some(&self.location), None, false, Conditions::Auto);
        cache.expect("a cache").trusting(trust)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// A tree with this content.
    fn tree(&self, content: &str) -> PathBuf {
        let tree = self.path(&format!("tree {content}"));
        fs::create_dir_all(&tree).expect("mkdir");
        fs::write(tree.join("file"), content).expect("write");
        tree
    }

    fn save(&self, cache: &Cache, key: &str, content: &str) -> (&'static str, String) {
        let options = SnapshotOptions {
            key: key_of(key),
            from: self.tree(content),
            ticket: None,
            packing: PackOptions {
                excludes: Excludes::default(),
                level: None,
                max_files: u64::MAX,
                max_bytes: u64::MAX,
            },
            guard: Guard::default(),
            quiet: Duration::ZERO,
            producer: Producer::of_this_machine("one".to_owned()),
        };
        let report = self.runtime.block_on(cache.snapshot(options, run()));
        (report.outcome.as_str(), report.reason.unwrap_or_default())
    }

    fn restore(&self, cache: &Cache, key: &str, into: &Path) -> &'static str {
        let report = self
            .runtime
            .block_on(cache.restore(restore_options(key, into), run()));
        let outcome = report.expect("a target that is no file").outcome.as_str();
        // A tree manifest that is written later would change what the next call finds.
        self.runtime.block_on(cache.wait_for_background());
        outcome
    }

    /// The role, or the outcome of a failure.
    fn ensure(&self, cache: &Cache, key: &str, fingerprint: &str, content: &str) -> Result<String, String> {
        let into = self.path(&format!("into {fingerprint}"));
        let options = EnsureOptions {
            key: key_of(key),
            fingerprint: fingerprint.to_owned(),
            restore: restore_options(key, &into),
            level: None,
            ttl: Duration::from_secs(30),
            deadline: None,
            shares_failures: true,
            restore_budget: budget(),
            upload_budget: budget(),
        };
        self.runtime.block_on(async {
            let (call, work) = cache.ensure(options, Cancel::new(), |_| {}).expect("it fits");
            let working = tokio::spawn(work);
            let ended = loop {
                match call.next().await.expect("a step") {
                    EnsureStep::Build { directory, .. } => {
                        fs::write(directory.join("file"), content).expect("write");
                        call.settle(None);
                    }
                    EnsureStep::End(ended) => break *ended,
                }
            };
            working.await.expect("it ended");
            cache.wait_for_background().await;
            match ended {
                Ok(report) => Ok(report.role.as_str().to_owned()),
                Err(EnsureFailure::Restore(report)) => Err(report.outcome.as_str().to_owned()),
                Err(EnsureFailure::Step(failure)) => Err(format!("{:?}", failure.cause)),
                Err(EnsureFailure::Build(message) | EnsureFailure::SharedBuild(message)) => Err(message),
            }
        })
    }

    fn read(&self, path: &str) -> Vec<u8> {
        let context = context();
        let read = store::read_small(&*self.store, path, 1 << 20, &context);
        self.runtime
            .block_on(read)
            .unwrap_or_else(|failure| panic!("{path}: {failure}"))
            .0
            .to_vec()
    }

    fn write(&self, path: &str, bytes: impl Into<Vec<u8>>) {
        let body = Body::Bytes(bytes.into().into());
        let context = context();
        let write = self.store.write(path, body, Condition::Always, &context);
        self.runtime.block_on(write).expect("the store has no policy");
    }

    fn copy(&self, from: &str, to: &str) {
        self.write(to, self.read(from));
    }

    /// Copies all objects of one folder to another.
    fn copy_all(&self, from: &str, to: &str) {
        let context = context();
        let found = self.runtime.block_on(self.store.list(from, &context));
        for object in found.expect("listed") {
            self.copy(&object.path, &object.path.replacen(from, to, 1));
        }
    }

    /// Edits an object that is JSON.
    fn edit(&self, path: &str, edit: impl FnOnce(&mut Value)) {
        let mut value: Value = serde_json::from_slice(&self.read(path)).expect("JSON");
        edit(&mut value);
        self.write(path, serde_json::to_vec(&value).expect("JSON"));
    }

    /// What the pull request has signed for its own level, under the same key.
    fn poison(&self) -> Value {
        let own = self.cache(writer("pr-1", PULL_REQUEST));
        assert_eq!(self.save(&own, "site", "poison").0, "uploaded");
        self.copy_all(
            ".warmswap-level/pr-1/site/blobs/",
            ".warmswap-level/main/site/blobs/",
        );
        serde_json::from_slice(&self.read(".warmswap-level/pr-1/site/current.json")).expect("JSON")
    }
}

const CURRENT: &str = ".warmswap-level/main/site/current.json";

fn record(key: &str, fingerprint: &str) -> String {
    let name = blake3::hash(fingerprint.as_bytes()).to_hex();
    format!(".warmswap-level/main/{key}/.warmswap-ensure/{name}.json")
}

fn key_of(text: &str) -> Key {
    Key::parse("key", text).expect("a key")
}

fn restore_options(key: &str, into: &Path) -> RestoreOptions {
    RestoreOptions {
        keys: vec![key_of(key)],
        into: into.to_path_buf(),
        mode: TargetMode::Replace,
        symlinks: Symlinks::Contained,
        duplicates: Duplicates::Replace,
        expect: Producer::default(),
        limits: Limits::default(),
        concurrency: 2,
    }
}

fn budget() -> Budget {
    Budget {
        deadline: Duration::from_mins(1),
        idle: Duration::from_secs(30),
        min_bytes_per_second: 0,
        attempts: 3,
    }
}

fn run() -> Arc<Run> {
    Run::start(budget(), Cancel::new(), Stage::Lookup)
}

fn context() -> Arc<CallContext> {
    Arc::new(CallContext::new(Cancel::new(), Duration::from_secs(30), 1))
}

/// What the writer of the pull request does, and where it does it.
type Attack = (&'static str, fn(&Arena));

/// Attacks on what the main branch restores under the key 'site'.
const ON_CURRENT: &[Attack] = &[
    ("a pointer without a signature", |arena| {
        let pointer = arena.poison()["pointer"].as_str().expect("text").to_owned();
        arena.write(CURRENT, pointer);
    }),
    ("a pointer that pr-1 has signed for itself", |arena| {
        let signed = arena.poison();
        arena.write(CURRENT, signed.to_string());
    }),
    ("a pointer that claims to be of main", |arena| {
        let forger = arena.cache(writer("main", PULL_REQUEST));
        arena.runtime.block_on(async {
            let context = context();
            drop(arena.store.delete(CURRENT, &context).await);
        });
        assert_eq!(arena.save(&forger, "site", "poison").0, "uploaded");
    }),
    ("main's signature with a pointer of pr-1", |arena| {
        let signed = arena.poison();
        arena.edit(CURRENT, |main| main["pointer"] = signed["pointer"].clone());
    }),
    ("an empty signature", |arena| {
        arena.edit(CURRENT, |main| main["signature"] = json!(""));
    }),
    ("a signature of zeros", |arena| {
        arena.edit(CURRENT, |main| main["signature"] = json!("0".repeat(128)));
    }),
    ("main's pointer with a blob of pr-1 in its place", |arena| {
        let signed = arena.poison();
        let sha256 = |signed: &Value| {
            let pointer: Value =
                serde_json::from_str(signed["pointer"].as_str().expect("text")).expect("JSON");
            pointer["sha256"].as_str().expect("text").to_owned()
        };
        let main: Value = serde_json::from_slice(&arena.read(CURRENT)).expect("JSON");
        let blob = |sha256: &str| format!(".warmswap-level/main/site/blobs/{sha256}.tar.zst");
        arena.copy(&blob(&sha256(&signed)), &blob(&sha256(&main)));
    }),
    ("main's pointer of another key", |arena| {
        arena.copy_all(
            ".warmswap-level/main/tools/blobs/",
            ".warmswap-level/main/site/blobs/",
        );
        arena.copy(".warmswap-level/main/tools/current.json", CURRENT);
    }),
    ("a pointer of another level with the same key pair", |arena| {
        let staging = arena.cache(writer("staging", MAIN));
        assert_eq!(arena.save(&staging, "site", "staging").0, "uploaded");
        arena.copy_all(".warmswap-level/staging/site/", ".warmswap-level/main/site/");
    }),
    ("main's result of a fingerprint", |arena| {
        let result: Value = serde_json::from_slice(&arena.read(&record("site", "one"))).expect("JSON");
        arena.write(CURRENT, result["pointer"].to_string());
    }),
];

/// Attacks on what the main branch restores under the key 'site' for the fingerprint 'two'.
const ON_RESULT: &[Attack] = &[
    ("a result without a signature", |arena| {
        let pointer = arena.poison()["pointer"].as_str().expect("text").to_owned();
        let mut pointer: Value = serde_json::from_str(&pointer).expect("JSON");
        pointer["producer"]["fingerprint"] = json!("two");
        arena.edit(&record("site", "two"), |record| record["pointer"] = pointer);
    }),
    ("a result that pr-1 has signed for itself", |arena| {
        let own = arena.cache(writer("pr-1", PULL_REQUEST));
        assert_eq!(
            arena.ensure(&own, "site", "two", "poison"),
            Ok("built".to_owned())
        );
        arena.copy_all(
            ".warmswap-level/pr-1/site/blobs/",
            ".warmswap-level/main/site/blobs/",
        );
        let of_main = record("site", "two");
        arena.copy(&of_main.replacen("/main/", "/pr-1/", 1), &of_main);
    }),
    ("main's result of another key", |arena| {
        let main = arena.cache(writer("main", MAIN));
        assert_eq!(
            arena.ensure(&main, "tools", "two", "the tools"),
            Ok("built".to_owned())
        );
        arena.copy_all(
            ".warmswap-level/main/tools/blobs/",
            ".warmswap-level/main/site/blobs/",
        );
        arena.copy(&record("tools", "two"), &record("site", "two"));
    }),
    ("main's result of another fingerprint", |arena| {
        arena.copy(&record("site", "one"), &record("site", "two"));
    }),
    (
        "main's current pointer, which has the fingerprint 'one'",
        |arena| {
            let current: Value = serde_json::from_slice(&arena.read(CURRENT)).expect("JSON");
            arena.copy(&record("site", "two"), &record("site", "one"));
            arena.edit(&record("site", "one"), |record| record["pointer"] = current);
            arena.copy(&record("site", "one"), &record("site", "two"));
        },
    ),
];

fn place(is_memory: bool) -> &'static str {
    if is_memory { "in memory" } else { "in a folder" }
}

/// The main branch restores over an older tree, and into nothing.
fn check_current(attack: &Attack, is_memory: bool) {
    let arena = Arena::new(is_memory);
    let what = format!("{} ({})", attack.0, place(is_memory));
    let main = arena.cache(writer("main", MAIN));
    let (old, absent) = (arena.tree("an older tree"), arena.path("absent"));
    let before = describe(&old);
    (attack.1)(&arena);
    for into in [&old, &absent] {
        let outcome = arena.restore(&main, "site", into);
        assert!(matches!(outcome, "refused" | "corrupt"), "{what}: {outcome}");
    }
    assert_eq!(describe(&old), before, "{what}: the target changed");
    assert!(!absent.exists(), "{what}: the target was made");
    // What others restore later is not the pull request's tree either: it is not kept as the main branch's own.
    let (outcome, reason) = arena.save(&main, "site", "poison");
    assert!(
        matches!(outcome, "denied" | "uploaded"),
        "{what}: {outcome}: {reason}"
    );
}

fn check_result(attack: &Attack, is_memory: bool) {
    let arena = Arena::new(is_memory);
    let what = format!("{} ({})", attack.0, place(is_memory));
    let main = arena.cache(writer("main", MAIN));
    let into = arena.path("into two");
    fs::remove_dir_all(&into).expect("rm");
    (attack.1)(&arena);
    drop(fs::remove_dir_all(&into));
    let ended = arena.ensure(&main, "site", "two", "built again");
    match ended {
        Ok(role) => {
            let content = fs::read_to_string(into.join("file")).expect("a file");
            assert!(
                role != "restored" && content == "built again",
                "{what}: {role}, {content}"
            );
        }
        Err(cause) => {
            assert_eq!(cause, "Refused", "{what}");
            assert!(!into.exists(), "{what}: the target was made");
        }
    }
}

#[test]
fn cve_2025_36852_a_pull_request_cannot_change_what_main_restores() {
    for is_memory in [false, true] {
        for attack in ON_CURRENT {
            check_current(attack, is_memory);
        }
        for attack in ON_RESULT {
            check_result(attack, is_memory);
        }
    }
}

/// The tree of a pull request is in the target, under the name of main's generation: then the target is not main's tree.
#[test]
fn cve_2025_36852_a_tree_with_the_name_of_mains_generation_is_replaced() {
    let arena = Arena::new(false);
    let (main, own) = (
        arena.cache(writer("main", MAIN)),
        arena.cache(writer("pr-1", PULL_REQUEST)),
    );
    let signed = arena.poison();
    let pointer_of = |signed: &Value| -> Value {
        serde_json::from_str(signed["pointer"].as_str().expect("text")).expect("JSON")
    };
    let of_main = pointer_of(&serde_json::from_slice(&arena.read(CURRENT)).expect("JSON"));
    let mut forged = pointer_of(&signed);
    forged["generation"] = of_main["generation"].clone();
    // Without the signature of a level: a plain cache of the same store restores it.
    arena.copy_all(".warmswap-level/pr-1/site/blobs/", "site/blobs/");
    forged["etag"] = json!(etag_of(&arena, forged["sha256"].as_str().expect("text")));
    arena.write("site/current.json", forged.to_string());
    let plain = Cache::open(Some(&arena.location), None, true, Conditions::Auto).expect("a cache");
    let into = arena.path("shared");
    assert_eq!(arena.restore(&plain, "site", &into), "restored");
    assert_eq!(fs::read_to_string(into.join("file")).expect("read"), "poison");
    assert_eq!(arena.restore(&main, "site", &into), "restored");
    assert_eq!(fs::read_to_string(into.join("file")).expect("read"), "main");
    assert_eq!(arena.restore(&main, "site", &into), "unchanged");
    assert_eq!(arena.restore(&own, "site", &into), "restored");
}

fn etag_of(arena: &Arena, sha256: &str) -> String {
    let context = context();
    let path = format!("site/blobs/{sha256}.tar.zst");
    let stat = arena.runtime.block_on(arena.store.stat(&path, &context));
    stat.expect("it exists").etag
}

/// What main has saved is restored by main, and by a pull request that trusts main. It reads no level without a key.
#[test]
fn a_level_reads_what_the_levels_that_it_trusts_have_signed() {
    let arena = Arena::new(true);
    arena.poison();
    let reader = |level: Option<&str>, seed: Option<u8>, trusted: &[(&str, u8)]| {
        let options = TrustOptions {
            level: level.map(str::to_owned),
            sign_with: seed.map(private_key),
            trusted_keys: trusted
                .iter()
                .map(|(level, seed)| ((*level).to_owned(), vec![public_key(*seed)]))
                .collect(),
            reads_from: None,
        };
        arena.cache(options.resolve().expect("it fits"))
    };
    for (cache, content) in [
        (reader(Some("main"), Some(MAIN), &[]), "main"),
        (reader(None, None, &[("main", MAIN)]), "main"),
        (reader(Some("pr-1"), None, &[("main", MAIN)]), "main"),
        (
            reader(Some("pr-2"), Some(PULL_REQUEST), &[("main", MAIN)]),
            "main",
        ),
        (
            reader(Some("pr-1"), Some(PULL_REQUEST), &[("main", MAIN)]),
            "poison",
        ),
    ] {
        let into = arena.path("into");
        drop(fs::remove_dir_all(&into));
        assert_eq!(arena.restore(&cache, "site", &into), "restored");
        assert_eq!(fs::read_to_string(into.join("file")).expect("read"), content);
        assert_eq!(arena.restore(&cache, "nothing", &into), "miss");
    }
    let wrong = reader(None, None, &[("main", PULL_REQUEST)]);
    assert_eq!(arena.restore(&wrong, "site", &arena.path("refused")), "refused");
}

mod seeded {
    use super::is_killed_by;

    const ATTACKS: &str = "caches::trust::cve_2025_36852_a_pull_request_cannot_change_what_main_restores";

    #[test]
    fn a_signature_that_does_not_cover_the_level_is_detected() {
        is_killed_by("trust-level-uncovered", ATTACKS);
    }

    #[test]
    fn a_signature_that_does_not_cover_the_key_is_detected() {
        is_killed_by("trust-key-uncovered", ATTACKS);
    }

    #[test]
    fn a_signature_that_does_not_cover_the_use_is_detected() {
        is_killed_by("trust-scope-uncovered", ATTACKS);
    }

    #[test]
    fn an_unsigned_pointer_that_is_accepted_is_detected() {
        is_killed_by("trust-unsigned", ATTACKS);
    }

    #[test]
    fn ignored_trusted_keys_are_detected() {
        is_killed_by("trust-any-key", ATTACKS);
    }

    #[test]
    fn a_tree_that_is_known_by_the_name_of_its_generation_only_is_detected() {
        is_killed_by(
            "manifest-by-generation",
            "caches::trust::cve_2025_36852_a_tree_with_the_name_of_mains_generation_is_replaced",
        );
    }
}
