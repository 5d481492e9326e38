//! What once went wrong: each of these hung, robbed or lied.

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use warmswap::core::error;
use warmswap::core::locks::{self, Acquired, Held, LockPath, LockScope, Request};
use warmswap::core::sys::cancel::Cancel;
use warmswap::core::sys::deadline::Deadline;
use warmswap::core::sys::flock;

use crate::arena::{
    Arena, MODES, NOBODY, Process, can_run_as_others, eventually, is_stopped, program, request,
};
use crate::mutants::{A_WHILE, SOON, assert_kills, ensure, write_legacy_lock};

/// A wait until nobody has the lock, in this process.
fn wait_for_vacancy(arena: &Arena, request: &Request) -> mpsc::Receiver<Result<bool, &'static str>> {
    let (sender, answer) = mpsc::channel();
    let lock = LockPath::parse(&arena.lock()).expect("a path");
    let answered = move |outcome: error::Result<bool>| {
        let _nobody_left = sender.send(outcome.map_err(|error| error.code.as_str()));
    };
    let (request, cancel) = (request.clone(), Cancel::new());
    LockScope::new().wait_until_vacant(lock, request, Deadline::NEVER, &cancel, None, answered);
    answer
}

#[test]
fn i2_a_wait_for_vacancy_does_not_wait_for_itself() {
    for mode in MODES {
        let arena = Arena::new();
        std::fs::create_dir_all(arena.lock()).expect("an ownerless directory");
        let vacant = wait_for_vacancy(&arena, &request(mode));
        assert!(
            vacant.recv_timeout(A_WHILE).is_err(),
            "{mode}: it waits for the directory"
        );
        let found = locks::inspect(&LockPath::parse(&arena.lock()).expect("a path")).expect("a look");
        assert_eq!(
            found.holder.and_then(|holder| holder.pid),
            None,
            "{mode}: who waits for vacancy is no holder"
        );
        std::fs::remove_dir(arena.lock()).expect("given back");
        assert_eq!(vacant.recv_timeout(SOON), Ok(Ok(false)), "{mode}");
        arena.acquire(mode, SOON).expect("the lock").held.release(None);

        std::fs::create_dir(arena.lock()).expect("an ownerless directory");
        let quick = Request {
            foreign_stale: Duration::from_millis(300),
            ..request(mode)
        };
        assert_eq!(
            wait_for_vacancy(&arena, &quick).recv_timeout(SOON),
            Ok(Ok(true)),
            "{mode}: its window is over"
        );
        assert!(!Path::new(&arena.lock()).exists());
    }
}

/// Two machines on one directory: each has a clock of its own, and what the one has seen is not undone by the other.
#[test]
fn i20a_waiters_of_two_boots_follow_a_dead_lease() {
    let arena = Arena::new();
    let mut dead = Process::start(
        &["hold", &arena.lock(), "lease", "600"],
        &[("WARMSWAP_BOOT_ID", "third")],
    );
    dead.line().expect("held");
    let start = |boot| {
        Process::start(
            &["once", &arena.lock(), "lease", "600"],
            &[("WARMSWAP_BOOT_ID", boot)],
        )
    };
    let mut waiters = [start("one"), start("two")];
    dead.kill();
    for waiter in &mut waiters {
        assert!(
            waiter.line_within(SOON).is_some(),
            "they throw each other's first sight away"
        );
    }
}

/// Waiters for a record and for a directory write their sights to one file.
#[test]
fn i19_another_waiter_does_not_keep_an_ownerless_directory_alive() {
    let arena = Arena::new();
    std::fs::create_dir_all(arena.lock()).expect("an ownerless directory");
    let acquire = |stale: u64| {
        let request = Request {
            foreign_stale: Duration::from_millis(stale),
            lease_ttl: Duration::from_millis(300),
            ..request("lease")
        };
        let (sender, taken) = mpsc::channel();
        let lock = LockPath::parse(&arena.lock()).expect("a path");
        let answered = move |taken: error::Result<Acquired>| {
            let _nobody_left = sender.send(taken.is_ok());
        };
        LockScope::new().acquire(lock, request, Deadline::NEVER, &Cancel::new(), None, answered);
        taken
    };
    let first = acquire(1500);
    eventually("its first sight", || {
        arena.locks().join(".key.lock.observed").exists()
    });
    // Another process with another patience.
    let mut other = Process::start(&["once", &arena.lock(), "lease", "300"], &[]);
    assert_eq!(first.recv_timeout(SOON), Ok(true), "the window never ended");
    assert!(other.line_within(SOON).is_some());
}

