//! Calls on archives and caches in a process that can be killed at any of its system calls:
//!
//! * `archive-child <archive> <target> <mode>` unpacks; prints the way of the commit, or the outcome of the failure;
//! * `archive-child pack <tree> <archive>` prints how many files and the tree's digest, then what was skipped, or the
//!   outcome of the failure;
//! * `archive-child snapshot <folder of the store> <tree>` prints the outcome, and why if it has a reason;
//! * `archive-child restore <folder of the store> <target>` does so too, and waits for the stamp.

#![expect(clippy::print_stdout, reason = "what a test reads")]

use std::path::{Path, PathBuf};
use std::time::Duration;

use warmswap::core::archives::commit::TargetMode;
use warmswap::core::archives::exclude::Excludes;
use warmswap::core::archives::{
    self, Duplicates, Limits, Skipped, Symlinks, UnpackOptions, UnpackOutcome, WriteOptions,
};
use warmswap::core::caches::{
    Budget, Cache, Conditions, Guard, Key, Location, PackOptions, Producer, RestoreOptions, Run,
    SnapshotOptions, tree_manifest,
};
use warmswap::core::failure::Stage;
use warmswap::core::sys::cancel::Cancel;
use warmswap::core::sys::deadline::Deadline;
use warmswap::core::sys::{fault, fs};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments
        .iter()
        .map(String::as_str)
        .collect::<Vec<_>>()
        .as_slice()
    {
        ["pack", tree, archive] => pack(tree, archive),
        ["snapshot", store, tree] => snapshot(store, tree),
        ["restore", store, target] => restore(store, target),
        [archive, target, mode] => unpack(archive, target, mode),
        _ => panic!("what archive-child takes is in its first lines"),
    }
}

fn unpack(archive: &str, target: &str, mode: &str) {
    let options = UnpackOptions {
        mode: match mode {
            "replace" => TargetMode::Replace,
            "merge" => TargetMode::Merge,
            _ => TargetMode::IfEmpty,
        },
        // Tests that trace hostile archives make every link that is asked for.
        symlinks: if std::env::var_os("VERBATIM").is_some() {
            Symlinks::Verbatim
        } else {
            Symlinks::Contained
        },
        duplicates: Duplicates::Replace,
        declared_bytes: None,
        limits: Limits::default(),
        deadline: Deadline::NEVER,
    };
    // Without a driver for sockets: it needs no file descriptor.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime");
    fault::arm();
    let (_job, ended) = archives::unpack(Some(PathBuf::from(archive)), PathBuf::from(target), options);
    match runtime.block_on(ended) {
        Ok(unpacked) => println!("{}", unpacked.method.as_str()),
        Err(failure) => println!("{}: {failure}", UnpackOutcome::from(failure.cause).as_str()),
    }
}

fn pack(tree: &str, into: &str) {
    let mut sink = fs::create_new(Path::new(into), 0o600).expect("the archive");
    fault::arm();
    match archives::write(Path::new(tree), &mut sink, &WriteOptions::default()) {
        Ok(summary) => {
            println!("packed {} {}", summary.files, summary.tree.digest());
            for Skipped { path, why } in &summary.skipped {
                println!("{path}: {why}");
            }
        }
        Err(failure) => println!("{}", UnpackOutcome::from(failure.cause).as_str()),
    }
}

fn snapshot(store: &str, tree: &str) {
    let cache = Cache::open(
        Some(&Location::File(PathBuf::from(store))),
        None,
        false,
        Conditions::Auto,
    )
    .expect("a store");
    let options = SnapshotOptions {
        key: Key::parse("key", "site").expect("a key"),
        from: PathBuf::from(tree),
        ticket: None,
        packing: PackOptions {
            excludes: Excludes::default(),
            level: None,
            max_files: u64::MAX,
            max_bytes: u64::MAX,
        },
        guard: Guard::default(),
        quiet: Duration::ZERO,
        producer: Producer::default(),
    };
    let runtime = runtime();
    fault::arm();
    let report = runtime.block_on(cache.snapshot(options, run()));
    print(report.outcome.as_str(), report.reason);
}

fn restore(store: &str, target: &str) {
    let cache = Cache::open(
        Some(&Location::File(PathBuf::from(store))),
        None,
        true,
        Conditions::Auto,
    )
    .expect("a store");
    let options = RestoreOptions {
        keys: vec![Key::parse("key", "site").expect("a key")],
        into: PathBuf::from(target),
        mode: TargetMode::Replace,
        symlinks: Symlinks::Contained,
        duplicates: Duplicates::Replace,
        expect: Producer::default(),
        limits: Limits::default(),
        concurrency: 2,
    };
    let restored = runtime().block_on(cache.restore(options, run()));
    let report = restored.expect("a target that is no file");
    let generation = report.generation.unwrap_or_default();
    let is_stamped = || {
        tree_manifest::read(Path::new(target))
            .is_ok_and(|stamp| stamp.is_some_and(|stamp| stamp.generation.ends_with(&generation)))
    };
    for _ in 0..200 {
        if report.outcome.as_str() != "restored" || is_stamped() {
            break;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    print(report.outcome.as_str(), report.reason);
}

fn print(outcome: &str, reason: Option<String>) {
    match reason {
        Some(reason) => println!("{outcome}: {reason}"),
        None => println!("{outcome}"),
    }
}

fn run() -> std::sync::Arc<Run> {
    let budget = Budget {
        deadline: Duration::from_mins(1),
        idle: Duration::from_secs(30),
        min_bytes_per_second: 0,
        attempts: 3,
    };
    Run::start(budget, Cancel::new(), Stage::Lookup)
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime")
}
