//! What an inspection reports is true.

// guarantee: locks/waiters-see-the-holder

use warmswap::core::locks::{self, LockPath};

use crate::arena::{Arena, MODES, Process, SOON, eventually, is_stopped};

/// What stands may be of a taker that came between two looks, or of one whose records somebody has deleted.
#[test]
fn i23_a_living_holder_is_not_told_dead_where_only_its_directory_is_seen() {
    for mode in MODES {
        let arena = Arena::new();
        let records = arena.locks().join(".key.lock.lease");
        arena.acquire(mode, SOON).expect("the lock").handle.release(None);
        let before = std::fs::read(records.join("1.free")).expect("what was given back");
        let mut holder = Process::start(&["hold", &arena.lock(), mode], &[]);
        holder.line().expect("held");
        // So that it does not notice.
        holder.signal(rustix::process::Signal::STOP);
        eventually("the stop of the holder", || is_stopped(holder.pid()));
        let look = || {
            let found = locks::inspect(&LockPath::parse(&arena.lock()).expect("a path")).expect("a look");
            (
                found.is_held,
                found.liveness,
                found.holder.and_then(|holder| holder.pid),
            )
        };
        let alive = (true, Some(locks::Liveness::Alive), Some(holder.pid()));
        std::fs::remove_file(records.join("2.json")).expect("not seen yet");
        std::fs::write(records.join("1.free"), before).expect("what a look has seen before");
        assert_eq!(look(), alive, "{mode}: it came between two looks");
        std::fs::remove_dir_all(&records).expect("deleted");
        assert_eq!(look(), alive, "{mode}: without records");
        holder.kill();
        holder.reap();
        assert_eq!(
            look(),
            (false, Some(locks::Liveness::Dead), Some(holder.pid())),
            "{mode}"
        );
    }
}