/// What a call waits for that a filesystem does not answer: nobody opens it.
fn fifo(arena: &Arena) -> String {
    let path = arena.path().join("fifo").to_string_lossy().into_owned();
    let made = Command::new("mkfifo").arg(&path).status();
    assert!(made.is_ok_and(|status| status.success()));
    path
}

/// A filesystem that does not answer to a renewal: the holder is told by the clock alone.
#[test]
fn i8_a_lease_that_ends_while_its_renewal_hangs_is_told_in_time() {
    let arena = Arena::new();
    // The rename of the first renewal: a record that is taken is linked.
    let fifo = fifo(&arena);
    let environment = [
        ("WARMSWAP_FAULT", "1:HOLD:rename:/1.json"),
        ("WARMSWAP_FAULT_FIFO", &*fifo),
        ("LOOK", "1"),
    ];
    let mut holder = Process::start(&["lose", &arena.lock(), "lease", "900"], &environment);
    holder.line().expect("held");
    let held_since = Instant::now();
    let told = holder
        .line_within(Duration::from_secs(3))
        .expect("told before the renewal ends");
    assert!(told.starts_with("lost"), "{told}");
    assert!(
        held_since.elapsed() < Duration::from_millis(2500),
        "told after {:?}",
        held_since.elapsed()
    );
    // Milliseconds that assert_held() took at most.
    let longest: u64 = told
        .rsplit(' ')
        .next()
        .and_then(|text| text.parse().ok())
        .expect("milliseconds");
    assert!(longest < 500, "assert_held() blocked for {longest} ms");
}

/// What a program says that takes by lease and meets a filesystem which does not answer to one call.
fn said_while_it_hangs(call: &str, arguments: &[&str], more: &[(&str, &str)]) -> Option<String> {
    let arena = Arena::new();
    let fifo = fifo(&arena);
    let (verb, rest) = arguments.split_first()?;
    let lock = arena.lock();
    let arguments = [&[*verb, &*lock, "lease"], rest].concat();
    let environment = [("WARMSWAP_FAULT", call), ("WARMSWAP_FAULT_FIFO", &*fifo)];
    let mut program = Process::start(&arguments, &[&environment[..], more].concat());
    let said = program.line_within(SOON)?;
    if said == "held" {
        program.line_within(SOON)
    } else {
        Some(said)
    }
}

/// The holder is told by the clock alone. A taking lists the records twice; the next list is that of the thread that
/// looks at what is held.
fn a_lease_ends_while_a_look_hangs(environment: &[(&str, &str)]) -> Result<(), String> {
    let said = said_while_it_hangs("3:HOLD:getdents:.key.lock.lease", &["lose", "900"], environment);
    ensure(
        said.is_some_and(|said| said.starts_with("lost")),
        "the holder was not told",
    )
}

#[test]
fn i8_kills_an_end_of_a_lease_that_waits_for_a_look() {
    assert_kills(a_lease_ends_while_a_look_hangs, "lock-no-alarm");
}

/// Who waits with an end is told of it, though not who has the lock.
fn a_wait_ends_while_a_look_hangs(environment: &[(&str, &str)]) -> Result<(), String> {
    for within in ["0", "100"] {
        let environment = [environment, &[("TIMEOUT_MS", within)]].concat();
        let said = said_while_it_hangs("1:HOLD:getdents:.key.lock.lease", &["once"], &environment);
        ensure(
            said.is_some_and(|said| said.starts_with("ERR_LOCK_TIMEOUT")),
            &format!("a wait of {within} ms has no end"),
        )?;
    }
    Ok(())
}

