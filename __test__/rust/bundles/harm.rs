//! What is done to a store, or to a folder that is adopted, from outside: each check also against the seeded bug that
//! it must catch.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::Child;

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};

use crate::fixture::{Fixture, User, command, names, run};

type Check = fn(&str) -> Result<(), String>;

fn kills(check: Check, mutant: &str) {
    check("").expect("the real thing");
    assert!(check(mutant).is_err(), "the mutant {mutant} was not noticed");
}

fn expect(expected: &str, seen: &str) -> Result<(), String> {
    if seen == expected {
        return Ok(());
    }
    Err(format!("expected {expected:?}, got {seen:?}"))
}

/// As an editor does that may change what it likes.
#[expect(clippy::disallowed_methods, reason = "as a user does")]
fn overwrite(path: &Path, text: &str) {
    let mode = std::fs::metadata(path).expect("a file").permissions();
    std::fs::remove_file(path).expect("removed");
    std::fs::write(path, text).expect("written");
    std::fs::set_permissions(path, mode).expect("chmod");
}

#[expect(clippy::disallowed_methods, reason = "as a user does")]
fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

#[expect(clippy::disallowed_methods, reason = "as a user does")]
fn write(path: &Path, text: &str) {
    std::fs::write(path, text).expect("written");
}

/// A file of the current generation gets other bytes of the same length, in the boot of the publish.
fn altered_bytes_are_not_served(mutant: &str) -> Result<(), String> {
    let fixture = Fixture::with_two_generations();
    let path = fixture.root().join("gens/000002/tree/assets/c.txt");
    overwrite(&path, &"x".repeat(read(&path).len()));
    let seen = fixture.child(&["verify"], &[("WARMSWAP_MUTANT", mutant)]).output;
    expect("current 1\nproblems 0\ndone\n", &seen)
}

#[test]
fn altered_bytes_are_not_served_by_the_next_open() {
    kills(altered_bytes_are_not_served, "trust-changed-tree");
}

/// A file is added and a mode is changed, and then the machine boots again.
fn what_was_added_deletes_no_build(mutant: &str) -> Result<(), String> {
    let fixture = Fixture::with_two_generations();
    let tree = fixture.root().join("gens/000002/tree");
    write(&tree.join(".nojekyll"), "");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(tree.join("b.txt"), mode).expect("chmod");
    for boot in ["the next boot", "the one after it"] {
        let environment = [("WARMSWAP_BOOT_ID", boot), ("WARMSWAP_MUTANT", mutant)];
        let seen = fixture.child(&["verify"], &environment).output;
        expect("current 2\nproblems 2\ndone\n", &seen)?;
    }
    expect("done\n", &fixture.child(&["pin"], &[]).output)
}

#[test]
fn an_added_file_or_a_changed_mode_deletes_no_build() {
    kills(what_was_added_deletes_no_build, "extra-is-damage");
}

/// Waits until the kernel stamps changes later than the publish: within one tick of its clock, at the next boot, a change
/// looks like what power loss leaves.
#[expect(clippy::disallowed_methods, reason = "as a user does")]
fn wait_for_the_next_tick(fixture: &Fixture) {
    use std::os::unix::fs::MetadataExt as _;
    let changed = |path: &Path| {
        let stat = std::fs::metadata(path).expect("a file");
        (stat.ctime(), stat.ctime_nsec())
    };
    let published = changed(&fixture.root().join("pins/000001"));
    let probe = fixture.path("probe");
    loop {
        std::fs::write(&probe, "x").expect("written");
        if changed(&probe) > published {
            return;
        }
    }
}

/// With nothing else to serve, a changed generation stays for its user, and no reader gets it.
#[test]
fn a_changed_generation_without_another_one_stays_and_is_refused() {
    for boot in ["", "the next boot"] {
        let fixture = Fixture::in_memory();
        assert!(fixture.child(&["publish"], &[]).succeeded);
        let path = fixture.root().join("gens/000001/tree/a.txt");
        let before = read(&path);
        wait_for_the_next_tick(&fixture);
        overwrite(&path, "my own change");
        let environment = [("WARMSWAP_BOOT_ID", boot)];
        let environment = if boot.is_empty() { &[][..] } else { &environment };
        for _ in 0..2 {
            let seen = fixture.child(&["verify"], environment).output;
            assert_eq!(seen, "current 1\nproblems 1\ndone\n", "{boot}");
        }
        assert_eq!(read(&path), "my own change");
        let refused = fixture.child(&["pin"], environment).output;
        assert!(refused.starts_with("error ERR_GENERATION_CORRUPT"), "{refused}");
        overwrite(&path, &before);
        assert_eq!(
            fixture.child(&["pin"], environment).output,
            "done\n",
            "{boot}: it was undone"
        );
        overwrite(&path, "again");
        assert!(fixture.child(&["publish-and-collect"], environment).succeeded);
        assert_eq!(fixture.assert_current_is_complete("replaced"), 2);
        assert_eq!(fixture.child(&["pin"], environment).output, "done\n");
    }
}

