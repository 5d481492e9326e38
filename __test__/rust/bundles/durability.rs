//! Real power loss: loop mounts that are shut down without flushing their log (ext4 and xfs by ioctl), or whose backing
//! file is copied while they are mounted (btrfs). The negative controls must fail. Otherwise the test detects nothing.
//! Needs root, loop devices and mkfs, and prints a message if one is missing.
//!
//! A publisher is killed at each of its system calls. Then the power is lost: immediately, after another program has
//! flushed a file (which commits the filesystem's log), or after 6.5 s (when the kernel has written back by itself;
//! `npm run test:long`). If warmswap flushes nothing, the stores of all points share one crash. With durability 'power'
//! and an immediate power loss, each point has its own crash. CI runs the points at and after calls that flush or
//! change a name, and the long form runs all.

// guarantee: bundles/power-loses-nothing, bundles/torn-is-not-served

use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::fixture::{Outcome, command, not_run, start};
use crate::forks::run_fork;

/// Shuts down the filesystem of ext4 or xfs that is mounted there: nothing more is written to it.
#[expect(clippy::disallowed_methods, reason = "the test works on the disk directly")]
fn shut_down(mount_point: &Path) -> std::io::Result<()> {
    /// `_IOR('X', 125, u32)`.
    const SHUTDOWN: libc::Ioctl = 0x8004_587d;
    /// The log is not flushed.
    const NOLOGFLUSH: u32 = 2;

    let folder = std::fs::File::open(mount_point)?;
    let how = NOLOGFLUSH;
    // SAFETY: the descriptor is open, and the call reads one u32, which outlives it.
    match unsafe { libc::ioctl(folder.as_raw_fd(), SHUTDOWN, &raw const how) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Filesystem {
    Ext4,
    Xfs,
    Btrfs,
}

impl Filesystem {
    fn format(self) -> (&'static [&'static str], &'static str) {
        match self {
            Self::Ext4 => (&["mkfs.ext4", "-q", "-F"], "64M"),
            Self::Xfs => (&["mkfs.xfs", "-q", "-f"], "320M"),
            Self::Btrfs => (&["mkfs.btrfs", "-q", "-f"], "128M"),
        }
    }
}

/// A mounted image. Dropping it unmounts it.
struct Disk {
    folder: tempfile::TempDir,
    filesystem: Filesystem,
    image: PathBuf,
}

fn succeeds(program: &str, arguments: &[&str]) -> bool {
    start(
        Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null()),
    )
    .and_then(|mut child| child.wait())
    .is_ok_and(|status| status.success())
}

impl Disk {
    fn new(filesystem: Filesystem) -> Option<Self> {
        // In memory: the filesystem in the image decides what is lost, and flushes do not wait for the host's disk.
        let folder = tempfile::tempdir_in("/dev/shm").expect("a temporary folder");
        let image = folder.path().join("image");
        let (mkfs, size) = filesystem.format();
        std::fs::File::options()
            .write(true)
            .create_new(true)
            .open(&image)
            .expect("an image");
        let path = image.to_str().expect("UTF-8");
        let made =
            succeeds("truncate", &["-s", size, path]) && succeeds(mkfs[0], &[&mkfs[1..], &[path]].concat());
        let disk = Self {
            folder,
            filesystem,
            image,
        };
        #[expect(clippy::disallowed_methods, reason = "a mount point for the test")]
        std::fs::create_dir(disk.mount_point()).expect("a mount point");
        (made && disk.mount()).then_some(disk)
    }

    fn mount_point(&self) -> PathBuf {
        self.folder.path().join("mount")
    }

    fn mount(&self) -> bool {
        succeeds(
            "mount",
            &[
                "-o",
                "loop",
                self.image.to_str().expect("UTF-8"),
                self.mount_point().to_str().expect("UTF-8"),
            ],
        )
    }

