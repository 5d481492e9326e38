//! Which redirects are followed: only those to the same host, or to the region that the store names. A request carries
//! credentials (`Authorization`, the session token), so another host could use them and impersonate the store.
//!
//! * Same scheme, host and port, or https instead of http on the default ports or the same port: the request is sent
//!   again
//!   with the same method and body. (S3 never expects a GET after a redirected PUT.)
//! * Another region (`x-amz-bucket-region`, or the host of the bucket with another region in it): the redirect itself
//!   is
//!   never followed, because signatures contain region and host. The caller signs for that region. The host comes from its
//!   own configuration, not from the response.
//! * Any other redirect is refused, and the outcome names it.

use http::{Method, StatusCode, header};
use reqwest::{Response, Url};

/// Maximum number of redirects for one request.
pub(super) const MAX_REDIRECTS: usize = 3;
const REGION: &str = "x-amz-bucket-region";

/// What to do after a response.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Use the response.
    Answer,
    /// Send the same request to this address.
    Follow(Url),
    /// Repeat the operation, signed for this region.
    Region(String),
    /// Fail with this reason.
    Refuse(String),
}

/// Decides what to do. `region` is the region that the request was signed for. A request for credentials has none.
pub(super) fn next(url: &Url, region: Option<&str>, method: &Method, response: &Response) -> Next {
    let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
    decide(
        url,
        region,
        method,
        response.status(),
        header(REGION),
        header(header::LOCATION.as_str()),
    )
}

fn decide(
    url: &Url,
    region: Option<&str>,
    method: &Method,
    status: StatusCode,
    named: Option<&str>,
    location: Option<&str>,
) -> Next {
    let is_redirect = matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308);
    // A request that was signed for another region is rejected with 400 AuthorizationHeaderMalformed.
    if !is_redirect && status != StatusCode::BAD_REQUEST {
        return Next::Answer;
    }
    let is_other = |named: &&str| Some(*named) != region && is_region(named);
    if let Some(named) = named.filter(is_other).filter(|_| region.is_some()) {
        return Next::Region(named.to_owned());
    }
    let Some(location) = location.filter(|_| is_redirect) else {
        return Next::Answer;
    };
    let Ok(target) = url.join(location) else {
        return Next::Refuse("its address is invalid".to_owned());
    };
    if let Some(named) = region.and_then(|region| region_of(url, &target, region)) {
        return Next::Region(named);
    }
    if let Some(why) = refusal(url, &target) {
        return Next::Refuse(format!("'{}' {why}", target.origin().ascii_serialization()));
    }
    if status == StatusCode::SEE_OTHER && !matches!(*method, Method::GET | Method::HEAD) {
        return Next::Refuse(format!("status 303 would turn the {method} into a GET"));
    }
    Next::Follow(target)
}

/// Why credentials must not be sent to the target.
fn refusal(from: &Url, to: &Url) -> Option<&'static str> {
    if crate::core::sys::fault::is_seeded("follow-redirects") {
        return None;
    }
    if !matches!(to.scheme(), "http" | "https") || !to.username().is_empty() || to.password().is_some() {
        return Some("is not a plain http or https address");
    }
    if from.host_str() != to.host_str() {
        return Some("is another host (if the store has moved there, use it as the endpoint)");
    }
    if from.scheme() == "https" && to.scheme() == "http" {
        return Some("is not encrypted");
    }
    let ports = (from.port_or_known_default(), to.port_or_known_default());
    let is_upgrade = from.scheme() != to.scheme() && ports == (Some(80), Some(443));
    (ports.0 != ports.1 && !is_upgrade)
        .then_some("is another port (if the store has moved there, use it as the endpoint)")
}

/// Region in a host that equals the request's host except for its region.
fn region_of(from: &Url, to: &Url, region: &str) -> Option<String> {
    let from = from.host_str()?.split('.');
    let to: Vec<&str> = to.host_str()?.split('.').collect();
    let mut named = None;
    let mut labels = 0;
    for (index, label) in from.enumerate() {
        let other = *to.get(index)?;
        labels += 1;
        if label != other {
            if label != region || named.is_some() || !is_region(other) {
                return None;
            }
            named = Some(other.to_owned());
        }
    }
    named.filter(|_| labels == to.len())
}

