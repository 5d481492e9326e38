//! Options of a bucket, as text from a URL or an object.

use reqwest::Url;

use crate::core::error::{Error, Result};

/// Defines the options of one service. Their `Debug` output contains only the fields that are listed after `shows`.
macro_rules! bucket_options {
    ($(#[$doc:meta])* $type:ident { $($(#[$field_doc:meta])* $field:ident = $name:literal),+ $(,)? } shows $($shown:ident),+) => {
        $(#[$doc])*
        #[derive(Clone, Default)]
        pub struct $type { $($(#[$field_doc])* pub $field: Option<String>,)+ }

        impl $type {
            /// Removes the known options from `options`.
            pub(in crate::core::caches::store) fn extract(
                options: &mut std::collections::BTreeMap<String, String>,
            ) -> crate::core::error::Result<Self> {
                let known = Self { $($field: options.remove($name).filter(|text| !text.is_empty()),)+ };
                known.check()
            }
        }

        impl std::fmt::Debug for $type {
            fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter
                    .debug_struct(stringify!($type))
                    $(.field(stringify!($shown), &self.$shown))+
                    .finish_non_exhaustive()
            }
        }
    };
}
pub(super) use bucket_options;

/// Checks the address of a server.
pub(super) fn check_endpoint(endpoint: Option<&String>) -> Result<()> {
    let is_valid = |endpoint: &String| {
        Url::parse(endpoint).is_ok_and(|url| {
            matches!(url.scheme(), "http" | "https") && url.has_host() && url.password().is_none()
        })
    };
    if endpoint.is_none_or(is_valid) {
        return Ok(());
    }
    Err(Error::argument(
        "store.endpoint",
        "not a valid address",
        "http://host or https://host without credentials, with the host in ASCII",
    ))
}

/// The address of a server in the first of these environment variables that is set.
pub(super) fn endpoint_from_environment(names: &[&str]) -> Result<Option<String>> {
    let endpoint = from_environment(names);
    // Hosts in other scripts would need 0.2 MB of tables. src/js/caches/location.ts converts those of options.
    if endpoint.as_ref().is_none_or(|endpoint| endpoint.is_ascii()) {
        return Ok(endpoint);
    }
    Err(Error::argument(
        &names.join(" or "),
        "the host contains characters outside ASCII",
        "the ASCII form of the host, which begins with 'xn--'",
    ))
}

/// Checks an option that is `true` or `false`.
pub(super) fn check_flag(name: &str, value: Option<&String>) -> Result<()> {
    match value.map(String::as_str) {
        None | Some("true" | "false") => Ok(()),
        Some(_) => Err(Error::argument(name, "another value", "true or false")),
    }
}

/// Value of the first of these environment variables that is set.
pub(super) fn from_environment(names: &[&str]) -> Option<String> {
    let value = |name: &&str| std::env::var(name).ok().filter(|value| !value.is_empty());
    names.iter().find_map(value)
}
