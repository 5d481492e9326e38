//! Threads for work that waits: for parts from a store, for a quiet tree, for another writer's lock.
//!
//! The runtime's blocking threads are few and are for calls that only wait for the disk. Sixteen restores that each
//! held one of them while they waited for parts, which the same sixteen were to read, all ended in their deadlines,
//! and nothing else of the process ran meanwhile.

use std::io;

use tokio::sync::oneshot;

use super::store::{Answer, Failure, Kind};

/// Starts `work` on a thread of its own. The receiver ends without a value if the work panicked.
pub(super) fn start<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<oneshot::Receiver<T>> {
    let (sender, done) = oneshot::channel();
    std::thread::Builder::new()
        .name(format!("warmswap-{name}"))
        // Whoever asked may have gone: a call settles at its deadline, whatever its work is doing.
        .spawn(move || drop(sender.send(work())))?;
    Ok(done)
}

/// Runs `work` on a thread of its own, and nobody waits for it: what a call does when it is done already. Where there
/// is no thread to be had it is dropped, and what it owns goes at once.
pub(super) fn detach(name: &str, work: impl FnOnce() + Send + 'static) {
    drop(start(name, work));
}

/// Runs `work` on a thread of its own and waits for it.
pub(super) async fn run<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Answer<T> {
    let done = start(name, work)
        .map_err(|error| Failure::new(Kind::Local, format!("no thread for '{name}': {error}")))?;
    done.await.map_err(|_| {
        Failure::new(
            Kind::Local,
            format!("warmswap has a bug: the thread for '{name}' panicked"),
        )
    })
}