/// A store is moved away while a process has it open, and another one takes its place.
fn a_replaced_store_is_not_pinned(mutant: &str) -> Result<(), String> {
    let fixture = Fixture::with_two_generations();
    let mut child = fixture.spawn(&["pin-when-told"], &[("WARMSWAP_MUTANT", mutant)]);
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    assert_eq!(lines.next().expect("a line").expect("text"), "ready");
    #[expect(clippy::disallowed_methods, reason = "as mv does")]
    std::fs::rename(fixture.root(), fixture.path("moved")).expect("moved");
    for _ in 0..2 {
        assert!(fixture.child(&["publish"], &[]).succeeded);
    }
    drop(child.stdin.take());
    let seen: Vec<String> = lines.map_while(Result::ok).collect();
    child.wait().expect("ended");
    match seen.as_slice() {
        [error] if error.starts_with("error ERR_CLOSED") && error.contains("openBundles()") => Ok(()),
        _ => Err(seen.join("\n")),
    }
}

#[test]
fn a_replaced_store_is_not_pinned_by_those_who_had_the_old_one_open() {
    kills(a_replaced_store_is_not_pinned, "trust-replaced-root");
}

/// A stranger's store in a directory that everybody may write to is read, and nothing is written there.
fn a_strangers_store_is_only_read(mutant: &str) -> Result<(), String> {
    let Some(fixture) = Fixture::of_user(Path::new("/dev/shm"), User::Nobody) else {
        return if mutant.is_empty() {
            Ok(())
        } else {
            Err("not run".to_owned())
        };
    };
    let folder = fixture.root().parent().expect("a folder");
    std::os::unix::fs::chown(folder, Some(0), Some(0)).expect("chown");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o1777);
    std::fs::set_permissions(folder, mode).expect("chmod");
    assert!(
        fixture.child(&["publish"], &[]).succeeded,
        "the stranger's own publish"
    );
    let root = |arguments: &[&str]| {
        run(&mut command(
            fixture.root(),
            arguments,
            &[("WARMSWAP_MUTANT", mutant)],
        ))
        .output
    };
    expect("done\n", &root(&["pin"]))?;
    for arguments in [&["publish"][..], &["collect"], &["rollback", "1"]] {
        let seen = root(arguments);
        if !(seen.starts_with("error ERR_UNTRUSTED") && seen.contains("uid 65534")) {
            return Err(seen);
        }
    }
    Ok(())
}

#[test]
fn a_strangers_store_is_read_and_not_written() {
    kills(a_strangers_store_is_only_read, "trust-any-owner");
}

