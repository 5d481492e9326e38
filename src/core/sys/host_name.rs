//! Resolution of host names. A resolver that does not respond occupies one thread for each name. Concurrent callers
//! with the same name share one lookup.

use std::collections::HashMap;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::sync::{LazyLock, MutexGuard};

use tokio::sync::oneshot;

use crate::core::error::{Code, Error, Result};
use crate::core::sys::sync::Mutex;
use crate::core::sys::{errno, thread, workers};

type Addresses = std::result::Result<Vec<SocketAddr>, String>;

/// Callers that wait for the addresses of a name.
static CALLERS: LazyLock<Mutex<HashMap<String, Vec<oneshot::Sender<Addresses>>>>> =
    LazyLock::new(Mutex::default);

/// Resolves the addresses of a host, with port 0.
///
/// # Errors
/// `ERR_IO` if the name is unknown, or if no thread is available.
pub async fn resolve(host: &str) -> Result<Vec<SocketAddr>> {
    let (caller, answer) = oneshot::channel();
    let is_first = {
        let mut callers = callers();
        let is_first = !callers.contains_key(host);
        let callers = callers.entry(host.to_owned()).or_default();
        callers.retain(|caller| !caller.is_closed());
        callers.push(caller);
        is_first
    };
    if is_first {
        let lookup = Lookup(host.to_owned());
        workers::detach_name(move || {
            let addresses = (lookup.0.as_str(), 0).to_socket_addrs();
            let addresses = addresses
                .map(Iterator::collect)
                .map_err(|error| error.to_string());
            lookup.answer(&addresses);
        });
    }
    match answer.await {
        Ok(Ok(addresses)) => Ok(addresses),
        Ok(Err(reason)) => Err(Error::new(Code::Io, format!("resolve '{host}': {reason}"))),
        Err(_) => Err(thread::refused(&errno::no_threads())),
    }
}

fn callers() -> MutexGuard<'static, HashMap<String, Vec<oneshot::Sender<Addresses>>>> {
    CALLERS.lock()
}

/// A running lookup. If no thread is available, it is dropped without a result.
struct Lookup(String);

impl Lookup {
    fn answer(&self, addresses: &Addresses) {
        for caller in callers().remove(&self.0).into_iter().flatten() {
            drop(caller.send(addresses.clone()));
        }
    }
}

impl Drop for Lookup {
    fn drop(&mut self) {
        drop(callers().remove(&self.0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callers_with_the_same_name_share_the_lookup() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let both = futures::future::join(resolve("localhost"), resolve("localhost")).await;
            assert!(
                both.0
                    .expect("known")
                    .iter()
                    .all(|address| address.ip().is_loopback())
            );
            assert!(!both.1.expect("known").is_empty());
            resolve("name.invalid").await.expect_err("an unknown name");
        });
        assert!(callers().is_empty());
    }
}
