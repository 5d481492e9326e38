//! The calls behind JavaScript's `pack` and `unpack`: a stream of chunks, and a job that is fed.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use warmswap::core::archives::codec::Format;
use warmswap::core::archives::commit::{CommitMethod, TargetMode};
use warmswap::core::archives::{self, Duplicates, Limits, Next, Symlinks, UnpackOptions, WriteOptions};
use warmswap::core::failure::{Cause, Result, Stage};
use warmswap::core::sys::deadline::Deadline;

use super::support::{Random, Raw, describe, pack_as, random_tree};

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build()
        .expect("a runtime")
        .block_on(work)
}

fn options(deadline: Deadline) -> UnpackOptions {
    UnpackOptions {
        mode: TargetMode::IfEmpty,
        symlinks: Symlinks::Contained,
        duplicates: Duplicates::Replace,
        declared_bytes: None,
        limits: Limits::default(),
        deadline,
    }
}

fn sample(root: &Path) -> PathBuf {
    let tree = root.join("tree");
    fs::create_dir(&tree).expect("mkdir");
    random_tree(&tree, &mut Random(99));
    tree
}

async fn collect(stream: &archives::PackStream) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    while let Some(chunk) = stream.next().await? {
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

#[test]
fn a_pack_stream_has_the_bytes_of_a_pack() {
    let root = tempfile::tempdir_in("/dev/shm").expect("a temporary directory");
    let tree = sample(root.path());
    for format in [Format::TarZst, Format::Tar] {
        let options = WriteOptions {
            format,
            hash: false,
            ..WriteOptions::default()
        };
        let stream = archives::pack(tree.clone(), options).expect("a level");
        let bytes = block_on(collect(&stream)).expect("packed");
        assert!(bytes == pack_as(&tree, format).0, "{format:?}");
        assert_eq!(block_on(stream.next()).expect("ended"), None);
    }
}

#[test]
fn a_pack_stream_ends_with_the_reason_of_its_failure() {
    let root = tempfile::tempdir_in("/dev/shm").expect("a temporary directory");
    let absent = archives::pack(root.path().join("absent"), WriteOptions::default()).expect("a level");
    let failure = block_on(collect(&absent)).expect_err("a missing directory");
    assert!(failure.error.is_not_found(), "{failure}");
    assert_eq!(block_on(absent.next()).expect("ended"), None);
    let cancelled = archives::pack(sample(root.path()), WriteOptions::default()).expect("a level");
    cancelled.cancel();
    assert_eq!(
        block_on(collect(&cancelled)).expect_err("cancelled").cause,
        Cause::Aborted
    );
}

#[test]
fn an_unpack_reads_a_file_or_pushed_bytes() {
    let root = tempfile::tempdir_in("/dev/shm").expect("a temporary directory");
    let tree = sample(root.path());
    let (bytes, summary) = pack_as(&tree, Format::TarZst);
    let file = root.path().join("archive");
    fs::write(&file, &bytes).expect("write");
    for source in [Some(file), None] {
        let target = root.path().join(format!("from-file-{}", source.is_some()));
        let is_pushed = source.is_none();
        let (job, ended) = archives::unpack(source, target.clone(), options(Deadline::NEVER));
        let unpacked = block_on(async {
            let ended = tokio::spawn(ended);
            if is_pushed {
                for chunk in bytes.chunks(100_000) {
                    if job.feed.push(chunk.to_vec()) == Next::Wait {
                        assert_eq!(job.feed.drained().await, Next::More);
                    }
                }
                job.feed.end();
            }
            ended.await.expect("no panic")
        })
        .expect("restored");
        assert_eq!(
            (unpacked.method, unpacked.files),
            (CommitMethod::Rename, summary.files)
        );
        assert_eq!(job.progress.so_far().0, summary.files);
        assert_eq!(describe(&target), describe(&tree));
    }
}

#[test]
fn an_unpack_settles_when_its_feed_is_silent_or_fails() {
    let root = tempfile::tempdir_in("/dev/shm").expect("a temporary directory");
    let target = root.path().join("target");
    block_on(async {
        let soon = Deadline::after(Duration::from_millis(50));
        let (job, ended) = archives::unpack(None, target.clone(), options(soon));
        job.feed.push(Raw::default().file("f", b"x").0);
        let failure = ended.await.expect_err("silent");
        assert_eq!(
            (failure.cause, failure.stage),
            (Cause::Timeout, Some(Stage::Write))
        );
        let (job, ended) = archives::unpack(None, target.clone(), options(Deadline::NEVER));
        job.cancel.cancel();
        assert_eq!(ended.await.expect_err("aborted").cause, Cause::Aborted);
        let (job, ended) = archives::unpack(None, target.clone(), options(Deadline::NEVER));
        job.feed.fail("connection lost".to_owned());
        let failure = ended.await.expect_err("failed");
        assert!(failure.error.message.contains("connection lost"), "{failure}");
        // Its thread may still be about to end.
        while job.feed.drained().await != Next::Stop {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    assert!(!target.exists());
}
