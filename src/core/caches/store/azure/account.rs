//! Address and credentials of a storage account, from the options and the environment.

use super::options::AzureOptions;
use crate::core::caches::store::options::{check_endpoint, from_environment};
use crate::core::error::{Error, Result};

/// Address and static credentials of a storage account.
#[derive(Default)]
pub(super) struct Account {
    pub(super) name: Option<String>,
    pub(super) endpoint: String,
    pub(super) key: Option<String>,
    pub(super) sas_token: Option<String>,
}

impl Account {
    /// Finds the account. Options come before the environment, and a connection string before single variables.
    pub(super) fn find(options: &AzureOptions) -> Result<Self> {
        let mut account = match &options.connection_string {
            Some(text) => Self::parse("store.connectionString", text)?,
            None => Self::named(options)?,
        };
        if let Some(endpoint) = &options.endpoint {
            account.endpoint.clone_from(endpoint);
        }
        if account.endpoint.is_empty() {
            let name = account.name.as_ref().ok_or_else(|| {
                Error::argument(
                    "store.account",
                    "missing",
                    "the name of the storage account, here, in AZURE_STORAGE_ACCOUNT or in a connection string",
                )
            })?;
            account.endpoint = format!("https://{name}.blob.core.windows.net");
        }
        check_endpoint(Some(&account.endpoint))?;
        Ok(account)
    }

    fn named(options: &AzureOptions) -> Result<Self> {
        const CONNECTION: &str = "AZURE_STORAGE_CONNECTION_STRING";
        if options.account.is_none()
            && let Some(text) = from_environment(&[CONNECTION])
        {
            let account = Self::parse(CONNECTION, &text)?;
            return Ok(Self {
                key: options.account_key.clone().or(account.key),
                sas_token: options.sas_token.clone().or(account.sas_token),
                ..account
            });
        }
        let name = from_environment(&["AZURE_STORAGE_ACCOUNT", "AZURE_STORAGE_ACCOUNT_NAME"]);
        // The key of the environment belongs to the account of the environment.
        let is_same = options.account.is_none() || options.account == name;
        let key =
            || from_environment(&["AZURE_STORAGE_KEY", "AZURE_STORAGE_ACCOUNT_KEY"]).filter(|_| is_same);
        let has_token = options.sas_token.is_some();
        Ok(Self {
            name: options.account.clone().or(name),
            endpoint: String::new(),
            key: options
                .account_key
                .clone()
                .or_else(|| key().filter(|_| !has_token)),
            sas_token: options.sas_token.clone(),
        })
    }

    /// Parses a connection string. Errors contain nothing of it, because it is a secret.
    fn parse(option: &str, text: &str) -> Result<Self> {
        let (mut account, mut scheme, mut suffix) = (Self::default(), "https", None);
        for field in text.split(';').map(str::trim).filter(|field| !field.is_empty()) {
            let (name, value) = field.split_once('=').ok_or_else(|| {
                Error::argument(
                    option,
                    "not a connection string",
                    "fields such as AccountName=…;AccountKey=…",
                )
            })?;
            match name {
                "AccountName" => account.name = Some(value.to_owned()),
                "AccountKey" => account.key = Some(value.to_owned()),
                "SharedAccessSignature" => account.sas_token = Some(value.to_owned()),
                "BlobEndpoint" => value.clone_into(&mut account.endpoint),
                "DefaultEndpointsProtocol" => scheme = value,
                "EndpointSuffix" => suffix = Some(value),
                "UseDevelopmentStorage" => {
                    return Err(Error::argument(
                        option,
                        "UseDevelopmentStorage",
                        "the name, the key and the BlobEndpoint of the emulator's account",
                    ));
                }
                _ => {}
            }
        }
        if account.endpoint.is_empty()
            && let Some(name) = &account.name
        {
            let suffix = suffix.unwrap_or("core.windows.net");
            account.endpoint = format!("{scheme}://{name}.blob.{suffix}");
        }
        Ok(account)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_string_names_address_and_credentials() {
        let parse = |text| Account::parse("store.connectionString", text);
        let whole = parse(
            "DefaultEndpointsProtocol=https;AccountName=a;AccountKey=a2V5PT0=;EndpointSuffix=core.chinacloudapi.cn;",
        );
        let whole = whole.expect("a connection string");
        assert_eq!(whole.endpoint, "https://a.blob.core.chinacloudapi.cn");
        assert_eq!(
            (whole.name.as_deref(), whole.key.as_deref()),
            (Some("a"), Some("a2V5PT0="))
        );
        let shared = parse("BlobEndpoint=http://127.0.0.1:1/a;SharedAccessSignature=sv=1&sig=2");
        let shared = shared.expect("a connection string");
        assert_eq!(shared.endpoint, "http://127.0.0.1:1/a");
        assert_eq!(shared.sas_token.as_deref(), Some("sv=1&sig=2"));
        for text in ["AccountKey", "UseDevelopmentStorage=true;AccountKey=secret"] {
            let error = parse(text).map(|_| ()).expect_err("refused");
            assert!(!error.message.contains("secret"), "{}", error.message);
        }
    }
}