    /// Retries while it is busy, because a child of another test has copies of our descriptors between its fork and its
    /// exec. A second mount would stack on the first.
    fn unmount(&self) {
        let path = self.mount_point();
        let path = path.to_str().expect("UTF-8");
        #[expect(
            clippy::disallowed_methods,
            reason = "a filesystem that was shut down fails every stat"
        )]
        let mounts = || std::fs::read_to_string("/proc/self/mounts").expect("mounts");
        while mounts().contains(path) {
            succeeds("umount", &[path]);
        }
    }

    /// Loses power and restores it.
    fn lose_power(&mut self) {
        if self.filesystem == Filesystem::Btrfs {
            let other = if self.image.ends_with("image") {
                "copy"
            } else {
                "image"
            };
            let copy = self.folder.path().join(other);
            let paths = [&self.image, &copy].map(|path| path.to_str().expect("UTF-8"));
            // A copy of one moment: the kernel may write back during the copy.
            loop {
                assert!(succeeds("cp", &["--sparse=always", paths[0], paths[1]]));
                if succeeds("cmp", &["--quiet", paths[0], paths[1]]) {
                    break;
                }
            }
            self.unmount();
            self.image = copy;
        } else {
            shut_down(&self.mount_point()).expect("the shutdown ioctl");
            self.unmount();
        }
        // The previous loop device disappears shortly after its mount. Until then, a mount can find the filesystem that
        // was shut down, which fails every call.
        let is_mounted = (0..500).any(|_| {
            let answers = self.mount() && self.answers();
            if !answers {
                self.unmount();
            }
            answers
        });
        assert!(is_mounted, "{:?} is mounted again", self.filesystem);
    }

    #[expect(clippy::disallowed_methods, reason = "the test reads the disk directly")]
    fn answers(&self) -> bool {
        let probe = self.mount_point().join("probe");
        std::fs::write(&probe, "").is_ok() && std::fs::remove_file(&probe).is_ok()
    }

    fn store(&self, name: &str) -> PathBuf {
        self.mount_point().join(name)
    }

    /// Makes everything that was written so far durable.
    fn flush(&self) {
        let path = self.mount_point();
        assert!(succeeds("sync", &["-f", path.to_str().expect("UTF-8")]));
    }

    /// Another program creates a file in a directory and flushes both.
    #[expect(clippy::disallowed_methods, reason = "as another program does")]
    fn let_a_stranger_flush(&self) {
        let folder = self.mount_point().join("stranger");
        std::fs::create_dir_all(&folder).expect("a directory");
        let mut file = std::fs::File::create(folder.join("file")).expect("a file");
        std::io::Write::write_all(&mut file, b"stranger").expect("write");
        file.sync_all().expect("fsync");
        let folder = std::fs::File::open(&folder).expect("open");
        folder.sync_all().expect("fsync");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.unmount();
    }
}

const FILESYSTEMS: [Filesystem; 3] = [Filesystem::Ext4, Filesystem::Xfs, Filesystem::Btrfs];

/// Time of the power loss.
#[derive(Debug, Clone, Copy, PartialEq)]
enum When {
    AtOnce,
    AfterAStrangersFlush,
    AfterWriteback,
}

impl When {
    fn pass(self, disk: &Disk) {
        match self {
            Self::AtOnce => {}
            Self::AfterAStrangersFlush => disk.let_a_stranger_flush(),
            // Intervals of the kernel: 5 s for the log, and the data that it has not written by then.
            Self::AfterWriteback => std::thread::sleep(Duration::from_millis(6_500)),
        }
    }
}

fn is_long() -> bool {
    std::env::var("WARMSWAP_LONG").is_ok_and(|text| text == "1")
}

fn whens() -> &'static [When] {
    let all = &[When::AtOnce, When::AfterAStrangersFlush, When::AfterWriteback];
    if is_long() { all } else { &all[..2] }
}

/// The operation that is interrupted.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Scenario {
    durability: &'static str,
    /// Value of `keep`. With 0, a collection that comes too early loses everything.
    keep: &'static str,
    command: &'static str,
    /// Whether the store already has a generation.
    begun: bool,
}

