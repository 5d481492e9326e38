//! The HTTP clients of the process.

use std::net::IpAddr;
use std::sync::LazyLock;
use std::time::Duration;

use futures::FutureExt as _;
use reqwest::Url;

use crate::core::sys::host_name;

/// Time after which an idle connection is not reused. Node's servers close one after 5 s: a request that is sent at
/// that moment fails, and so does its repetition on the next stale connection. Load balancers silently drop connections
/// after 60 s or more (nx#35739).
const POOL_IDLE: Duration = Duration::from_secs(4);

static CLIENT: LazyLock<reqwest::Client> = LazyLock::new(|| client(false));
/// Client for the credential endpoints of this machine.
static DIRECT_CLIENT: LazyLock<reqwest::Client> = LazyLock::new(|| client(true));

fn client(direct: bool) -> reqwest::Client {
    // Fails if the program has installed its own provider, which is then used.
    drop(rustls::crypto::ring::default_provider().install_default());
    let builder = reqwest::Client::builder()
        .pool_idle_timeout(POOL_IDLE)
        .http1_only()
        .redirect(reqwest::redirect::Policy::none())
        .tcp_nodelay(true)
        .dns_resolver(Names);
    let builder = if direct { builder.no_proxy() } else { builder };
    builder.build().expect("a client with fixed options")
}

/// Resolves host names on separate threads. tokio has few threads for blocking calls, and a resolver that does not
/// respond would occupy all of them.
struct Names;

impl reqwest::dns::Resolve for Names {
    fn resolve(&self, name: reqwest::dns::Name) -> reqwest::dns::Resolving {
        async move {
            let addresses = host_name::resolve(name.as_str()).await?;
            Ok(Box::new(addresses.into_iter()) as reqwest::dns::Addrs)
        }
        .boxed()
    }
}

/// Client for a request to the store, or to a source of credentials.
pub(super) fn client_for(url: &Url, to_store: bool) -> &'static reqwest::Client {
    if !to_store && is_of_this_machine(url) {
        &DIRECT_CLIENT
    } else {
        &CLIENT
    }
}

/// Whether a host is a metadata service or pod agent (169.254.169.254, 169.254.170.23, `[fd00:ec2::23]`). These are
/// never behind a proxy. STS and SSO also provide credentials, but are on the internet like the store.
fn is_of_this_machine(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    match host.trim_matches(['[', ']']).parse() {
        Ok(IpAddr::V4(address)) => address.is_loopback() || address.is_link_local(),
        Ok(IpAddr::V6(address)) => {
            address.is_loopback() || address.is_unique_local() || address.is_unicast_link_local()
        }
        Err(_) => matches!(host, "localhost" | "metadata.google.internal"),
    }
}