#[test]
fn i16_kills_an_end_of_a_wait_that_waits_for_a_look() {
    assert_kills(a_wait_ends_while_a_look_hangs, "lock-no-alarm");
}

/// Beside a lock whose filesystem does not answer, one on another filesystem is looked at.
#[test]
fn i8_a_filesystem_that_hangs_stops_no_look_elsewhere() {
    let arena = Arena::new();
    let elsewhere = Arena::below(&std::env::temp_dir());
    let fifo = fifo(&arena);
    let log = arena.path().join("log").to_string_lossy().into_owned();
    let fault = format!("1:HOLD:getdents:{}/.key.lock.lease", arena.locks().display());
    let environment = [
        ("WARMSWAP_FAULT", &*fault),
        ("WARMSWAP_FAULT_FIFO", &*fifo),
        ("WARMSWAP_FAULT_LOG", &*log),
    ];
    // No renewal comes before the look.
    let mut holder = Process::start(
        &["beside", &arena.lock(), &elsewhere.lock(), "60000"],
        &environment,
    );
    assert_eq!(holder.line().as_deref(), Some("held"));
    eventually("the look that hangs", || std::fs::exists(&log).unwrap_or(false));
    std::fs::remove_file(elsewhere.locks().join(".key.lock.lease/1.json")).expect("deleted");
    assert_eq!(holder.line_within(SOON).as_deref(), Some("lost"));
}

/// A filesystem that does not even say what it is costs one thread, however many ask, and stops nobody elsewhere.
#[test]
fn i13_a_filesystem_that_hangs_stops_no_new_lock_elsewhere() {
    let arena = Arena::new();
    let elsewhere = Arena::new();
    let fifo = fifo(&arena);
    let fault = format!("1:HOLD:statfs:{}", arena.locks().display());
    let environment = [("WARMSWAP_FAULT", &*fault), ("WARMSWAP_FAULT_FIFO", &*fifo)];
    std::fs::create_dir(arena.locks()).expect("the directory of the locks");
    let mut child = Process::start(&["apart", &arena.lock(), &elsewhere.lock(), "20"], &environment);
    assert_eq!(child.line().as_deref(), Some("held"));
    let threads = std::fs::read_dir(format!("/proc/{}/task", child.pid()));
    let threads = threads.expect("its threads").count();
    assert!(threads < 10, "{threads} threads");
    for _ in 0..20 {
        assert_eq!(child.line().as_deref(), Some("ERR_LOCK_TIMEOUT"));
    }
}

/// Beside a lock whose renewal hangs, one on another filesystem is renewed.
#[test]
fn i5_a_filesystem_that_hangs_stops_no_renewal_elsewhere() {
    let arena = Arena::new();
    let elsewhere = Arena::below(&std::env::temp_dir());
    let fifo = fifo(&arena);
    let environment = [
        ("WARMSWAP_FAULT", "1:HOLD:rename"),
        ("WARMSWAP_FAULT_FIFO", &*fifo),
    ];
    let lock = elsewhere.lock();
    let mut holder = Process::start(&["beside", &arena.lock(), &lock, "2000"], &environment);
    holder.line().expect("held");
    let mut waiter = Process::start(
        &["once", &lock, "lease", "2000"],
        &[("WARMSWAP_BOOT_ID", "another")],
    );
    // One and a half times the window after which a silent holder is followed.
    assert!(
        waiter.line_within(Duration::from_millis(4500)).is_none(),
        "the healthy lock was not renewed"
    );
}

