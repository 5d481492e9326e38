//! A child that stays between its fork and its exec, where it has a copy of every descriptor of this process.

use std::io::{PipeWriter, Read as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::thread::JoinHandle;

/// Dropping this value lets the child execute its program, which ends immediately.
pub(crate) struct Forked {
    keeps_waiting: Option<PipeWriter>,
    starter: Option<JoinHandle<()>>,
}

impl Forked {
    /// Returns once the child has forked.
    pub(crate) fn start() -> Self {
        let (mut has_forked, forked) = std::io::pipe().expect("a pipe");
        let (waits, keeps_waiting) = std::io::pipe().expect("a pipe");
        let copy = keeps_waiting.as_raw_fd();
        let mut command = Command::new("true");
        let between = move || {
            // SAFETY: this is the child's copy, which nothing uses. While it is open, the read below has no end.
            unsafe { rustix::io::close(copy) };
            rustix::io::write(&forked, b"f")?;
            rustix::io::read(&waits, &mut [0; 1])?;
            Ok(())
        };
        // SAFETY: the child makes no call but close(2), write(2) and read(2), which are allowed after a fork.
        unsafe { command.pre_exec(between) };
        // A start returns after the exec.
        let starter = std::thread::spawn(move || drop(command.status()));
        has_forked.read_exact(&mut [0; 1]).expect("forked");
        Self {
            keeps_waiting: Some(keeps_waiting),
            starter: Some(starter),
        }
    }
}

impl Drop for Forked {
    fn drop(&mut self) {
        drop(self.keeps_waiting.take());
        if let Some(starter) = self.starter.take() {
            drop(starter.join());
        }
    }
}
