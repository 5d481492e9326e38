//! A small process that uses the bundles core and can be killed at any instruction.
//!
//! `bundles-child <root> <command> [arguments]`: what each command does stands in `main`. Fault points count from
//! where the command arms them. `bundles-child fork` runs each command that it reads in a fork. A violation of an
//! invariant is a line that begins with `VIOLATION`.

#[path = "forked.rs"]
mod forked;

use std::io::{Write as _, stdout};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use warmswap::core::bundles::{
    CopyMethod, Durability, Options, Patience, PublishOptions, Sealed, Stage, StageBase, StageHandle, Store,
    Writer, pin_current, release,
};
use warmswap::core::error::{Code, Error, Result};
use warmswap::core::sys::cancel::Cancel;
use warmswap::core::sys::{clock, fault, fs};

const OWNER: usize = 0;
/// Files of a generation; each holds the same token, so that a mixed read shows.
const FILES: [&str; 4] = ["a.txt", "b.txt", "assets/c.txt", "assets/deep/d.txt"];
const LINES: usize = 64;

fn main() -> ExitCode {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments == ["fork"] {
        match next_fork() {
            Some(given) => arguments = given,
            None => return ExitCode::SUCCESS,
        }
    }
    let [root, command, rest @ ..] = arguments.as_slice() else {
        panic!("usage: bundles-child <root> <command> [arguments]");
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build();
    match runtime.expect("a runtime").block_on(run(root, command, rest)) {
        Ok(()) => {
            say("done");
            ExitCode::SUCCESS
        }
        Err(error) => {
            say(&format!("error {} {error}", error.code.as_str()));
            ExitCode::FAILURE
        }
    }
}

/// Forks for each line of the standard input: `[[argument, …], [[variable, value], …]]`. Returns the arguments in the
/// fork, and nothing at the end of the input. Behind the output of each fork it prints `ended true` or `ended false`.
fn next_fork() -> Option<Vec<String>> {
    unsafe extern "C" {
        safe fn fork() -> i32;
    }
    for line in std::io::stdin().lines() {
        let (arguments, environment): (Vec<String>, Vec<(String, String)>) =
            serde_json::from_str(&line.expect("text")).expect("a request");
        let Some(child) = rustix::process::Pid::from_raw(fork()) else {
            for (name, value) in environment {
                // SAFETY: this process has one thread.
                unsafe { std::env::set_var(name, value) };
            }
            return Some(arguments);
        };
        let ended = rustix::process::waitpid(Some(child), rustix::process::WaitOptions::empty());
        let (_, status) = ended.expect("waitpid").expect("ended");
        say(&format!("ended {}", status.exit_status() == Some(0)));
    }
    None
}

async fn run(root: &str, command: &str, rest: &[String]) -> Result<()> {
    match command {
        "open" => {
            fault::arm();
            open(root).await.map(drop)
        }
        "publish" => {
            let store = open(root).await?;
            fault::arm();
            let number = publish(&store, &token()).await?;
            say(&format!("published {number}"));
            Ok(())
        }
        "create-and-publish" => {
            fault::arm();
            publish(&open(root).await?, &token()).await.map(drop)
        }
        "publish-after-the-link-went" => {
            let store = open(root).await?;
            fs::remove_file(Path::new(&std::env::var_os("LINK").expect("a link")))?;
            fault::arm();
            publish(&store, &token()).await.map(drop)
        }
        // As the Vite plugin does before a plain build.
        "give-directory" => {
            let options = Options::default();
            let store = Store::open(root.to_owned(), options, &patience()).await?;
            fault::arm();
            let link = PathBuf::from(std::env::var_os("LINK").expect("a link"));
            store.give_directory(link, &patience()).await.map(drop)
        }
        "publish-and-collect" => {
            let store = open(root).await?;
            fault::arm();
            publish(&store, &token()).await?;
            collect(&store).await
        }
        "publish-and-pin" => {
            let store = open(root).await?;
            fault::arm();
            let published = publish_as(&store, token(), |writer, stage, sealed| {
                let pin_for = Some(OWNER);
                let options = PublishOptions {
                    pin_for,
                    ..PublishOptions::default()
                };
                Ok(writer.publish(stage, sealed, &options)?.head.number)
            });
            published.await.map(drop)
        }
        "publish-a-copy" => {
            let store = open(root).await?;
            fault::arm();
            publish_a_copy(&store).await
        }
        // Many, by one process that has the store open all along.
        "publish-twice" => {
            let store = open(root).await?;
            publish(&store, &token()).await?;
            publish(&store, &token()).await.map(drop)
        }
        "forked" => forked(&open(root).await?).await,
        "publish-many" => {
            let store = open(root).await?;
            for _ in 0..number(&rest[0]) {
                publish(&store, "the same").await?;
                collect(&store).await?;
            }
            Ok(())
        }
        "rollback" => {
            let store = open(root).await?;
            fault::arm();
            rollback(&store, number(&rest[0])).await
        }
        // Without the repair of an open: as a process does that has had the store open all along.
        "rollback-when-told" => {
            let store = open(root).await?;
            wait_until_told("ready");
            if let Err(error) = rollback(&store, number(&rest[0])).await {
                say(error.code.as_str());
            }
            verify(&store)
        }
        "collect" => {
            let store = open(root).await?;
            fault::arm();
            collect(&store).await
        }
        // Takes over the directory `rest[1]` and publishes it; `rest[0]` is how.
        "adopt" => {
            let store = open(root).await?;
            fault::arm();
            adopt(&store, &rest[0], PathBuf::from(&rest[1])).await
        }
        // In a store that was opened before something happened to it.
        "pin-when-told" => {
            let store = open(root).await?;
            wait_until_told("ready");
            check(&store)
        }
        "pin" => {
            let store = open(root).await?;
            fault::arm();
            check(&store)
        }
        "hold" => hold(&open(root).await?),
        // In-place writes into a stage that began as a copy, while the original is pinned.
        "rewrite-a-copy" => rewrite_a_copy(&open(root).await?).await,
        "hold-what-was-healed" => hold_what_was_healed(root).await,
        "verify" => {
            let store = open(root).await?;
            fault::arm();
            verify(&store)
        }
        "write-loop" => write_loop(&open(root).await?).await,
        "read-loop" => read_loop(&open(root).await?),
        other => panic!("unknown command {other}"),
    }
}

fn say(line: &str) {
    writeln!(stdout(), "{line}").expect("the driver reads");
}

/// Says that it is ready, and goes on when its standard input ends.
fn wait_until_told(ready: &str) {
    say(ready);
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink()).expect("standard input");
}