#[test]
fn i19_a_hidden_holder_of_a_mkdir_lock_is_not_dead() {
    let hides = Command::new("unshare")
        .args(["-m", "sh", "-c", "mount -t proc -o hidepid=2 proc /proc"])
        .status();
    if !hides.is_ok_and(|status| status.success()) {
        eprintln!("SKIPPED: only root can mount a /proc that hides processes");
        return;
    }
    if !can_run_as_others() {
        return;
    }
    for hidepid in ["hidepid=1", "hidepid=2"] {
        let arena = Arena::new();
        std::os::unix::fs::chown(arena.path(), Some(NOBODY), Some(NOBODY)).expect("its folder");
        let holder = Process::spawn(Command::new("sleep").arg("60").uid(1).gid(1));
        write_legacy_lock(&arena.lock(), holder.pid());
        for directory in [arena.lock(), arena.locks().to_string_lossy().into_owned()] {
            std::os::unix::fs::chown(directory, Some(NOBODY), Some(NOBODY)).expect("its folder");
        }
        let script = format!(
            "mount -t proc -o {hidepid} proc /proc && exec setpriv --reuid {NOBODY} --regid {NOBODY} --clear-groups \"$0\" \"$@\""
        );
        let mut waiter = Process::spawn(
            Command::new("unshare")
                .args(["-m", "sh", "-c", &script, program(), "once"])
                .args([&*arena.lock(), "auto"])
                .env("TIMEOUT_MS", "500"),
        );
        let answer = waiter.line().expect("an answer");
        assert!(answer.starts_with("ERR_LOCK_TIMEOUT"), "{hidepid}: {answer}");
    }
}

#[test]
fn i15_a_try_with_cover_children_that_fails_leaves_nothing() {
    let arena = Arena::new();
    std::fs::create_dir_all(arena.lock()).expect("an ownerless directory");
    let covering = Request {
        covers_children: true,
        ..request("auto")
    };
    let lock = LockPath::parse(&arena.lock()).expect("a path");
    let taken = futures::executor::block_on(locks::acquire(
        lock.clone(),
        covering,
        Deadline::after(Duration::ZERO),
        Cancel::new(),
        None,
    ));
    assert!(taken.is_err());
    std::fs::remove_dir(arena.lock()).expect("given back");
    assert!(!locks::inspect(&lock).expect("a look").is_held);
    arena.acquire("auto", SOON).expect("the lock").held.release(None);
}

#[test]
fn i22_records_with_strange_numbers_are_no_records() {
    for name in [
        "01.json",
        "+1.json",
        "0.json",
        "18446744073709551615.json",
        "1.json.json",
        "-1.free",
    ] {
        let arena = Arena::new();
        let records = arena.locks().join(".key.lock.lease");
        std::fs::create_dir_all(&records).expect("mkdir");
        std::fs::write(records.join(name), "{}").expect("a record");
        for mode in MODES {
            let acquired = arena.acquire(mode, SOON).expect(name);
            acquired.held.release(None);
        }
    }
}

fn progress_is_written(arena: &Arena, held: &Held, phase: &str) {
    held.progress(phase);
    eventually("the progress", || {
        let owner = std::fs::read_to_string(arena.locks().join(".key.lock.lease/1.json")).unwrap_or_default();
        owner.contains("\"progress\"")
    });
}

#[test]
fn i5_no_text_of_its_own_costs_a_holder_its_lock() {
    let arena = Arena::new();
    let room = Request {
        metadata: Some(serde_json::json!("x".repeat(32_000))),
        ..request("lease")
    };
    let acquire = |request: &Request| {
        let lock = LockPath::parse(&arena.lock()).expect("a path");
        futures::executor::block_on(locks::acquire(
            lock,
            request.clone(),
            Deadline::after(SOON),
            Cancel::new(),
            None,
        ))
    };
    let acquired = acquire(&room).expect("the lock");
    progress_is_written(&arena, &acquired.held, &"\u{1}".repeat(5000));
    let message = "\u{1}".repeat(200_000);
    acquired.held.release(Some(locks::Failure {
        generation: 1,
        message,
    }));
    let next = acquire(&room).expect("the lock");
    let inherited = next.held.inherited_failure().expect("the failure is shared");
    assert_eq!(inherited.message.len(), 2048);
    next.held.release(None);
    let too_much = Request {
        metadata: Some(serde_json::json!("x".repeat(33_000))),
        ..request("lease")
    };
    let refused = acquire(&too_much).map(drop).expect_err("no room");
    assert_eq!(refused.code.as_str(), "ERR_TOO_LARGE");
}

