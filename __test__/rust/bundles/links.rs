//! Links such as `dist`: operations of tools through a link do not change a generation, and directories that a link
//! replaces are kept.

// guarantee: bundles/link-harms-no-generation, bundles/replaced-directory-is-kept

use std::path::{Path, PathBuf};

use crate::fixture::{Fixture, names};
use crate::support::{kills, read, write};

fn linked() -> Fixture {
    Fixture::in_memory().linked()
}

fn publish(fixture: &Fixture, environment: &[(&str, &str)]) {
    let outcome = fixture.child(&["publish"], environment);
    assert!(outcome.succeeded, "{}", outcome.output);
}

#[expect(clippy::disallowed_methods, reason = "as other programs do")]
mod outside {
    use super::{Path, PathBuf};

    pub(super) fn remove(path: &Path) {
        std::fs::remove_file(path).expect("remove");
    }

    /// Opens a pipe for writing after its reader has opened it. Returns `None` if the reader ends before.
    pub(super) fn meet(pipe: &Path, reader: &mut std::process::Child) -> Option<std::fs::File> {
        use std::os::unix::fs::OpenOptionsExt as _;
        let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
        loop {
            let opened = std::fs::OpenOptions::new()
                .write(true)
                .custom_flags(flags)
                .open(pipe);
            if let Ok(pipe) = opened {
                return Some(pipe);
            }
            if reader.try_wait().expect("a child").is_some() {
                return None;
            }
        }
    }

    pub(super) fn link_to(path: &Path) -> PathBuf {
        std::fs::read_link(path).expect("a link")
    }

    pub(super) fn link(target: &str, path: &Path) {
        std::os::unix::fs::symlink(target, path).expect("symlink");
    }
}

/// A tool deletes a file through the link, rewrites another one in place, and adds a third one.
fn tools_do_not_change_a_generation(seeded_bug: &str) -> Result<(), String> {
    let fixture = linked();
    publish(&fixture, &[("WARMSWAP_MUTANT", seeded_bug)]);
    outside::remove(&fixture.path("dist/a.txt"));
    write(&fixture.path("dist/b.txt"), "in place");
    write(&fixture.path("dist/c.txt"), "more");
    let seen = fixture.child(&["verify"], &[]).output;
    if seen == "current 1\nproblems 0\ndone\n" {
        Ok(())
    } else {
        Err(seen)
    }
}

#[test]
fn no_tool_changes_a_generation_through_the_link() {
    kills(tools_do_not_change_a_generation, "link-to-generation");
}

/// Another process creates a file at the path of the link between the check and the rename.
#[test]
fn a_file_that_appears_at_the_path_of_the_link_is_not_overwritten() {
    let fixture = linked();
    let (pipe, link) = (fixture.path("pipe"), fixture.path("dist"));
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).expect("mkfifo");
    let environment = [
        ("WARMSWAP_FAULT", "1:HOLD:renameat2:/dist"),
        ("WARMSWAP_FAULT_FIFO", pipe.to_str().expect("text")),
    ];
    let mut child = fixture.spawn(&["publish"], &environment);
    let held =
        outside::meet(&pipe, &mut child).expect("the publish renames its link without replacing anything");
    write(&link, "mine");
    drop(held);
    assert!(child.wait().expect("a child").success());
    assert_eq!(read(&link), "mine");
}

fn a_replaced_directory_is_kept(seeded_bug: &str) -> Result<(), String> {
    let fixture = linked();
    fixture.make_directory_in_place_of_link();
    let opened = fixture.child(&["open"], &[("ADOPT", "1"), ("WARMSWAP_MUTANT", seeded_bug)]);
    assert!(opened.succeeded, "{}", opened.output);
    for _ in 0..4 {
        assert!(fixture.child(&["publish-and-collect"], &[]).succeeded);
    }
    if !names(fixture.root()).contains("set-aside") {
        return Err("no directory was set aside".to_owned());
    }
    fixture.assert_set_aside_once("after four publishes");
    Ok(())
}

#[test]
fn a_directory_that_a_link_replaced_is_never_removed() {
    kills(a_replaced_directory_is_kept, "trash-adopted");
}

#[test]
fn a_directory_with_files_is_refused_without_adopt_and_nothing_changes() {
    let fixture = linked();
    fixture.make_directory_in_place_of_link();
    let opened = fixture.child(&["open"], &[]);
    assert!(!opened.succeeded && opened.output.contains("ERR_INVALID_ARGUMENT"));
    assert!(opened.output.contains("adopt: true"), "{}", opened.output);
    assert_eq!(read(&fixture.path("dist/a.txt")), "of a stranger");
    assert!(!fixture.root().exists(), "no store was made");
}

#[test]
fn a_view_is_kept_until_the_publish_after_the_next() {
    let fixture = linked();
    let keep = [("KEEP", "0")];
    assert!(fixture.child(&["publish-and-collect"], &keep).succeeded);
    let first = fixture
        .root()
        .join(outside::link_to(&fixture.root().join("view")));
    assert!(fixture.child(&["publish-and-collect"], &keep).succeeded);
    assert!(
        first.join("a.txt").exists(),
        "a process may have resolved it right before"
    );
    assert!(fixture.child(&["publish-and-collect"], &keep).succeeded);
    assert!(!first.exists());
    assert_eq!(names(&fixture.root().join("views")).len(), 2);
}

#[test]
fn a_link_of_an_earlier_version_becomes_a_link_to_the_view() {
    let fixture = linked();
    publish(&fixture, &[]);
    outside::remove(&fixture.path("dist"));
    outside::link("store/current", &fixture.path("dist"));
    assert!(fixture.child(&["open"], &[]).succeeded);
    assert_eq!(outside::link_to(&fixture.path("dist")), Path::new("store/view"));
}

#[test]
fn an_open_repairs_the_view_that_a_writer_without_views_left_behind() {
    let fixture = linked();
    publish(&fixture, &[]);
    let view = fixture.root().join("view");
    let first = outside::link_to(&view);
    publish(&fixture, &[]);
    outside::remove(&view);
    outside::link(first.to_str().expect("UTF-8"), &view);
    fixture.assert_current_is_complete("the open");
    fixture.assert_view_shows(2, "the open");
}

#[test]
fn power_loss_leaves_no_torn_view_and_keeps_added_files() {
    let fixture = linked();
    publish(&fixture, &[]);
    write(&fixture.path("dist/.nojekyll"), "");
    let reboot = |boot| assert!(fixture.child(&["open"], &[("WARMSWAP_BOOT_ID", boot)]).succeeded);
    reboot("the second boot");
    assert!(fixture.path("dist/.nojekyll").exists(), "the copy is complete");
    write(&fixture.path("dist/a.txt"), "");
    reboot("the third boot");
    fixture.assert_view_shows(1, "the third boot");
}