/// `graceMs` is a minute, and the wall clock steps by an hour, forward or back.
fn grace_survives_steps(mutant: &str) -> Result<(), String> {
    for (at_publish, at_collect) in [("0", "3600"), ("3600", "0")] {
        let fixture = Fixture::with_two_generations();
        let clock = fixture.path("clock");
        let step = |seconds: &str, command: &str| {
            write(&clock, seconds);
            let environment = [
                ("WARMSWAP_CLOCK", clock.to_str().expect("UTF-8")),
                ("WARMSWAP_MUTANT", mutant),
            ];
            assert!(fixture.child(&[command], &environment).succeeded, "{command}");
        };
        let config = fixture.root().join("config.json");
        write(&config, r#"{"keep":0,"graceMs":60000}"#);
        step(at_publish, "publish-and-collect");
        step(at_collect, "collect");
        if !names(&fixture.root().join("gens")).contains("000002") {
            return Err(format!("collected in its grace: {at_publish}, {at_collect}"));
        }
        write(&config, r#"{"keep":0,"graceMs":1}"#);
        std::thread::sleep(std::time::Duration::from_millis(5));
        step(at_collect, "collect");
        if names(&fixture.root().join("gens")).contains("000002") {
            return Err(format!(
                "not collected after its grace: {at_publish}, {at_collect}"
            ));
        }
    }
    Ok(())
}

#[test]
fn the_grace_of_a_generation_survives_steps_of_the_wall_clock() {
    kills(grace_survives_steps, "grace-by-wall-clock");
}

/// A tool rewrites a folder while it is adopted: the adopter is stopped after its first look.
fn a_torn_folder_is_not_adopted(mutant: &str) -> Result<(), String> {
    // In a copy the first file is made, in a move the first entry is renamed.
    for (how, fault) in [
        ("copy", "1:STOP:copy_file_range"),
        ("clone", "1:STOP:copy_file_range"),
        ("move", "1:STOP:renameat2"),
    ] {
        let fixture = Fixture::with_two_generations();
        let source = fixture.path("source");
        fixture.make_folder(&source);
        let environment = [("WARMSWAP_FAULT", fault), ("WARMSWAP_MUTANT", mutant)];
        let arguments = ["adopt", how, source.to_str().expect("UTF-8")];
        let child = stopped(&fixture, &arguments, &environment);
        for name in ["a.txt", "assets/b.txt"] {
            write(&source.join(name), "of the next build");
        }
        let seen = go_on(child);
        if !seen.starts_with("error ERR_UNSTABLE") {
            return Err(format!("{how}: {seen}"));
        }
        for name in ["a.txt", "assets/b.txt", "z.txt"] {
            assert!(!read(&source.join(name)).is_empty(), "{how}: '{name}' is lost");
        }
        assert_eq!(fixture.assert_current_is_complete(how), 2);
        fixture.assert_no_leftovers(how);
    }
    Ok(())
}

fn stopped(fixture: &Fixture, arguments: &[&str], environment: &[(&str, &str)]) -> Child {
    let child = fixture.spawn(arguments, environment);
    let (_, status) = waitpid(Some(pid(&child)), WaitOptions::UNTRACED)
        .expect("waitpid")
        .expect("a status");
    assert!(status.stopped(), "stopped at its fault point");
    child
}

fn pid(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).expect("a pid")).expect("not 0")
}

fn go_on(mut child: Child) -> String {
    kill_process(pid(&child), Signal::CONT).expect("SIGCONT");
    let mut output = String::new();
    std::io::Read::read_to_string(child.stdout.as_mut().expect("piped"), &mut output).expect("output");
    child.wait().expect("ended");
    output
}

#[test]
fn a_folder_that_a_tool_rewrites_is_not_adopted() {
    kills(a_torn_folder_is_not_adopted, "adopt-torn");
}

#[test]
fn a_folder_that_rests_is_adopted_in_each_way() {
    for how in ["copy", "clone", "move"] {
        let fixture = Fixture::with_two_generations();
        let source = fixture.path("source");
        fixture.make_folder(&source);
        let outcome = fixture.child(&["adopt", how, source.to_str().expect("UTF-8")], &[]);
        assert!(outcome.succeeded, "{how}: {}", outcome.output);
        assert_eq!(fixture.assert_current_is_complete(how), 3);
        let tree = fixture.root().join("gens/000003/tree");
        assert_eq!(read(&tree.join("assets/b.txt")), "of a stranger", "{how}");
        assert_eq!(names(&source).is_empty(), how == "move", "{how}");
    }
}

#[test]
fn numbers_that_no_store_gives_out_are_refused_and_stop_nothing() {
    let huge = ["4503599627370497", "9007199254740993", "18446744073709551615"];
    let fixture = Fixture::with_two_generations();
    let root = fixture.root();
    for number in huge {
        #[expect(clippy::disallowed_methods, reason = "as a stranger does")]
        std::fs::create_dir_all(root.join("gens").join(number).join("tree")).expect("mkdir");
        write(&root.join("pins").join(number), "{}");
        write(&root.join("fence"), number);
        let mirror = format!(
            r#"{{"number":2,"digest":"","at":0,"history":[{{"number":{number},"until":{number}}}],"highest":{number},"fence":{number}}}"#
        );
        write(&root.join("current.json"), &mirror);
        let outcome = fixture.child(&["publish-and-collect"], &[]);
        assert!(outcome.succeeded, "{number}: {}", outcome.output);
    }
    assert_eq!(fixture.assert_current_is_complete("after huge numbers"), 5);
    let text = read(&root.join("current.json"));
    assert!(text.contains(r#""highest":5"#), "{text}");
    for number in huge {
        let link = root.join("current");
        #[expect(clippy::disallowed_methods, reason = "as a stranger does")]
        std::fs::remove_file(&link).expect("the pointer");
        std::os::unix::fs::symlink(format!("gens/{number}/tree"), &link).expect("symlink");
        for arguments in [&["pin"][..], &["publish"], &["open"]] {
            let seen = fixture.child(arguments, &[]).output;
            assert!(seen.starts_with("error ERR_FORMAT"), "{number}: {seen}");
        }
    }
}