/// In a sticky directory nobody removes what another user's dead holder has left.
#[test]
fn i6_users_follow_each_other_in_a_sticky_directory() {
    if !can_run_as_others() {
        return;
    }
    for mode in MODES {
        let arena = Arena::new();
        std::fs::create_dir(arena.locks()).expect("the directory of the locks");
        for (directory, bits) in [(arena.path().to_path_buf(), 0o777), (arena.locks(), 0o1777)] {
            let permissions = std::os::unix::fs::PermissionsExt::from_mode(bits);
            std::fs::set_permissions(directory, permissions).expect("open to all");
        }
        let start = |user: u32, verb: &str| {
            let mut command = Command::new("sh");
            command.args([
                "-c",
                "umask 077; exec \"$0\" \"$@\"",
                program(),
                verb,
                &arena.lock(),
                mode,
                "600",
            ]);
            Process::spawn(command.uid(user).gid(user))
        };
        for user in [1, NOBODY, 1] {
            let mut once = start(user, "once");
            assert!(
                once.line_within(SOON).is_some(),
                "{mode}, user {user}: not followed"
            );
            assert_eq!(once.line().as_deref(), Some("released"));
            let mut killed = start(user, "hold");
            assert!(
                killed.line_within(SOON).is_some(),
                "{mode}, user {user}: not taken again"
            );
            killed.kill();
            killed.reap();
        }
    }
}

/// In the middle of a look a waiter has the guard, as whoever is stopped in a taking: that one does keep others out.
fn stop_between_looks(waiter: &Process, arena: &Arena) {
    let guard = Path::new(&arena.lock()).with_file_name(".key.lock.guard");
    loop {
        waiter.signal(rustix::process::Signal::STOP);
        eventually("the stop of the waiter", || is_stopped(waiter.pid()));
        let is_free = std::fs::File::open(&guard)
            .map_or(true, |file| flock::try_exclusive(&file, &guard).expect("flock"));
        if is_free {
            return;
        }
        waiter.signal(rustix::process::Signal::CONT);
    }
}

/// Who waits for another program's directory has no record, so that it neither is taken for the holder nor keeps
/// anybody out, also when it is stopped.
#[test]
fn i23_who_waits_for_a_mkdir_lock_is_not_its_holder() {
    for mode in MODES {
        let arena = Arena::new();
        write_legacy_lock(&arena.lock(), std::process::id());
        let mut waiter = Process::start(&["once", &arena.lock(), mode], &[("TELL", "1")]);
        assert_eq!(waiter.line().as_deref(), Some("waiting"), "{mode}");
        let found = locks::inspect(&LockPath::parse(&arena.lock()).expect("a path")).expect("a look");
        let holder = found.holder.expect("a holder");
        assert_eq!(
            (holder.pid, holder.format),
            (Some(std::process::id()), locks::OwnerFormat::OwnerJson)
        );
        stop_between_looks(&waiter, &arena);
        std::fs::remove_dir_all(arena.lock()).expect("given back");
        let next = arena
            .acquire(mode, SOON)
            .expect("the lock beside a stopped waiter");
        next.held.release(None);
        waiter.signal(rustix::process::Signal::CONT);
        assert!(
            waiter
                .line_within(SOON)
                .is_some_and(|line| line.starts_with("held"))
        );
    }
}

/// Callers that give up before an orphan's window is over heal it together.
#[test]
fn i19_short_waits_and_single_tries_follow_an_ownerless_directory_together() {
    for (mode, within) in [("auto", 200), ("lease", 200), ("auto", 0), ("lease", 0)] {
        let arena = Arena::new();
        std::fs::create_dir_all(arena.lock()).expect("an ownerless directory");
        let lock = LockPath::parse(&arena.lock()).expect("a path");
        let request = Request {
            foreign_stale: Duration::from_secs(1),
            ..request(mode)
        };
        let attempt = || {
            let deadline = Deadline::after(Duration::from_millis(within));
            let cancel = Cancel::new();
            let taken = locks::acquire(lock.clone(), request.clone(), deadline, cancel, None);
            futures::executor::block_on(taken).map(|acquired| acquired.held.release(None))
        };
        let begun = Instant::now();
        eventually("the end of its window", || attempt().is_ok());
        let took = begun.elapsed();
        assert!(
            (900..6000).contains(&took.as_millis()),
            "{mode}, waits of {within} ms: {took:?}"
        );
    }
}

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
    held.held.assert_held().expect("held");
    held.held.release(None);
}

