//! Power loss, for real: loop mounts that are shut down without flushing their log (ext4 and xfs by ioctl), or
//! whose backing file is copied while they are mounted (btrfs). The negative controls must fail, else the test
//! is blind. Needs root, loop devices, mkfs and python3, and says so where one is missing.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::fixture::{command, run};

/// `_IOR('X', 125, u32)` of ext4 and xfs, with the flag NOLOGFLUSH.
const SHUTDOWN: &str = "import fcntl,os,sys,struct; fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x8004587d, struct.pack('I', 2))";

#[derive(Clone, Copy, PartialEq)]
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

/// A mounted image; it is unmounted when it goes.
struct Disk {
    folder: tempfile::TempDir,
    filesystem: Filesystem,
    image: PathBuf,
}

fn succeeds(program: &str, arguments: &[&str]) -> bool {
    Command::new(program)
        .args(arguments)
        .output()
        .is_ok_and(|output| output.status.success())
}

impl Disk {
    fn new(filesystem: Filesystem) -> Option<Self> {
        let folder = tempfile::tempdir().expect("a temporary folder");
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

    fn unmount(&self) {
        succeeds("umount", &[self.mount_point().to_str().expect("UTF-8")]);
    }

    /// The power goes, and comes back.
    fn lose_power(&mut self) {
        if self.filesystem == Filesystem::Btrfs {
            let copy = self.folder.path().join("copy");
            assert!(succeeds(
                "cp",
                &[
                    "--sparse=always",
                    self.image.to_str().expect("UTF-8"),
                    copy.to_str().expect("UTF-8")
                ]
            ));
            self.unmount();
            self.image = copy;
        } else {
            assert!(
                succeeds(
                    "python3",
                    &["-c", SHUTDOWN, self.mount_point().to_str().expect("UTF-8")]
                ),
                "the shutdown ioctl"
            );
            self.unmount();
        }
        assert!(self.mount(), "mounted again");
    }

    fn root(&self) -> PathBuf {
        self.mount_point().join("store")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.unmount();
    }
}

#[derive(Clone, Copy)]
struct Case {
    durability: &'static str,
    mutant: &'static str,
    /// Somebody else flushes something after the publish: that commits the filesystem's log.
    stranger_flushes: bool,
}

/// Two publishes, a crash, and what the child says of the current generation. `None` if this cannot run here.
fn crash(filesystem: Filesystem, case: Case, boot: &str) -> Option<String> {
    let mut disk = Disk::new(filesystem)?;
    let publish = |environment: &[(&str, &str)]| {
        let outcome = run(&mut command(&disk.root(), &["publish"], environment));
        assert!(outcome.succeeded, "{}", outcome.output);
    };
    publish(&[]);
    assert!(succeeds(
        "sync",
        &["-f", disk.mount_point().to_str().expect("UTF-8")]
    ));
    publish(&[("DURABILITY", case.durability), ("WARMSWAP_MUTANT", case.mutant)]);
    if case.stranger_flushes {
        let stranger = disk.mount_point().join("stranger");
        flush_a_new_file(&stranger);
    }
    disk.lose_power();
    Some(
        run(&mut command(
            &disk.root(),
            &["verify"],
            &[("WARMSWAP_BOOT_ID", boot)],
        ))
        .output,
    )
}

fn flush_a_new_file(path: &Path) {
    let mut file = std::fs::File::options()
        .write(true)
        .create_new(true)
        .open(path)
        .expect("a file");
    std::io::Write::write_all(&mut file, b"stranger").expect("write");
    file.sync_all().expect("fsync");
}

fn real_boot() -> String {
    warmswap::core::sys::identity::boot_id().expect("a boot id")
}

#[expect(clippy::print_stderr, reason = "a test that does not run says so")]
fn skipped(filesystem: &str) {
    eprintln!("NOT RUN: power loss on {filesystem} needs root, loop devices, mkfs and python3");
}

fn power_never_loses_an_acknowledged_publish(filesystem: Filesystem, name: &str) {
    for stranger_flushes in [false, true] {
        let case = Case {
            durability: "power",
            mutant: "",
            stranger_flushes,
        };
        match crash(filesystem, case, &real_boot()) {
            Some(seen) => assert!(
                seen.contains("current 2\nproblems 0\n"),
                "{name}, stranger {stranger_flushes}: {seen}"
            ),
            None => skipped(name),
        }
    }
}

fn process_never_returns_a_torn_generation(filesystem: Filesystem, name: &str) {
    for stranger_flushes in [false, true] {
        let case = Case {
            durability: "process",
            mutant: "",
            stranger_flushes,
        };
        match crash(filesystem, case, "the next boot") {
            Some(seen) => assert!(
                seen.contains("problems 0\n"),
                "{name}, stranger {stranger_flushes}: {seen}"
            ),
            None => skipped(name),
        }
    }
}

#[test]
fn i8_power_never_loses_an_acknowledged_publish() {
    power_never_loses_an_acknowledged_publish(Filesystem::Ext4, "ext4");
    power_never_loses_an_acknowledged_publish(Filesystem::Xfs, "xfs");
    power_never_loses_an_acknowledged_publish(Filesystem::Btrfs, "btrfs");
}

#[test]
fn i9_process_never_returns_a_torn_generation() {
    process_never_returns_a_torn_generation(Filesystem::Ext4, "ext4");
    process_never_returns_a_torn_generation(Filesystem::Xfs, "xfs");
    process_never_returns_a_torn_generation(Filesystem::Btrfs, "btrfs");
}

/// Without these the two tests above could pass on a machine that loses nothing.
#[test]
fn i8_the_crash_notices_a_missing_flush() {
    for mutant in ["no-fsync", "only-root-fsync"] {
        let case = Case {
            durability: "power",
            mutant,
            stranger_flushes: true,
        };
        match crash(Filesystem::Ext4, case, &real_boot()) {
            Some(seen) => assert!(!seen.contains("current 2\nproblems 0\n"), "{mutant}: {seen}"),
            None => skipped("ext4"),
        }
    }
}
