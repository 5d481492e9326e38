//! One directory, several users: what the first of them makes must serve the others, whatever its umask (T24).

use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use crate::arena::{Arena, MODES, NOBODY, Process, can_run_as_others, program};
use crate::mutants::SOON;

/// A child with the umask of the careful.
fn start_as(user: u32, arguments: &[&str]) -> Process {
    let mut command = Command::new("sh");
    command.args(["-c", "umask 077; exec \"$0\" \"$@\"", program()]);
    Process::spawn(command.args(arguments).uid(user).gid(user))
}

#[test]
fn i6_users_take_turns_whatever_their_umask() {
    if !can_run_as_others() {
        return;
    }
    for mode in MODES {
        let arena = Arena::new();
        std::fs::create_dir(arena.locks()).expect("the directory of the locks");
        for directory in [arena.path(), &arena.locks()] {
            std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o777)).expect("open to all");
        }
        for (round, user) in [0, NOBODY, 0, NOBODY, NOBODY, 0].into_iter().enumerate() {
            let when = format!("{mode}, round {round}, user {user}");
            let mut once = start_as(user, &["once", &arena.lock(), mode]);
            assert!(
                once.line_within(SOON).is_some(),
                "{when}: not taken from one who gave it back"
            );
            assert_eq!(once.line().as_deref(), Some("released"), "{when}");
            let mut killed = start_as(user, &["hold", &arena.lock(), mode, "600"]);
            assert!(killed.line_within(SOON).is_some(), "{when}: not taken twice");
            killed.kill();
            killed.reap();
        }
        let names = std::fs::read_dir(arena.locks()).expect("the locks");
        let names: Vec<_> = names.map(|entry| entry.expect("an entry").file_name()).collect();
        assert!(names.len() <= 6, "{mode}: turns leave litter: {names:?}");
    }
}
