//! Late results of a killed holder's children.

use std::time::Duration;

use crate::arena::{Arena, MODES, Process, SOON, assert_kills, ensure};

const ROUNDS: u64 = 20;

/// locks/late-orphans-cannot-publish: the holder starts a child and is killed. The child publishes after a successor
/// has acquired the lock. It also shows a limit (locks/orphans-run-on): children of a killed holder continue.
fn late_child_is_fenced(environment: &[(&str, &str)]) -> Result<(), String> {
    for mode in MODES {
        let arena = Arena::new();
        for round in 0..ROUNDS {
            publish_late(&arena, mode, round, environment)
                .map_err(|why| format!("{mode}, round {round}: {why}"))?;
        }
    }
    Ok(())
}

fn publish_late(arena: &Arena, mode: &str, round: u64, environment: &[(&str, &str)]) -> Result<(), String> {
    let file = |name: &str| arena.path().join(name);
    let [late, go, current, artifact] = ["late", "go", "current", "artifact"].map(file);
    drop(std::fs::remove_file(&go));
    std::fs::write(&late, "late").expect("the late result");
    std::fs::write(&current, "current").expect("the current result");
    let names = [&late, &artifact, &go].map(|path| path.to_string_lossy().into_owned());
    let arguments = ["parent", &arena.lock(), mode, &names[0], &names[1], &names[2]];
    let mut holder = Process::start(&arguments, environment);
    holder.line().expect("held");
    holder.line().expect("its child waits");
    holder.kill();
    holder.reap();

    let successor = arena.acquire(mode, SOON).expect("the lock");
    let publish = || {
        let published = successor.handle.publish_file(&current, &artifact);
        published.expect("published");
    };
    let let_child_go = || std::fs::write(&go, "").expect("the signal");
    if round.is_multiple_of(2) {
        publish();
        let_child_go();
    } else {
        let_child_go();
        std::thread::sleep(Duration::from_micros(round * 150));
        publish();
    }
    // The child writes to the pipe of its parent.
    let answer = holder.line().expect("the child's result");
    successor.handle.release(None);
    let published = std::fs::read_to_string(&artifact).expect("the artifact");
    ensure(
        answer == "ERR_FENCED" && published == "current",
        &format!("the child got {answer}, the artifact is {published}"),
    )
}

#[test]
fn detects_publishing_without_a_fence() {
    assert_kills(late_child_is_fenced, "lock-publish-unfenced");
}
