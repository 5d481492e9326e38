//! An inspection reports the truth.

// guarantee: locks/waiters-see-the-holder

use warmswap::core::locks::{self, LockPath};

use crate::arena::{Arena, MODES, Process, SOON, eventually, is_stopped};

/// The lock directory may belong to an acquirer that came between two reads, or to one whose records were deleted.
#[test]
fn a_live_holder_is_not_reported_dead_if_only_its_directory_is_seen() {
    for mode in MODES {
        let arena = Arena::new();
        let records = arena.locks().join(".key.lock.lease");
        arena.acquire(mode, SOON).expect("the lock").handle.release(None);
        let before = std::fs::read(records.join("1.free")).expect("the released record");
        let mut holder = Process::start(&["hold", &arena.lock(), mode], &[]);
        holder.line().expect("held");
        // Stopped, so that it does not notice.
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
        std::fs::write(records.join("1.free"), before).expect("what an earlier read has seen");
        assert_eq!(look(), alive, "{mode}: it came between two reads");
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