/// T27: another program clears the directory away and makes its own at once.
#[test]
fn i8_a_directory_that_another_program_has_taken_is_a_lost_lock() {
    for mode in MODES {
        let arena = Arena::new();
        let held = arena.acquire(mode, SOON).expect("the lock").held;
        let (told, lost) = mpsc::channel();
        held.on_lost(Box::new(move |why| {
            let _nobody_left = told.send(why.to_owned());
        }));
        std::fs::remove_dir_all(arena.lock()).expect("cleared away");
        write_legacy_lock(&arena.lock(), std::process::id());
        let why = lost.recv_timeout(SOON);
        // Our own directory may have come in between: then the other one has failed to make its own.
        let owner = std::fs::read_to_string(Path::new(&arena.lock()).join("owner.json")).expect("an owner");
        assert!(why.is_ok() || owner.contains(held.token()), "{mode}: nobody told");
        if why.is_ok() {
            assert_eq!(held.release(None), locks::Release::Lost, "{mode}");
            assert!(Path::new(&arena.lock()).exists(), "{mode}: it is another's");
        }
    }
}

/// Who is told of a loss releases at once, while the one that has seen it is still at the lock's files.
#[test]
fn i8_a_release_on_the_news_of_a_loss_leaves_nothing() {
    for mode in MODES {
        let arena = Arena::new();
        let held = arena.acquire(mode, SOON).expect("the lock").held;
        let (told, released) = mpsc::channel();
        let lost = Arc::clone(&held);
        held.on_lost(Box::new(move |_| {
            let _nobody_left = told.send(lost.release(None));
        }));
        take_by_another_program(&arena);
        assert_eq!(released.recv_timeout(SOON), Ok(locks::Release::Lost), "{mode}");
        eventually("its record is given back", || {
            arena.locks().join(".key.lock.lease/1.free").exists()
        });
        if mode == "auto" {
            let guard = arena.locks().join(".key.lock.guard");
            eventually("the guard is free", || {
                let file = std::fs::File::open(&guard).expect("the guard");
                flock::try_exclusive(&file, &guard).expect("flock")
            });
        }
        assert!(Path::new(&arena.lock()).exists(), "{mode}: it is another's");
    }
}

/// In one step, so that the holder has no moment in which to make its own directory again.
fn take_by_another_program(arena: &Arena) {
    let other = arena.path().join("other.lock");
    write_legacy_lock(&other.to_string_lossy(), std::process::id());
    let flags = rustix::fs::RenameFlags::EXCHANGE;
    let here = rustix::fs::CWD;
    rustix::fs::renameat_with(here, other, here, arena.lock(), flags).expect("exchanged");
}