/// Region in the host that a response names for the bucket. Only that region is used. The host of the next request
/// comes from the configuration.
pub(super) fn region_of_host(requested: &str, named: &str, region: &str) -> Option<String> {
    const AWS: [&str; 2] = [".amazonaws.com", ".amazonaws.com.cn"];
    if AWS
        .iter()
        .any(|domain| named.ends_with(domain) && requested.ends_with(domain))
    {
        // s3.eu-west-1, s3.dualstack.eu-west-1, and the older s3-eu-west-1. A host without a region proves nothing.
        let rest = named.rsplit_once("s3.").or_else(|| named.rsplit_once("s3-"))?.1;
        let label = rest.trim_start_matches("dualstack.").split('.').next()?;
        let is_name = label.contains('-') && label.bytes().any(|byte| byte.is_ascii_digit());
        return Some(label.to_owned()).filter(|label| is_name && is_region(label));
    }
    // The bucket can be the first label of one host and not of the other.
    let without_bucket = |host: &str| host.split_once('.').map(|(_, rest)| rest.to_owned());
    let url = |host: &str| Url::parse(&format!("https://{host}")).ok();
    let hosts = |host: &str| [Some(host.to_owned()), without_bucket(host)];
    hosts(requested).iter().flatten().find_map(|from| {
        let from = url(from)?;
        hosts(named)
            .iter()
            .flatten()
            .find_map(|to| region_of(&from, &url(to)?, region))
    })
}

/// Whether a text from a response names a region other than the one that the request was signed for.
pub(super) fn is_other_region(named: &str, signed_for: &str) -> bool {
    named != signed_for && is_region(named)
}

/// Whether a text can be the name of a region, and therefore one label of a host.
fn is_region(name: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&name.len())
        && name.bytes().all(is_letter)
        && !name.starts_with('-')
        && !name.ends_with('-')
}

