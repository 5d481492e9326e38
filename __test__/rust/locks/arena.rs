//! Real processes on real files: started, killed, counted.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use futures::executor::block_on;
use warmswap::core::error::Result;
use warmswap::core::locks::{self, Acquired, LockPath, ModeChoice, Request};
use warmswap::core::sys::cancel::Cancel;
use warmswap::core::sys::deadline::Deadline;

/// Both modes, under the names that the child takes.
pub(crate) const MODES: [&str; 2] = ["auto", "lease"];

/// A folder with one lock, on memory: thousands of takings a second, and the same calls as on a disk.
pub(crate) struct Arena {
    pub(crate) root: tempfile::TempDir,
}

impl Arena {
    pub(crate) fn new() -> Self {
        let root = tempfile::tempdir_in("/dev/shm").expect("a temporary directory");
        Self { root }
    }

    pub(crate) fn path(&self) -> &Path {
        self.root.path()
    }

    pub(crate) fn locks(&self) -> PathBuf {
        self.path().join("locks")
    }

    pub(crate) fn lock(&self) -> String {
        self.locks().join("key.lock").to_string_lossy().into_owned()
    }

    /// Generations in the order of their takings.
    pub(crate) fn log(&self, name: &str) -> Vec<u64> {
        let text = std::fs::read_to_string(self.path().join(name)).unwrap_or_default();
        text.lines()
            .filter_map(|line| line.split(' ').next()?.parse().ok())
            .collect()
    }

    /// Takes the lock in this process.
    pub(crate) fn acquire(&self, mode: &str, within: Duration) -> Result<Acquired> {
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

/// A child of ours, killed with this value.
pub(crate) struct Process {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Process {
    pub(crate) fn start(arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_locks-child"))
            .args(arguments)
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the child");
        let output = BufReader::new(child.stdout.take().expect("its output"));
        Self { child, output }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The next line of its output; `None` where it ended.
    pub(crate) fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("its output");
        (!line.is_empty()).then(|| line.trim_end().to_owned())
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

    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("waited").is_some()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Waits for something that will happen.
pub(crate) fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(20);
    while !is_so() {
        assert!(Instant::now() < until, "{what} did not happen in 20 s");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Seconds of a storm; WARMSWAP_LONG=1 asks for the long form.
pub(crate) fn seconds(short: f64, long: f64) -> f64 {
    if std::env::var("WARMSWAP_LONG").as_deref() == Ok("1") {
        long
    } else {
        short
    }
}
