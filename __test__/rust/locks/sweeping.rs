//! A sweep removes only what dead processes have left.

use std::path::Path;
use std::time::Duration;

use warmswap::core::locks;

use crate::arena::{Arena, SOON};

#[test]
fn i21_a_sweep_spares_what_names_a_living_process_and_does_not_stop_at_what_is_odd() {
    let arena = Arena::new();
    let held = arena.acquire("auto", SOON).expect("the lock");
    let owner = std::fs::read(Path::new(&arena.lock()).join("owner.json")).expect("its owner");
    let prepared = |token: &str| arena.locks().join(format!(".other.{token}.tmp"));
    let [living, nobodys] = [
        "ba4c63ce-d572-4434-843e-e874296731e2",
        "00000000-d572-4434-843e-e874296731e2",
    ]
    .map(prepared);
    for directory in [&living, &nobodys] {
        std::fs::create_dir(directory).expect("mkdir");
    }
    std::fs::write(living.join("owner.json"), owner).expect("its owner");
    let two_minutes_ago = std::time::SystemTime::now() - Duration::from_mins(2);
    for directory in [&living, &nobodys] {
        let file = std::fs::File::open(directory).expect("a directory");
        file.set_modified(two_minutes_ago).expect("back-dated");
    }
    // The guard of a lock whose path is a file.
    std::fs::write(arena.locks().join(".a file.guard"), "").expect("a guard");
    std::fs::write(arena.locks().join("a file"), "").expect("a file");
    let swept = locks::sweep(&arena.locks()).expect("swept");
    assert_eq!(swept.removed, std::slice::from_ref(&nobodys));
    assert!(living.exists() && !nobodys.exists());
    held.handle.assert_held().expect("held");
    held.handle.release(None);
}