/// Endpoint of the same domain in another region. Its host contains the region as a separate label, or is the same for
/// all regions.
pub(super) fn in_region(endpoint: &str, from: &str, to: &str) -> String {
    let rest = endpoint.split_once("://").map_or(endpoint, |(_, rest)| rest);
    let start = endpoint.len() - rest.len();
    let end = rest.find(['/', ':', '?']).map_or(endpoint.len(), |at| start + at);
    let labels: Vec<&str> = endpoint[start..end]
        .split('.')
        .map(|label| if label == from { to } else { label })
        .collect();
    format!("{}{}{}", &endpoint[..start], labels.join("."), &endpoint[end..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).expect("an address")
    }

    fn go(from: &str, status: u16, named: Option<&str>, location: Option<&str>) -> Next {
        let status = StatusCode::from_u16(status).expect("a status");
        decide(
            &url(from),
            Some("us-east-1"),
            &Method::GET,
            status,
            named,
            location,
        )
    }

    #[test]
    fn only_the_same_host_is_followed() {
        for status in [301, 302, 303, 307, 308] {
            for (from, to, is_followed) in [
                ("http://h/a", "/b", true),
                ("http://h/a", "http://h/b?c", true),
                ("http://h/a", "http://h:80/b", true),
                ("http://h/a", "https://h/b", true),
                ("http://h:9000/a", "https://h:9000/b", true),
                ("https://h/a", "https://H/b", true),
                ("https://h/a", "http://h/b", false),
                ("https://h:9000/a", "http://h:9000/b", false),
                ("http://h/a", "http://h:81/b", false),
                ("http://h/a", "https://h:80/b", true),
                ("http://h:9000/a", "https://h/b", false),
                ("http://h/a", "//other/b", false),
                ("http://h/a", "http://h.other/b", false),
                ("http://h/a", "http://other@h/b", false),
                ("http://127.0.0.1/a", "http://127.0.0.2/a", false),
                ("http://[::1]/a", "http://[::2]/a", false),
                ("http://h/a", "ftp://h/b", false),
                ("http://h/a", "file:///etc/passwd", false),
            ] {
                let next = go(from, status, None, Some(to));
                assert_eq!(
                    matches!(next, Next::Follow(_)),
                    is_followed,
                    "{status} {from} {to}: {next:?}"
                );
                assert!(
                    is_followed || matches!(next, Next::Refuse(_)),
                    "{status} {from} {to}: {next:?}"
                );
            }
        }
        assert_eq!(go("http://h/a", 301, None, None), Next::Answer);
        assert_eq!(
            go("http://h/a", 200, Some("eu-west-1"), Some("http://other/")),
            Next::Answer
        );
        assert!(matches!(
            go("http://h/a", 307, None, Some("http://[")),
            Next::Refuse(_)
        ));
    }

    #[test]
    fn a_write_never_becomes_a_read() {
        let status = StatusCode::SEE_OTHER;
        let put = decide(
            &url("http://h/a"),
            Some("r"),
            &Method::PUT,
            status,
            None,
            Some("/b"),
        );
        assert!(matches!(put, Next::Refuse(_)), "{put:?}");
    }

    #[test]
    fn a_region_is_followed_within_the_same_domain_only() {
        let own = "https://b.s3.us-east-1.amazonaws.com/k";
        let region = |name: &str| Next::Region(name.to_owned());
        assert_eq!(go(own, 301, Some("eu-west-1"), None), region("eu-west-1"));
        assert_eq!(go(own, 400, Some("eu-west-1"), None), region("eu-west-1"));
        let sibling = "https://b.s3.eu-west-1.amazonaws.com/k";
        assert_eq!(go(own, 307, None, Some(sibling)), region("eu-west-1"));
        for other in [
            "https://b.s3.eu-west-1.amazonaws.com.evil.test/k",
            "https://b.s3.eu-west-1.evil.test/k",
            "https://other.s3.eu-west-1.amazonaws.com/k",
            "https://b.s3.eu.west.amazonaws.com/k",
            "https://s3.eu-west-1.amazonaws.com/k",
        ] {
            assert!(
                matches!(go(own, 307, None, Some(other)), Next::Refuse(_)),
                "{other}"
            );
        }
        for name in ["us-east-1", "evil.test/", "-a", "", "A", "a:80", "a@b"] {
            assert_eq!(go(own, 301, Some(name), None), Next::Answer, "{name}");
        }
        let credentials = decide(
            &url("http://169.254.169.254/latest"),
            None,
            &Method::GET,
            StatusCode::MOVED_PERMANENTLY,
            Some("eu-west-1"),
            Some("http://other.test/"),
        );
        assert!(matches!(credentials, Next::Refuse(_)), "{credentials:?}");
    }

    #[test]
    fn a_region_is_derived_from_the_host_in_a_response() {
        for (requested, named, region) in [
            (
                "s3.us-east-1.amazonaws.com",
                "b.s3-eu-west-1.amazonaws.com",
                Some("eu-west-1"),
            ),
            (
                "b.s3.us-east-1.amazonaws.com",
                "b.s3.eu-west-1.amazonaws.com",
                Some("eu-west-1"),
            ),
            (
                "b.s3.us-east-1.amazonaws.com",
                "b.s3.dualstack.eu-west-1.amazonaws.com",
                Some("eu-west-1"),
            ),
            ("b.s3.us-east-1.amazonaws.com", "b.s3.amazonaws.com", None),
            (
                "b.s3.us-east-1.amazonaws.com",
                "b.s3.eu-west-1.amazonaws.com.evil.test",
                None,
            ),
            ("b.us-east-1.spaces.test", "ams3.spaces.test", Some("ams3")),
            (
                "us-east-1.spaces.test",
                "b.eu-west-1.spaces.test",
                Some("eu-west-1"),
            ),
            ("us-east-1.spaces.test", "eu-west-1.evil.test", None),
            ("127.0.0.1", "eu-west-1.evil.test", None),
        ] {
            let found = region_of_host(requested, named, "us-east-1");
            assert_eq!(found.as_deref(), region, "{requested} {named}");
        }
    }

    #[test]
    fn an_endpoint_changes_only_its_region_label() {
        for (endpoint, moved) in [
            (
                "https://s3.us-east-1.example.com",
                "https://s3.eu-west-1.example.com",
            ),
            (
                "s3.us-east-1.example.com:81/us-east-1",
                "s3.eu-west-1.example.com:81/us-east-1",
            ),
            ("http://127.0.0.1:9000", "http://127.0.0.1:9000"),
            (
                "https://us-east-1-s3.example.com",
                "https://us-east-1-s3.example.com",
            ),
        ] {
            assert_eq!(in_region(endpoint, "us-east-1", "eu-west-1"), moved);
        }
    }
}
