//! Calls that are held at a fault injection point.

use std::fs;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

/// A call of archive-child that is held at one of its fault injection points.
pub(crate) struct Held {
    child: Child,
    /// The child continues when this is closed.
    gate: Option<OwnedFd>,
    directory: tempfile::TempDir,
}

impl Held {
    /// Starts it and waits until it is held. `fault` is a `WARMSWAP_FAULT` with 'HOLD' in it.
    pub(crate) fn start(arguments: &[&Path], fault: &str) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let fifo = directory.path().join("fifo");
        let made = Command::new("mkfifo").arg(&fifo).status().expect("started");
        assert!(made.success(), "mkfifo");
        let mut child = Command::new(env!("CARGO_BIN_EXE_archive-child"))
            .args(arguments)
            .env("WARMSWAP_FAULT", fault)
            .env("WARMSWAP_FAULT_FIFO", &fifo)
            .env("WARMSWAP_FAULT_LOG", directory.path().join("log"))
            .stdout(Stdio::piped())
            .spawn()
            .expect("started");
        let gate = Some(wait_until_held(&mut child, &fifo, fault));
        Self {
            child,
            gate,
            directory,
        }
    }

    /// Lets it continue. Returns its output, and how many of the points that its fault counts it has passed.
    pub(crate) fn release(self) -> (String, usize) {
        drop(self.gate);
        let output = self.child.wait_with_output().expect("a child of ours");
        assert!(output.status.success(), "{output:?}");
        let said = String::from_utf8(output.stdout).expect("text");
        let log = fs::read_to_string(self.directory.path().join("log")).expect("a log");
        (said, log.lines().count())
    }

    /// Lets it continue without waiting for its end.
    pub(crate) fn go_on(&mut self) {
        self.gate = None;
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("a child of ours").is_none()
    }

    /// How many of the points that its fault counts it has passed so far.
    pub(crate) fn points(&self) -> usize {
        let log = fs::read_to_string(self.directory.path().join("log"));
        log.expect("a log").lines().count()
    }

    /// Kills it where it is held.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("a child of ours");
        self.child.wait().expect("reaped");
    }
}

fn wait_until_held(child: &mut Child, fifo: &Path, fault: &str) -> OwnedFd {
    let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    loop {
        match rustix::fs::open(fifo, flags, Mode::empty()) {
            Ok(gate) => return gate,
            // A held child reads it. Until then there is no reader.
            Err(errno) => assert_eq!(errno, Errno::NXIO, "{}", fifo.display()),
        }
        let ended = child.try_wait().expect("a child of ours");
        assert_eq!(ended, None, "it ended and was never held at {fault}");
        std::thread::sleep(Duration::from_millis(1));
    }
}
