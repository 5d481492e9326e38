//! Other users of the machine, and entries that they can put in place of others.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rustix::fs::{CWD, FileType, makedev, mknodat};

use super::Raw;

pub(crate) const STRANGER: u32 = 12345;
pub(crate) const NOBODY: u32 = 65534;
/// A call that waits for another user's pipe never ends. One that does not ends within milliseconds.
pub(crate) const BLOCKED: Duration = Duration::from_secs(20);

pub(crate) fn archive() -> Vec<u8> {
    Raw::default()
        .file("new.txt", b"new")
        .file("d/new.txt", b"new")
        .end()
}

/// A directory of one test, with a copy of the program for other users. Only root can act as several users.
pub(crate) struct Machine {
    root: tempfile::TempDir,
}

impl Machine {
    pub(crate) fn new() -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            assert!(std::env::var_os("CI").is_none(), "CI must run as root");
            eprintln!("SKIPPED: only root can run a child as another user");
            return None;
        }
        let root = tempfile::tempdir_in("/dev/shm").expect("a temporary directory");
        // Copied with cp: a child that another test starts in the meantime would inherit this process's descriptor of
        // the copy, which cannot be executed while it is open for writing (ETXTBSY).
        let copied = Command::new("cp")
            .arg(env!("CARGO_BIN_EXE_archive-child"))
            .arg(root.path())
            .status();
        assert!(copied.expect("started").success());
        fs::write(root.path().join("archive.tar"), archive()).expect("write");
        set_mode(root.path(), 0o755);
        Some(Self { root })
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    pub(crate) fn directory(&self, name: &str, owner: u32, mode: u32) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(&path).expect("mkdir");
        own(&path, owner);
        set_mode(&path, mode);
        path
    }

    /// Runs the program as this user.
    pub(crate) fn child(&self, user: u32, arguments: &[&Path]) -> String {
        said(
            Command::new(self.path("archive-child"))
                .args(arguments)
                .env("TMPDIR", "/dev/shm")
                .uid(user)
                .gid(user),
        )
    }

    pub(crate) fn unpack_as(&self, user: u32, target: &Path, mode: &str) -> String {
        self.child(user, &[&self.path("archive.tar"), target, Path::new(mode)])
    }
}

/// Output of a program. It must end by itself.
pub(crate) fn said(command: &mut Command) -> String {
    let mut child = command.stdout(Stdio::piped()).spawn().expect("started");
    let since = Instant::now();
    while child.try_wait().expect("a child of ours").is_none() {
        if since.elapsed() > BLOCKED {
            child.kill().expect("a child of ours");
            panic!("{command:?} blocks");
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    let output = child.wait_with_output().expect("a child of ours");
    assert!(output.status.success(), "{command:?}: {output:?}");
    String::from_utf8(output.stdout).expect("text")
}

pub(crate) fn own(path: &Path, owner: u32) {
    std::os::unix::fs::lchown(path, Some(owner), Some(owner)).expect("chown");
}

pub(crate) fn own_all(path: &Path, owner: u32) {
    own(path, owner);
    if path.is_dir() && !path.is_symlink() {
        for entry in fs::read_dir(path).expect("readdir") {
            own_all(&entry.expect("entry").path(), owner);
        }
    }
}

pub(crate) fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("chmod");
}

/// Runs a call that a pipe could block forever.
pub(crate) fn unblocked<T: Send + 'static>(what: &str, call: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || drop(sender.send(call())));
    receiver
        .recv_timeout(BLOCKED)
        .unwrap_or_else(|_| panic!("{what}: it blocks or panics"))
}

/// Name of a stage for this target, as a process creates it.
pub(crate) fn stage_of(target: &Path) -> PathBuf {
    let name = target.file_name().expect("a name");
    let hash = blake3::hash(name.as_encoded_bytes()).to_hex();
    target.with_file_name(format!(".warmswap-stage-{}-ffffffffffff", &hash[..16]))
}

/// Kinds of entries in place of the expected one.
pub(crate) const IMPOSTORS: [&str; 6] = ["pipe", "directory", "link", "dangling link", "device", "socket"];

/// Creates an unexpected entry at a path.
pub(crate) fn impersonate(path: &Path, how: &str, outside: &Path) {
    drop(fs::remove_dir_all(path));
    drop(fs::remove_file(path));
    let node = |kind, device| {
        mknodat(CWD, path, kind, rustix::fs::Mode::from_raw_mode(0o666), device).expect("mknod");
    };
    match how {
        "pipe" => node(FileType::Fifo, 0),
        "device" => node(FileType::CharacterDevice, makedev(1, 3)),
        "socket" => node(FileType::Socket, 0),
        "directory" => fs::create_dir(path).expect("mkdir"),
        "link" => std::os::unix::fs::symlink(outside, path).expect("symlink"),
        _ => std::os::unix::fs::symlink(outside.with_extension("absent"), path).expect("symlink"),
    }
}
