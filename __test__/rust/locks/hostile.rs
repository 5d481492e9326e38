//! What strangers may leave where a lock is looked for.

use std::fs::File;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::arena::{Arena, MODES};
use crate::mutants::SOON;

const MOMENT: Duration = Duration::from_millis(100);

fn code(arena: &Arena, mode: &str, within: Duration) -> Option<&'static str> {
    match arena.acquire(mode, within) {
        Ok(acquired) => {
            acquired.held.release(None);
            None
        }
        Err(error) => Some(error.code.as_str()),
    }
}

#[test]
fn i22_an_owner_of_a_gibibyte_is_not_read() {
    for mode in MODES {
        let arena = Arena::new();
        std::fs::create_dir_all(arena.lock()).expect("mkdir");
        let owner = File::create(Path::new(&arena.lock()).join("owner.json")).expect("an owner");
        owner.set_len(1 << 30).expect("a gibibyte");
        let begun = Instant::now();
        assert_eq!(
            code(&arena, mode, MOMENT),
            Some("ERR_LOCK_TIMEOUT"),
            "{mode}: nobody knows whose it is"
        );
        assert!(begun.elapsed() < SOON, "{mode}: it took {:?}", begun.elapsed());
        assert_eq!(owner.metadata().expect("stat").len(), 1 << 30, "untouched");
    }
}

#[test]
fn i22_a_record_of_a_gibibyte_is_not_read() {
    for mode in MODES {
        let arena = Arena::new();
        let records = arena.locks().join(".key.lock.lease");
        std::fs::create_dir_all(&records).expect("mkdir");
        let record = File::create(records.join("7.json")).expect("a record");
        record.set_len(1 << 30).expect("a gibibyte");
        assert_eq!(
            code(&arena, mode, MOMENT),
            Some("ERR_LOCK_TIMEOUT"),
            "{mode}: nobody knows whose it is"
        );
        std::fs::rename(records.join("7.json"), records.join("7.free")).expect("given back");
        assert_eq!(
            code(&arena, mode, SOON),
            None,
            "{mode}: what it held does not matter any more"
        );
    }
}

#[test]
fn i22_links_are_not_followed() {
    for mode in MODES {
        let arena = Arena::new();
        let outside = arena.path().join("outside");
        std::fs::create_dir(&outside).expect("mkdir");
        // An owner that would be dead on proof if the link were followed.
        let owner = outside.join("owner.json");
        std::fs::write(
            &owner,
            "{\"createdAt\":\"2020-01-01T00:00:00.000Z\",\"pid\":4194304}",
        )
        .expect("an owner");
        std::fs::create_dir_all(arena.lock()).expect("mkdir");
        let inside = Path::new(&arena.lock()).join("owner.json");
        symlink(&owner, &inside).expect("a link");
        assert_eq!(
            code(&arena, mode, MOMENT),
            Some("ERR_LOCK_TIMEOUT"),
            "{mode}: a linked owner proves nothing"
        );
        std::fs::remove_dir_all(arena.lock()).expect("removed");

        symlink(&outside, arena.lock()).expect("a link");
        assert_eq!(
            code(&arena, mode, MOMENT),
            Some("ERR_INVALID_ARGUMENT"),
            "{mode}: a linked lock"
        );
        std::fs::remove_file(arena.lock()).expect("removed");

        let spare = arena.locks().join(".key.lock.spare");
        drop(std::fs::remove_dir_all(&spare));
        symlink(&outside, &spare).expect("a link");
        assert_eq!(
            code(&arena, mode, SOON),
            None,
            "{mode}: a planted spare is left alone"
        );
        assert_eq!(std::fs::read_dir(&outside).expect("outside").count(), 1);
        assert!(owner.exists(), "{mode}: something was removed through a link");
    }
}

#[test]
fn i22_a_guard_that_is_a_link_or_a_pipe_is_refused() {
    let arena = Arena::new();
    std::fs::create_dir(arena.locks()).expect("mkdir");
    let guard = arena.locks().join(".key.lock.guard");
    let outside = arena.path().join("outside");
    std::fs::write(&outside, "").expect("a file");
    symlink(&outside, &guard).expect("a link");
    assert_eq!(code(&arena, "auto", SOON), Some("ERR_IO"));
    std::fs::remove_file(&guard).expect("removed");
    std::fs::create_dir(&guard).expect("a directory");
    assert_eq!(code(&arena, "auto", SOON), Some("ERR_IO"));
    std::fs::remove_dir(&guard).expect("removed");
    let made = std::process::Command::new("mkfifo").arg(&guard).status();
    assert!(made.is_ok_and(|status| status.success()));
    assert_eq!(code(&arena, "auto", SOON), Some("ERR_INVALID_ARGUMENT"));
}
