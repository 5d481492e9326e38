//! A small process that uses the locks core and can be killed at any instruction.
//!
//! `locks-child storm <lock> <arena> <auto|lease> <seconds> <max hold ms> [ttl ms]`: acquires and releases until the
//! time is over. In each critical section it acquires an independent kernel lock on `<arena>/overlap`. A process that
//! finds that one busy has found two holders, and records it in `<arena>/overlaps`. Each acquisition appends its
//! generation, its pid and the microseconds since its call to `<arena>/log`.
//!
//! `locks-child hold <lock> <auto|lease> [ttl ms]`: acquires, prints `held <generation>`, holds until killed.
//! `locks-child once <lock> <auto|lease> [ttl ms]`: acquires, prints `held <generation>`, releases, prints `released`.
//! `HOLD_MS`: how long it holds. `TIMEOUT_MS`: how long it waits; then it prints `<code> after <ms>`. `TELL`: it prints
//! `waiting` once it has to wait. `WHY`: the message of the error follows. `STALE_MS`: it takes over other programs'
//! locks after that time.
//! `locks-child forked <lock>`: acquires and releases while a child is between fork and exec, tries once to acquire it
//! again, and prints `held` or the code of the error.
//! `locks-child vacant <lock> <auto|lease>`: waits until the lock has no holder, prints `vacant` or `orphaned`.
//! `locks-child parent <lock> <auto|lease> <from> <to> <sign>`: acquires, starts `publish` for its generation, prints
//! `held <generation>`, holds until killed.
//! `locks-child publish <lock> <generation> <from> <to> <sign>`: prints `waiting`. Once the file `<sign>` exists, it
//! publishes and prints `published` or the code of the error.
//! `locks-child lose <lock> <auto|lease> [ttl ms]`: arms faults, acquires, prints `held`, and waits until the loss is
//! reported (with `LOOK` it checks every 20 ms). Then prints `lost <longest check in ms>`.
//! `locks-child beside <lock> <other lock> [ttl ms]`: acquires both by lease, arms faults, prints `held`, holds until
//! killed. Prints `lost` if the other one is lost.
//! `locks-child apart <lock> <other lock> <n>`: arms faults and requests the one lock n times, for at most 100 ms each.
//! Then acquires the other, and prints `held` and the code of each of the n requests.
//! `locks-child sweep <directory> [unused ms]`: sweeps once, including the files of locks that were unused for so long.
//! With `WARMSWAP_FAULT` set, faults are armed just before the work.

#[path = "forked.rs"]
mod forked;

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures::executor::block_on;
use warmswap::core::error::Result;
use warmswap::core::locks::{self, Acquired, LockPath, LockScope, ModeChoice, OnWait, Request, WaitInfo};
use warmswap::core::sys::cancel::Cancel;
use warmswap::core::sys::deadline::Deadline;
use warmswap::core::sys::{fault, flock};

#[expect(clippy::print_stdout, reason = "how a child tells its parent")]
fn say(text: &str) {
    println!("{text}");
}

fn request(mode: &str, ttl: Option<&String>) -> Request {
    Request {
        mode: if mode == "lease" {
            ModeChoice::Lease
        } else {
            ModeChoice::Auto
        },
        lease_ttl: Duration::from_millis(ttl.map_or(30_000, |text| text.parse().expect("milliseconds"))),
        foreign_stale: std::env::var("STALE_MS").map_or(Request::default().foreign_stale, |text| {
            Duration::from_millis(text.parse().expect("milliseconds"))
        }),
        ..Request::default()
    }
}

fn acquire(path: &str, request: &Request) -> Acquired {
    try_acquire(path, request, Deadline::NEVER).expect("the lock")
}

fn try_acquire(path: &str, request: &Request, deadline: Deadline) -> Result<Acquired> {
    let lock = LockPath::parse(path).expect("a lock path");
    block_on(locks::acquire(
        lock,
        request.clone(),
        deadline,
        Cancel::new(),
        tell(),
    ))
}

/// Says once that it waits, if that is asked for.
fn tell() -> Option<OnWait> {
    std::env::var_os("TELL").map(|_| {
        let is_told = AtomicBool::new(false);
        let tell = move |_: WaitInfo| {
            if !is_told.swap(true, Ordering::SeqCst) {
                say("waiting");
            }
        };
        Box::new(tell) as OnWait
    })
}

