//! Real processes on real files: started, killed, counted.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use futures::executor::block_on;
use warmswap::core::error;
use warmswap::core::locks::{self, Acquired, LockPath, LockScope, ModeChoice, Request};
use warmswap::core::sys::cancel::Cancel;
use warmswap::core::sys::deadline::Deadline;

/// Both modes, with the names that the child accepts.
pub(crate) const MODES: [&str; 2] = ["auto", "lease"];

/// A directory with one lock, in memory: thousands of acquisitions per second, with the same calls as on a disk.
pub(crate) struct Arena {
    path: PathBuf,
    _removed_with_it: Option<tempfile::TempDir>,
}

impl Arena {
    pub(crate) fn new() -> Self {
        Self::below(Path::new("/dev/shm"))
    }

    pub(crate) fn below(parent: &Path) -> Self {
        let root = tempfile::tempdir_in(parent).expect("a temporary directory");
        Self {
            path: root.path().to_path_buf(),
            _removed_with_it: Some(root),
        }
    }

    /// An arena that the caller removes.
    pub(crate) fn at(path: &Path) -> Self {
        std::fs::create_dir_all(path).expect("the arena");
        Self {
            path: path.to_path_buf(),
            _removed_with_it: None,
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn locks(&self) -> PathBuf {
        self.path().join("locks")
    }

    pub(crate) fn lock(&self) -> String {
        self.locks().join("key.lock").to_string_lossy().into_owned()
    }

    /// Generations in the order of their acquisitions.
    pub(crate) fn log(&self, name: &str) -> Vec<u64> {
        let text = std::fs::read_to_string(self.path().join(name)).unwrap_or_default();
        text.lines()
            .filter_map(|line| line.split(' ').next()?.parse().ok())
            .collect()
    }

    /// Acquires the lock in this process.
    pub(crate) fn acquire(&self, mode: &str, within: Duration) -> warmswap::core::error::Result<Acquired> {
        let lock = LockPath::parse(&self.lock())?;
        let request = request(mode);
        block_on(locks::acquire(
            lock,
            request,
            Deadline::after(within),
            Cancel::new(),
            None,
        ))
    }
}

pub(crate) fn request(mode: &str) -> Request {
    Request {
        mode: if mode == "lease" {
            ModeChoice::Lease
        } else {
            ModeChoice::Auto
        },
        lease_ttl: Duration::from_millis(600),
        ..Request::default()
    }
}

/// The uid and gid of nobody.
pub(crate) const NOBODY: u32 = 65534;

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Path of the program `__test__/programs/locks-child.rs`.
pub(crate) fn program() -> &'static str {
    env!("CARGO_BIN_EXE_locks-child")
}

/// Whether other users can run our program. Only root can start it for them, and they must be able to enter its
/// directory, unlike a clone below root's home. Prints what is missing.
pub(crate) fn can_run_as_others() -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    let may_enter = |folder: &Path| {
        folder
            .metadata()
            .is_ok_and(|data| data.permissions().mode() & 0o1 != 0)
    };
    let is_reachable = Path::new(program()).ancestors().skip(1).all(may_enter);
    if !is_root() {
        eprintln!("SKIPPED: only root can start a process of another user");
    } else if !is_reachable {
        eprintln!("SKIPPED: other users may not enter the folder of {}", program());
    }
    is_root() && is_reachable
}

/// A child process. Dropping this value kills it.
pub(crate) struct Process {
    child: Child,
    lines: mpsc::Receiver<String>,
}

impl Process {
    pub(crate) fn start(arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let mut command = Command::new(program());
        Self::spawn(command.args(arguments).envs(environment.iter().copied()))
    }

