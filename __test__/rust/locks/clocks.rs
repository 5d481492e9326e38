//! The wall clock is adjusted while locks are held and awaited, which must not affect them. A suspend, which only the
//! boot clock includes, ends a lease and never a kernel lock.

use std::path::PathBuf;
use std::time::Duration;

use crate::arena::{A_WHILE, Arena, MODES, Process, assert_kills, ensure, seconds, start};

const TWO_HOURS: i64 = 7200;
const LEASE: &str = "600";

/// The wall clock of every process that was started with its variable.
struct Clock(PathBuf);

impl Clock {
    fn of(arena: &Arena) -> Self {
        let clock = Self(arena.path().join("clock"));
        clock.moved_by(0);
        clock
    }

    fn moved_by(&self, seconds: i64) {
        let next = self.0.with_extension("next");
        std::fs::write(&next, seconds.to_string()).expect("the clock");
        std::fs::rename(next, &self.0).expect("the clock");
    }
}

/// locks/live-holder-keeps-it: neither the holder nor the waiters are affected.
fn stepped_clock_robs_nobody(environment: &[(&str, &str)]) -> Result<(), String> {
    for (holder_mode, waiter_mode) in [("auto", "auto"), ("lease", "lease"), ("auto", "lease")] {
        let arena = Arena::new();
        let clock = Clock::of(&arena);
        let path = clock.0.to_string_lossy().into_owned();
        let start = |arguments: &[&str], more: &[(&str, &str)]| {
            Process::start(
                arguments,
                &[&[("WARMSWAP_CLOCK", &*path)], environment, more].concat(),
            )
        };
        // The holder appears to run on another kernel, so that only its record proves that it is alive.
        let mut holder = start(
            &["hold", &arena.lock(), holder_mode, LEASE],
            &[("WARMSWAP_BOOT_ID", "another")],
        );
        holder.line().expect("held");
        let mut waiter = start(&["once", &arena.lock(), waiter_mode, LEASE], &[]);
        for step in [TWO_HOURS, -TWO_HOURS, 0] {
            clock.moved_by(step);
            ensure(
                waiter
                    .line_within(Duration::from_secs_f64(seconds(0.7, 20.0)))
                    .is_none(),
                &format!(
                    "{waiter_mode} stole the lock of a live {holder_mode} holder when the clock was adjusted by {step} s"
                ),
            )?;
        }
        holder.kill();
        ensure(
            waiter.line_within(Duration::from_secs(9)).is_some(),
            &format!("{waiter_mode} never took over from a dead {holder_mode} holder"),
        )?;
    }
    Ok(())
}

#[test]
fn an_adjusted_clock_steals_no_lock() {
    assert_kills(stepped_clock_robs_nobody, "lock-wall-clock-staleness");
}

#[test]
fn a_timeout_ignores_adjustments_of_the_clock() {
    for mode in MODES {
        let arena = Arena::new();
        let clock = Clock::of(&arena);
        let path = clock.0.to_string_lossy().into_owned();
        let held = arena.acquire(mode, Duration::from_secs(5)).expect("the lock");
        for step in [TWO_HOURS, -TWO_HOURS] {
            clock.moved_by(0);
            let environment = [("WARMSWAP_CLOCK", &*path), ("TIMEOUT_MS", "400")];
            let mut waiter = Process::start(&["once", &arena.lock(), mode], &environment);
            clock.moved_by(step);
            let answer = waiter.line().expect("a result");
            let waited: u64 = answer
                .strip_prefix("ERR_LOCK_TIMEOUT after ")
                .and_then(|text| text.parse().ok())
                .unwrap_or_else(|| panic!("{mode}: {answer}"));
            // 50 ms by design. A machine with many builds on two cores needs more to start a thread.
            assert!(
                (399..900).contains(&waited),
                "{mode}, {step} s: waited {waited} ms"
            );
        }
        held.handle.release(None);
    }
}

/// locks/live-holder-keeps-it: times on disk and the wall clock are irrelevant.
fn backdated_times_rob_nobody(environment: &[(&str, &str)]) -> Result<(), String> {
    let arena = Arena::new();
    // The holder appears to run on another kernel, so no process here can verify it.
    let mut living = Process::start(
        &["hold", &arena.lock(), "lease"],
        &[("WARMSWAP_BOOT_ID", "another")],
    );
    living.line().expect("held");
    let hour_ago = std::time::SystemTime::now() - Duration::from_hours(1);
    for path in [arena.lock(), format!("{}/owner.json", arena.lock())] {
        let file = std::fs::OpenOptions::new()
            .read(true)
            .open(path)
            .expect("the lock");
        file.set_modified(hour_ago).expect("back-dated");
    }
    let mut waiter = start(&["once", &arena.lock(), "lease"], environment, &[]);
    ensure(
        waiter.line_within(A_WHILE).is_none(),
        "the lock of a live holder was stolen",
    )
}

#[test]
fn detects_staleness_by_wall_clock() {
    assert_kills(backdated_times_rob_nobody, "lock-wall-clock-staleness");
}

/// While a machine is suspended, other machines may take over its leases. Only the boot clock shows that time to the
/// holder. Its own alarm uses the monotonic clock and is still minutes away.
fn a_suspend_ends_a_lease(environment: &[(&str, &str)]) -> Result<(), String> {
    const TEN_MINUTES: &str = "600000";
    for mode in ["lease", "auto"] {
        let arena = Arena::new();
        let clock = Clock::of(&arena);
        let path = clock.0.to_string_lossy().into_owned();
        let clock_variable = [("WARMSWAP_BOOT_CLOCK", &*path), ("LOOK", "1")];
        let mut holder = Process::start(
            &["lose", &arena.lock(), mode, TEN_MINUTES],
            &[&clock_variable, environment].concat(),
        );
        holder.line().expect("held");
        clock.moved_by(TWO_HOURS);
        let is_lost = holder
            .line_within(Duration::from_secs_f64(if mode == "lease" { 5.0 } else { 0.7 }))
            .is_some_and(|line| line.starts_with("lost"));
        ensure(
            is_lost == (mode == "lease"),
            &format!("after a suspend of two hours, the lock in mode {mode} is lost: {is_lost}"),
        )?;
    }
    Ok(())
}

#[test]
fn a_suspend_ends_leases_but_no_kernel_locks() {
    assert_kills(a_suspend_ends_a_lease, "lock-lease-without-suspend");
}