fn timeout() -> Deadline {
    std::env::var("TIMEOUT_MS").map_or(Deadline::NEVER, |text| {
        Deadline::after(Duration::from_millis(text.parse().expect("milliseconds")))
    })
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let rest = &arguments[1..];
    match arguments[0].as_str() {
        "storm" => storm(rest),
        "hold" => {
            let acquired = acquire(&rest[0], &request(&rest[1], rest.get(2)));
            say(&format!("held {}", acquired.handle.generation()));
            hold_until_killed();
        }
        "parent" => parent(rest),
        "publish" => publish(rest),
        "once" => {
            fault::arm();
            let begun = Instant::now();
            let acquired = match try_acquire(&rest[0], &request(&rest[1], rest.get(2)), timeout()) {
                Ok(acquired) => acquired,
                Err(error) => {
                    let text = std::env::var_os("WHY").map_or(String::new(), |_| format!(" {error}"));
                    return say(&format!(
                        "{} after {}{text}",
                        error.code.as_str(),
                        begun.elapsed().as_millis()
                    ));
                }
            };
            say(&format!("held {}", acquired.handle.generation()));
            if let Ok(pause) = std::env::var("HOLD_MS") {
                std::thread::sleep(Duration::from_millis(pause.parse().expect("milliseconds")));
            }
            acquired.handle.release(None);
            say("released");
        }
        "forked" => forked(rest),
        "vacant" => vacant(rest),
        "lose" => lose(rest),
        "beside" => beside(rest),
        "apart" => apart(rest),
        "sweep" => {
            fault::arm();
            let unused = rest
                .get(1)
                .map(|text| Duration::from_millis(text.parse().expect("milliseconds")));
            let swept = locks::sweep(Path::new(&rest[0]), unused).expect("swept");
            say(&format!(
                "removed {} held {}",
                swept.removed.len(),
                swept.held.len()
            ));
        }
        other => panic!("unknown verb {other}"),
    }
}

fn hold_until_killed() -> ! {
    loop {
        std::thread::park();
    }
}

fn forked(rest: &[String]) {
    let request = request("auto", None);
    let first = acquire(&rest[0], &request);
    let child = forked::Forked::start();
    first.handle.release(None);
    let second = try_acquire(&rest[0], &request, Deadline::after(Duration::ZERO));
    say(second.map_or_else(|error| error.code.as_str(), |_| "held"));
    drop(child);
}

fn vacant(rest: &[String]) {
    let (sender, answer) = std::sync::mpsc::channel();
    let lock = LockPath::parse(&rest[0]).expect("a lock path");
    let answered = move |outcome: Result<bool>| {
        let _nobody_left = sender.send(outcome.map_err(|error| error.code.as_str()));
    };
    let request = request(&rest[1], None);
    LockScope::new().wait_until_vacant(lock, request, timeout(), &Cancel::new(), tell(), answered);
    let outcome = answer.recv().expect("an answer");
    say(outcome.map_or_else(
        |code| code,
        |orphaned| if orphaned { "orphaned" } else { "vacant" },
    ));
}

fn lose(rest: &[String]) {
    fault::arm();
    let acquired = acquire(&rest[0], &request(&rest[1], rest.get(2)));
    say("held");
    let (told, lost) = std::sync::mpsc::channel();
    acquired.handle.on_lost(Box::new(move |_| {
        let _nobody_left = told.send(());
    }));
    let mut longest = Duration::ZERO;
    let looks = std::env::var_os("LOOK").is_some();
    while lost.recv_timeout(Duration::from_millis(20)).is_err() {
        if !looks {
            continue;
        }
        let begun = Instant::now();
        drop(acquired.handle.assert_held());
        longest = longest.max(begun.elapsed());
    }
    say(&format!("lost {}", longest.as_millis()));
    hold_until_killed();
}