    pub(crate) fn spawn(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the child");
        let output = BufReader::new(child.stdout.take().expect("its output"));
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            output
                .lines()
                .map_while(Result::ok)
                .try_for_each(|line| sender.send(line))
        });
        Self { child, lines }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The next line of its output. `None` if it ended without one.
    pub(crate) fn line(&mut self) -> Option<String> {
        self.line_within(Duration::from_secs(30))
    }

    /// The next line of its output, if it arrives in time.
    pub(crate) fn line_within(&mut self, patience: Duration) -> Option<String> {
        self.lines.recv_timeout(patience).ok()
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("killed");
    }

    pub(crate) fn reap(&mut self) {
        self.child.wait().expect("reaped");
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_raw(self.pid().cast_signed()).expect("a pid");
        rustix::process::kill_process(pid, signal).expect("signalled");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Waits until the condition is true.
pub(crate) fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(20);
    while !is_so() {
        assert!(Instant::now() < until, "{what} did not happen in 20 s");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Whether a process is stopped by a signal.
pub(crate) fn is_stopped(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')')
        .next()
        .is_some_and(|rest| rest.trim_start().starts_with('T'))
}

/// Duration of a storm in seconds. WARMSWAP_LONG=1 selects the long form, and `npm run storm` sets any duration.
pub(crate) fn seconds(short: f64, long: f64) -> f64 {
    if let Ok(wanted) = std::env::var("WARMSWAP_STORM_SECONDS") {
        return wanted.parse().expect("seconds");
    }
    if std::env::var("WARMSWAP_LONG").as_deref() == Ok("1") {
        long
    } else {
        short
    }
}

/// Long enough for a loaded machine, and far shorter than any window that is not under test.
pub(crate) const SOON: Duration = Duration::from_secs(5);

/// Time for which a process is observed that must not acquire the lock.
pub(crate) const A_WHILE: Duration = Duration::from_millis(700);

pub(crate) fn ensure(holds: bool, what: &str) -> Result<(), String> {
    if holds { Ok(()) } else { Err(what.to_owned()) }
}

pub(crate) fn assert_kills(check: impl Fn(&[(&str, &str)]) -> Result<(), String>, seeded_bug: &str) {
    check(&[]).expect("holds without the seeded bug");
    assert!(
        check(&[("WARMSWAP_MUTANT", seeded_bug)]).is_err(),
        "the seeded bug {seeded_bug} was not detected"
    );
}

pub(crate) fn start(arguments: &[&str], environment: &[(&str, &str)], more: &[(&str, &str)]) -> Process {
    Process::start(arguments, &[environment, more].concat())
}

/// A holder in this process, in lease mode with 600 ms.
pub(crate) fn holder(arena: &Arena) -> warmswap::core::locks::Acquired {
    arena.acquire("lease", SOON).expect("the lock")
}

pub(crate) fn write_legacy_lock(path: &str, pid: u32) {
    let hostname = warmswap::core::sys::identity::hostname();
    let created = warmswap::core::sys::clock::iso8601();
    std::fs::create_dir_all(path).expect("mkdir");
    let owner = serde_json::json!({ "createdAt": created, "pid": pid, "hostname": hostname });
    std::fs::write(Path::new(path).join("owner.json"), format!("{owner}\n")).expect("owner.json");
}

/// A pipe that no process opens, so that a call on it blocks like one on a filesystem that hangs.
pub(crate) fn fifo(arena: &Arena) -> String {
    let path = arena.path().join("fifo").to_string_lossy().into_owned();
    let made = Command::new("mkfifo").arg(&path).status();
    assert!(made.is_ok_and(|status| status.success()));
    path
}

/// Output of a program that acquires by lease while one of its calls hangs.
pub(crate) fn said_while_it_hangs(call: &str, arguments: &[&str], more: &[(&str, &str)]) -> Option<String> {
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

/// Waits in this process until the lock is free.
pub(crate) fn wait_for_vacancy(
    arena: &Arena,
    request: &Request,
) -> mpsc::Receiver<Result<bool, &'static str>> {
    let (sender, answer) = mpsc::channel();
    let lock = LockPath::parse(&arena.lock()).expect("a path");
    let answered = move |outcome: error::Result<bool>| {
        let _nobody_left = sender.send(outcome.map_err(|error| error.code.as_str()));
    };
    let (request, cancel) = (request.clone(), Cancel::new());
    LockScope::new().wait_until_vacant(lock, request, Deadline::NEVER, &cancel, None, answered);
    answer
}