/// What stands may be of a taker that came between two looks, or of one whose records somebody has deleted.
#[test]
fn i23_a_living_holder_is_not_told_dead_where_only_its_directory_is_seen() {
    for mode in MODES {
        let arena = Arena::new();
        let records = arena.locks().join(".key.lock.lease");
        arena.acquire(mode, SOON).expect("the lock").held.release(None);
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

/// Who waits until nobody has the lock waits no longer than who takes it.
#[test]
fn i2_a_wait_for_vacancy_ends_where_a_taker_gets_in() {
    for mode in MODES {
        let arena = Arena::new();
        let mut silent = Process::start(&["hold", &arena.lock(), "lease", "600"], &[]);
        silent.line().expect("held");
        silent.signal(rustix::process::Signal::STOP);
        let vacant = wait_for_vacancy(&arena, &request(mode));
        assert_eq!(
            vacant.recv_timeout(SOON),
            Ok(Ok(true)),
            "{mode}: its lease was not renewed, and its process lives"
        );
    }
}

/// Who may not make a guard here cannot take the lock, but can wait for its end.
#[test]
fn i2_who_may_only_read_waits_for_a_living_holder() {
    if !can_run_as_others() {
        return;
    }
    let arena = Arena::new();
    let readable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(arena.path(), readable).expect("readable to all");
    let held = arena.acquire("lease", SOON).expect("the lock").held;
    let mut reader = Command::new(program());
    reader.args(["vacant", &arena.lock(), "auto"]).env("TELL", "1");
    let mut reader = Process::spawn(reader.uid(NOBODY).gid(NOBODY));
    assert_eq!(reader.line().as_deref(), Some("waiting"));
    held.release(None);
    assert_eq!(reader.line_within(SOON).as_deref(), Some("vacant"));
}

/// A lock that is with children, of which none is left: the process goes on, as that of a worker thread which has ended.
fn leave_to_no_child(arena: &Arena) -> Arc<Held> {
    let covering = Request {
        covers_children: true,
        ..request("auto")
    };
    let lock = LockPath::parse(&arena.lock()).expect("a path");
    let cancel = Cancel::new();
    let taken = locks::acquire(lock, covering, Deadline::after(SOON), cancel, None);
    let held = futures::executor::block_on(taken).expect("the lock").held;
    held.child_fd().expect("a descriptor for a child");
    held.leave();
    held
}

#[test]
fn i2_a_lock_whose_children_have_ended_is_free_though_its_process_lives() {
    for mode in MODES {
        let arena = Arena::new();
        let _left = leave_to_no_child(&arena);
        let vacant = wait_for_vacancy(&arena, &request(mode));
        assert_eq!(vacant.recv_timeout(SOON), Ok(Ok(true)), "{mode}");
        let _left = leave_to_no_child(&arena);
        let taken = arena.acquire(mode, SOON).expect("the lock");
        assert!(taken.held.took_over_from().is_some(), "{mode}");
        taken.held.release(None);
    }
}

/// The last number of all: an error, and no thread that looks for a way for ever.
#[test]
fn i22_there_is_no_number_after_the_last() {
    for mode in MODES {
        let arena = Arena::new();
        let records = arena.locks().join(".key.lock.lease");
        std::fs::create_dir_all(&records).expect("mkdir");
        std::fs::write(records.join(format!("{}.free", 1_u64 << 52)), "{}").expect("a record");
        let refused = arena
            .acquire(mode, SOON)
            .map(drop)
            .expect_err("no number is left");
        assert_eq!(refused.code.as_str(), "ERR_FORMAT", "{mode}: {refused}");
        let other = LockPath::parse(&arena.locks().join("other.lock").to_string_lossy()).expect("a path");
        let cancel = Cancel::new();
        let taken = locks::acquire(other, request(mode), Deadline::after(SOON), cancel, None);
        let taken = futures::executor::block_on(taken).expect("a lock beside it");
        taken.held.release(None);
    }
}

/// Others count a lease from when they see its record: that of its holder must not begin later.
#[test]
fn i5_a_lease_counts_from_before_its_record() {
    let arena = Arena::new();
    let fifo = fifo(&arena);
    // The look behind the link: the records had no directory before.
    let environment = [
        ("WARMSWAP_FAULT", "1:HOLD:getdents:.key.lock.lease"),
        ("WARMSWAP_FAULT_FIFO", &*fifo),
    ];
    let mut holder = Process::start(&["lose", &arena.lock(), "lease", "600"], &environment);
    eventually("its record", || {
        arena.locks().join(".key.lock.lease/1.json").exists()
    });
    std::thread::sleep(Duration::from_millis(600));
    drop(
        std::fs::OpenOptions::new()
            .write(true)
            .open(fifo)
            .expect("answered"),
    );
    assert_eq!(holder.line().as_deref(), Some("held"));
    let told = holder.line_within(SOON).expect("its lease is over");
    assert!(told.starts_with("lost"), "{told}");
}

/// Where the kernel says that there is no flock the lock is a lease, and not pretended.
#[test]
fn i20_a_filesystem_without_flock_is_locked_by_lease() {
    for errno in ["EINVAL", "ENOLCK", "ENOTSUP"] {
        let arena = Arena::new();
        let fault = format!("1:{errno}:flock");
        let environment = [("WARMSWAP_FAULT", &*fault), ("HOLD_MS", "60000")];
        let mut holder = Process::start(&["once", &arena.lock(), "auto"], &environment);
        assert!(
            holder.line().is_some_and(|line| line.starts_with("held")),
            "{errno}"
        );
        let owner = std::fs::read(Path::new(&arena.lock()).join("owner.json")).expect("its owner");
        let owner: serde_json::Value = serde_json::from_slice(&owner).expect("a record");
        assert_eq!(owner["mode"], "lease", "{errno}");
        assert!(
            arena.acquire("lease", A_WHILE).is_err(),
            "{errno}: two have the lock"
        );
    }
}

#[test]
fn i20_a_filesystem_without_hard_links_is_told() {
    for errno in ["EPERM", "ENOTSUP"] {
        let arena = Arena::new();
        let fault = format!("1:{errno}:linkat");
        let mut taker = Process::start(&["once", &arena.lock(), "lease"], &[("WARMSWAP_FAULT", &fault)]);
        let answer = taker.line().expect("an answer");
        assert!(answer.starts_with("ERR_UNSUPPORTED"), "{errno}: {answer}");
    }
}

/// NFS and some FUSE have no rename that refuses to replace.
#[test]
fn i20_a_directory_is_published_in_two_steps_where_it_must() {
    for errno in ["EINVAL", "ENOTSUP"] {
        for mode in MODES {
            let arena = Arena::new();
            let fault = format!("1:{errno}:renameat2:key.lock");
            let environment = [("WARMSWAP_FAULT", &*fault), ("HOLD_MS", "60000")];
            let mut holder = Process::start(&["once", &arena.lock(), mode], &environment);
            assert!(
                holder.line().is_some_and(|line| line.starts_with("held")),
                "{errno}"
            );
            let found = locks::inspect(&LockPath::parse(&arena.lock()).expect("a path")).expect("a look");
            assert_eq!(found.holder.and_then(|holder| holder.pid), Some(holder.pid()));
            assert!(
                Path::new(&arena.lock()).join("owner.json").exists(),
                "{errno}, {mode}"
            );
        }
    }
}

/// A user who has no other process.
const SOMEBODY: &str = "54321";

/// Where the system gives no more threads that is an error of the call, and nothing stays of it.
#[test]
fn i22_a_process_without_threads_is_told_so() {
    if !can_run_as_others() {
        return;
    }
    let arena = Arena::new();
    let open_to_all = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    std::fs::set_permissions(arena.path(), open_to_all).expect("open to all");
    let once = |threads: &str| {
        let mut command = Command::new("setpriv");
        command.args([
            "--reuid",
            SOMEBODY,
            "--regid",
            SOMEBODY,
            "--clear-groups",
            "prlimit",
        ]);
        command.args([
            &format!("--nproc={threads}"),
            program(),
            "once",
            &arena.lock(),
            "auto",
        ]);
        let mut child = Process::spawn(&mut command);
        let line = child.line();
        child.reap();
        line.unwrap_or_default()
    };
    // The first thread is the program's own, then come the reactor's, the heartbeat's and the alarm's.
    assert!(once("1").starts_with("ERR_IO"), "no reactor");
    assert!(once("2").starts_with("ERR_IO"), "no heartbeat");
    assert!(once("3").starts_with("ERR_IO"), "no alarm");
    assert!(
        !arena.locks().join(".key.lock.lease/1.json").exists(),
        "taken without a heartbeat"
    );
    assert!(once("4").starts_with("held"), "enough");
}