fn beside(rest: &[String]) {
    let request = request("lease", rest.get(2));
    let _hangs = acquire(&rest[0], &request);
    // The renewal that hangs is the next one, of the first lock: it is due first.
    std::thread::sleep(Duration::from_millis(50));
    let healthy = acquire(&rest[1], &request);
    healthy.handle.on_lost(Box::new(|_| say("lost")));
    fault::arm();
    say("held");
    hold_until_killed();
}

fn apart(rest: &[String]) {
    fault::arm();
    let scope = LockScope::new();
    let ask = |path: &str, deadline| {
        let (sender, answer) = std::sync::mpsc::channel();
        let lock = LockPath::parse(path).expect("a lock path");
        let answered = move |taken: Result<Acquired>| {
            drop(sender.send(taken.map_err(|error| error.code.as_str())));
        };
        let request = request("auto", None);
        scope.acquire(lock, request, deadline, &Cancel::new(), None, answered);
        answer
    };
    let count: usize = rest[2].parse().expect("a number");
    let hanging: Vec<_> = (0..count)
        .map(|_| ask(&rest[0], Deadline::after(Duration::from_millis(100))))
        .collect();
    let taken = ask(&rest[1], Deadline::NEVER).recv().expect("an answer");
    let _held = taken.expect("the other lock");
    say("held");
    for answer in hanging {
        say(answer
            .recv()
            .expect("an answer")
            .map_or_else(|code| code, |_| "held"));
    }
}

fn parent(rest: &[String]) {
    let acquired = acquire(&rest[0], &request(&rest[1], None));
    let generation = acquired.handle.generation().to_string();
    say(&format!("held {generation}"));
    let program = std::env::current_exe().expect("this program");
    let outlives_us = std::process::Command::new(program)
        .args(["publish", &rest[0], &generation])
        .args(&rest[2..])
        .status();
    outlives_us.expect("the child");
    hold_until_killed();
}

fn publish(rest: &[String]) {
    let [lock, generation, from, to, sign] = rest else {
        panic!("publish <lock> <generation> <from> <to> <sign>");
    };
    say("waiting");
    let patience = Instant::now() + Duration::from_secs(30);
    while !Path::new(sign).exists() {
        assert!(Instant::now() < patience, "no sign within 30 s");
        std::thread::sleep(Duration::from_micros(200));
    }
    let lock = LockPath::parse(lock).expect("a lock path");
    let generation = generation.parse().expect("a generation");
    let published = locks::publish_fenced(&lock, generation, Path::new(from), Path::new(to));
    say(published.map_or_else(|error| error.code.as_str(), |()| "published"));
}

fn storm(rest: &[String]) {
    let [lock, arena, mode, seconds, max_hold, ..] = rest else {
        panic!("storm <lock> <arena> <mode> <seconds> <max hold ms> [ttl ms]");
    };
    let request = request(mode, rest.get(5));
    let until = Instant::now() + Duration::from_secs_f64(seconds.parse().expect("seconds"));
    let max_hold: u64 = max_hold.parse().expect("milliseconds");
    let mut seed = u64::from(std::process::id()) | 1;
    while Instant::now() < until {
        let begun = Instant::now();
        let acquired = acquire(lock, &request);
        critical_section(
            Path::new(arena),
            acquired.handle.generation(),
            begun.elapsed(),
            random(&mut seed) % (max_hold * 1000 + 1),
        );
        acquired.handle.release(None);
    }
}

/// A process that is alone in here gets the independent lock immediately.
fn critical_section(arena: &Path, generation: u64, waited: Duration, micros: u64) {
    let path = arena.join("overlap");
    let independent = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .expect("the independent lock");
    if !flock::try_exclusive(&independent, &path).expect("flock") {
        append(&arena.join("overlaps"), generation, waited);
    }
    append(&arena.join("log"), generation, waited);
    std::thread::sleep(Duration::from_micros(micros));
    drop(independent);
}

fn append(path: &Path, generation: u64, waited: Duration) {
    let mut file: File = OpenOptions::new()
        .append(true)
        .create(true)
        .open(path)
        .expect("a log");
    let line = format!("{generation} {} {}\n", std::process::id(), waited.as_micros());
    file.write_all(line.as_bytes()).expect("a line");
}

/// xorshift: a storm needs no better.
fn random(seed: &mut u64) -> u64 {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    *seed
}