const POWER: Scenario = Scenario {
    durability: "power",
    keep: "0",
    command: "publish-and-collect",
    begun: true,
};

const PROCESS: Scenario = Scenario {
    durability: "process",
    keep: "1",
    ..POWER
};

/// The first publish into a directory that did not exist.
const FRESH: Scenario = Scenario {
    command: "create-and-publish",
    begun: false,
    ..POWER
};

impl Scenario {
    fn run(self, root: &Path, command_name: &str, more: &[(&str, &str)]) -> Outcome {
        let own = [("DURABILITY", self.durability), ("KEEP", self.keep)];
        run_fork(&command(root, &[command_name], &[&own, more].concat()))
    }

    fn prepare(self, root: &Path) {
        if self.begun {
            let outcome = self.run(root, "publish", &[]);
            assert!(outcome.succeeded, "{}", outcome.output);
        }
    }

    /// Operation of each of its system calls.
    fn points(self) -> Vec<String> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (root, log) = (folder.path().join("store"), folder.path().join("log"));
        self.prepare(&root);
        let outcome = self.run(
            &root,
            self.command,
            &[("WARMSWAP_FAULT_LOG", log.to_str().expect("UTF-8"))],
        );
        assert!(outcome.succeeded, "{}", outcome.output);
        #[expect(clippy::disallowed_methods, reason = "the test reads the disk directly")]
        let log = std::fs::read_to_string(log).expect("a log");
        log.lines()
            .map(|line| line.split(' ').nth(1).expect("an operation").to_owned())
            .collect()
    }

    /// Generation that is current after the crash if the publish was acknowledged.
    fn published(self) -> &'static str {
        if self.begun { "current 2\n" } else { "current 1\n" }
    }

    /// Checks what is visible after a crash, in this boot ('power') or in the next one ('process').
    fn check(self, root: &Path, acknowledged: bool, context: &str) {
        let boot = if self.durability == "power" {
            real_boot()
        } else {
            "the next boot".to_owned()
        };
        let seen = self.run(root, "verify", &[("WARMSWAP_BOOT_ID", &boot)]).output;
        let is_whole = seen.contains("problems 0\n");
        let is_empty = seen.contains("current 0\n") && (self.durability == "process" || !self.begun);
        assert!(is_whole || is_empty, "{context}: {seen}");
        if acknowledged && self.durability == "power" {
            assert!(seen.contains(self.published()), "{context}: {seen}");
        }
        let next = self.run(root, "publish", &[("WARMSWAP_BOOT_ID", &boot)]);
        assert!(next.succeeded, "{context}: then {}", next.output);
    }
}

fn real_boot() -> String {
    warmswap::core::sys::identity::boot_id().expect("a boot id")
}

fn disk_of(filesystem: Filesystem) -> Option<Disk> {
    let disk = Disk::new(filesystem);
    if disk.is_none() {
        not_run(&format!(
            "power loss on {filesystem:?} needs root, loop devices and mkfs"
        ));
    }
    disk
}

/// The stores of all points share one crash. This is correct if warmswap flushes nothing, or if another program flushes
/// anyway.
fn crash_all_at(filesystem: Filesystem, scenario: Scenario, when: When) {
    let Some(mut disk) = disk_of(filesystem) else {
        return;
    };
    // The last run is not killed.
    let points: Vec<usize> = (1..=scenario.points().len() + 1).collect();
    let root = |disk: &Disk, point: usize| disk.store(&format!("store-{point}"));
    for point in &points {
        scenario.prepare(&root(&disk, *point));
    }
    disk.flush();
    let publish = |point: &usize| {
        let fault = format!("{point}:KILL");
        let outcome = scenario.run(
            &root(&disk, *point),
            scenario.command,
            &[("WARMSWAP_FAULT", &fault)],
        );
        outcome.succeeded
    };
    let acknowledged: Vec<bool> = points.iter().map(publish).collect();
    assert_eq!(acknowledged.last(), Some(&true), "the last run was not killed");
    when.pass(&disk);
    disk.lose_power();
    for (point, acknowledged) in points.into_iter().zip(acknowledged) {
        let context = format!("{filesystem:?}, {scenario:?}, {when:?}, killed at {point}");
        scenario.check(&root(&disk, point), acknowledged, &context);
    }
}