fn number(text: &str) -> u64 {
    text.parse().expect("a number")
}

async fn open(root: &str) -> Result<Arc<Store>> {
    let durability = if std::env::var("DURABILITY").is_ok_and(|text| text == "power") {
        Durability::Power
    } else {
        Durability::Process
    };
    let options = Options {
        durability,
        keep: std::env::var("KEEP").ok().map(|text| number(&text)),
        link: std::env::var_os("LINK").map(PathBuf::from),
        adopt: std::env::var_os("ADOPT").is_some(),
        ..Options::default()
    };
    Store::open(root.to_owned(), options, &patience()).await
}

fn patience() -> Patience {
    Patience::for_at_most(Duration::from_secs(20))
}

fn token() -> String {
    format!("{}-{}", std::process::id(), clock::monotonic_micros())
}

async fn publish(store: &Arc<Store>, token: &str) -> Result<u64> {
    publish_as(store, token.to_owned(), publish_stage).await
}

fn publish_stage(writer: &mut Writer<'_>, stage: &Stage, sealed: &Sealed) -> Result<u64> {
    let published = writer.publish(stage, sealed, &PublishOptions::default())?;
    Ok(published.head.number)
}

/// Fills a stage; `flip` makes it current. As `publish()` does for JavaScript, without the collection behind it.
async fn publish_as(
    store: &Arc<Store>,
    token: String,
    flip: impl FnOnce(&mut Writer<'_>, &Stage, &Sealed) -> Result<u64> + Send + 'static,
) -> Result<u64> {
    let stage = store.stage(StageBase::Empty, false, &patience()).await?;
    let text = format!("{token}\n").repeat(LINES);
    let filled = stage.fill(None, move |stage| {
        write_files(stage, &text)?;
        stage.symlink("node_modules", "../../../../node_modules")
    });
    filled.await?;
    publish_or_discard(&stage, flip).await
}

fn write_files(stage: &Stage, text: &str) -> Result<()> {
    FILES
        .iter()
        .try_for_each(|path| stage.write(path, text.as_bytes(), 0o644))
}

async fn publish_or_discard(
    stage: &StageHandle,
    flip: impl FnOnce(&mut Writer<'_>, &Stage, &Sealed) -> Result<u64> + Send + 'static,
) -> Result<u64> {
    let published = stage.publish_with(Vec::new(), patience(), flip).await;
    if published.is_err() {
        stage.discard().await?;
    }
    published
}

async fn adopt(store: &Arc<Store>, how: &str, directory: PathBuf) -> Result<()> {
    let how = match how {
        "move" => CopyMethod::Move,
        "copy" => CopyMethod::Copy,
        "clone" => CopyMethod::Clone,
        other => panic!("unknown method {other}"),
    };
    let stage = store.stage(StageBase::Empty, false, &patience()).await?;
    let adopted = stage.fill(Some(directory.clone()), move |stage| {
        stage.adopt(&directory, how, &Cancel::new())
    });
    if let Err(error) = adopted.await {
        stage.discard().await?;
        return Err(error);
    }
    publish_or_discard(&stage, publish_stage).await.map(drop)
}

/// A stage that begins with the current generation's files, one of them rewritten.
async fn publish_a_copy(store: &Arc<Store>) -> Result<()> {
    let stage = store.stage(StageBase::Current, false, &patience()).await?;
    let text = format!("{}\n", token()).repeat(LINES);
    if let Err(error) = stage.fill(None, move |stage| write_files(stage, &text)).await {
        stage.discard().await?;
        return Err(error);
    }
    publish_or_discard(&stage, publish_stage).await.map(drop)
}

/// As `rollback()` does for JavaScript, without the collection behind it.
async fn rollback(store: &Arc<Store>, number: u64) -> Result<()> {
    let patience = patience();
    let rolled_back = store.write(&patience, move |writer| writer.rollback(number));
    rolled_back.await.map(drop)
}

async fn collect(store: &Arc<Store>) -> Result<()> {
    store.collect(&patience()).await.map(drop)
}

/// Pins, reads everything, and complains aloud about what no reader may ever see.
fn check(store: &Store) -> Result<()> {
    let number = pin_current(store, OWNER)?;
    complain(number, read_all(store, number));
    release(store, OWNER, number);
    Ok(())
}

fn complain(number: u64, read: Result<()>) {
    if let Err(error) = read {
        say(&format!("VIOLATION generation {number}: {error}"));
    }
}

fn read_all(store: &Store, number: u64) -> Result<()> {
    let tree = store.layout().tree(number);
    let mut first: Option<Vec<u8>> = None;
    for (index, path) in FILES.iter().enumerate() {
        let bytes = fs::read(&tree.join(path))?;
        let line = bytes
            .split(|byte| *byte == b'\n')
            .next()
            .unwrap_or_default()
            .to_vec();
        if bytes
            .split(|byte| *byte == b'\n')
            .filter(|other| **other == line)
            .count()
            != LINES
        {
            return Err(Error::new(Code::GenerationCorrupt, format!("{path} is torn")));
        }
        if first.as_ref().is_some_and(|first| *first != line) {
            return Err(Error::new(
                Code::GenerationCorrupt,
                format!("{path} is of another generation"),
            ));
        }
        first = Some(line);
        // A slow reader now and then: across several publishes.
        if index == 1 && clock::monotonic_micros().is_multiple_of(16) {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    Ok(())
}

/// Holds the current generation until its standard input ends.
fn hold(store: &Arc<Store>) -> Result<()> {
    let number = pin_current(store, OWNER)?;
    wait_until_told(&format!("holding {number}"));
    read_all(store, number)?;
    release(store, OWNER, number);
    Ok(())
}

/// Releases a pin while a child is between fork and exec, and reports whether the generation can be collected.
async fn forked(store: &Arc<Store>) -> Result<()> {
    let number = pin_current(store, OWNER)?;
    let child = forked::Forked::start();
    release(store, OWNER, number);
    for _ in 0..3 {
        publish(store, &token()).await?;
        collect(store).await?;
    }
    let is_kept = fs::stat(&store.layout().tree(number)).is_ok();
    say(if is_kept { "kept" } else { "collected" });
    drop(child);
    Ok(())
}

/// Somebody removes the lock file of a generation that this process holds, and an open makes it again: the pin that
/// follows has to hold the new one.
async fn hold_what_was_healed(root: &str) -> Result<()> {
    let store = open(root).await?;
    let number = pin_current(&store, OWNER)?;
    fs::remove_file(&store.layout().pin(number))?;
    hold(&open(root).await?)
}

async fn rewrite_a_copy(store: &Arc<Store>) -> Result<()> {
    let number = pin_current(store, OWNER)?;
    let stage = store.stage(StageBase::Current, false, &patience()).await?;
    let path = stage.path().join(FILES[0]);
    // As esbuild and tsc write: the same inode, truncated and rewritten.
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .truncate(true)
        .open(&path)
        .expect("a writable copy");
    file.write_all(b"rewritten").expect("write");
    let read = read_all(store, number);
    stage.discard().await?;
    read
}

fn verify(store: &Store) -> Result<()> {
    let Some(number) = store.current()? else {
        say("current 0");
        return Ok(());
    };
    let problems = store
        .verify(None, &Cancel::new())
        .map_or(usize::MAX, |problems| problems.len());
    say(&format!("current {number}"));
    say(&format!("problems {problems}"));
    Ok(())
}

/// What `call` returned, and between which microseconds of the monotonic clock it ran.
fn timed(kind: &str, call: impl FnOnce() -> Result<u64>) -> Result<u64> {
    let before = clock::monotonic_micros();
    let number = call()?;
    say(&format!("{kind} {number} {before} {}", clock::monotonic_micros()));
    Ok(number)
}

/// Records the current generation and the time, under the writer lock and before any change there. It shows what a
/// writer did that was killed before it could report it.
fn say_what_is_current(store: &Store) -> Result<()> {
    let number = store.current()?.unwrap_or(0);
    say(&format!("found {number} {0} {0}", clock::monotonic_micros()));
    Ok(())
}

/// Publishes, rolls back and collects forever. Reports for each generation the interval in which it became current.
/// The clock is read under the writer lock, so that the intervals of all writers are one sequence.
async fn write_loop(store: &Arc<Store>) -> Result<()> {
    let patience = patience();
    loop {
        let looked_at = Arc::clone(store);
        let published = publish_as(store, token(), move |writer, stage, sealed| {
            say_what_is_current(&looked_at)?;
            timed("flip", || publish_stage(writer, stage, sealed))
        });
        let published = published.await?;
        if published % 3 == 0 {
            let (looked_at, target) = (Arc::clone(store), published - 1);
            let rolled_back = store.write(&patience, move |writer| {
                say_what_is_current(&looked_at)?;
                timed("flip", || writer.rollback(target).map(|head| head.number))
            });
            match rolled_back.await {
                Err(error) if error.code != Code::GenerationGone => return Err(error),
                _ => {}
            }
        }
        collect(store).await?;
    }
}

/// Pins and reads forever. Half of the time it pins again before it releases the previous generation, as a dev server
/// does, so that further pins of a held generation are among them.
fn read_loop(store: &Arc<Store>) -> Result<()> {
    let mut held = None;
    for reads in 1_u64.. {
        let number = timed("pin", || pin_current(store, OWNER))?;
        complain(number, read_all(store, number));
        if let Some(before) = held.replace(number) {
            release(store, OWNER, before);
        }
        if reads.is_multiple_of(2) {
            release(store, OWNER, number);
            held = None;
        }
    }
    Ok(())
}