/// Each point has its own crash, immediately.
fn crash_each(filesystem: Filesystem, scenario: Scenario) {
    let Some(mut disk) = disk_of(filesystem) else {
        return;
    };
    let operations = scenario.points();
    let changes = ["fsync", "syncfs", "rename", "symlink", "unlink"];
    let is_change = |point: usize| point > 0 && changes.contains(&operations[point - 1].as_str());
    let points = (1..=operations.len() + 1)
        .filter(|point| is_long() || *point > operations.len() || is_change(*point) || is_change(point - 1));
    for point in points {
        let root = disk.store(&format!("store-{point}"));
        scenario.prepare(&root);
        disk.flush();
        let fault = format!("{point}:KILL");
        let outcome = scenario.run(&root, scenario.command, &[("WARMSWAP_FAULT", &fault)]);
        disk.lose_power();
        let context = format!("{filesystem:?}, {scenario:?}, at once, killed at {point}");
        scenario.check(&root, outcome.succeeded, &context);
    }
}

#[test]
fn power_never_loses_an_acknowledged_publish_immediately() {
    for filesystem in FILESYSTEMS {
        crash_each(filesystem, POWER);
    }
}

#[test]
fn power_never_loses_an_acknowledged_publish_after_others_flushed() {
    for filesystem in FILESYSTEMS {
        for when in &whens()[1..] {
            crash_all_at(filesystem, POWER, *when);
        }
    }
}

#[test]
fn the_first_publish_survives_and_an_incomplete_store_is_recognised() {
    for filesystem in FILESYSTEMS {
        crash_each(filesystem, FRESH);
    }
}

#[test]
fn durability_process_never_returns_a_torn_generation() {
    for filesystem in FILESYSTEMS {
        for when in whens() {
            crash_all_at(filesystem, PROCESS, *when);
        }
    }
}

/// Whether an acknowledged publish is lost or torn by a crash. `None` if the test cannot run here.
fn loses(filesystem: Filesystem, scenario: Scenario, seeded_bug: &str, when: When) -> Option<bool> {
    let mut disk = disk_of(filesystem)?;
    let root = disk.store("store");
    scenario.prepare(&root);
    disk.flush();
    let outcome = scenario.run(&root, scenario.command, &[("WARMSWAP_MUTANT", seeded_bug)]);
    assert!(outcome.succeeded, "{}", outcome.output);
    when.pass(&disk);
    disk.lose_power();
    let seen = scenario
        .run(&root, "verify", &[("WARMSWAP_BOOT_ID", &real_boot())])
        .output;
    Some(!(seen.contains(scenario.published()) && seen.contains("problems 0\n")))
}

/// Without these controls, the tests above could pass on a machine that loses nothing. On btrfs, flushing only the root
/// flushes everything.
#[test]
fn the_crash_detects_a_missing_flush() {
    for filesystem in FILESYSTEMS {
        let seeded_bugs: &[&str] = match filesystem {
            Filesystem::Btrfs => &["no-fsync"],
            Filesystem::Ext4 | Filesystem::Xfs => &["no-fsync", "only-root-fsync"],
        };
        for seeded_bug in seeded_bugs {
            let seen = loses(filesystem, POWER, seeded_bug, When::AtOnce);
            assert_ne!(seen, Some(false), "{seeded_bug} on {filesystem:?}");
        }
        assert_ne!(
            loses(filesystem, POWER, "", When::AtOnce),
            Some(true),
            "{filesystem:?}"
        );
    }
}

/// Only ext4 writes a name back before the bytes of its file.
#[test]
fn the_crash_detects_a_format_that_was_not_flushed() {
    let seen = loses(Filesystem::Ext4, FRESH, "no-format-fsync", When::AtOnce);
    assert_ne!(seen, Some(false));
}
