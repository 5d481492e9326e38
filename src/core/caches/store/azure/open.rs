//! Opens a container of Azure Blob Storage.

use opendal::{ErrorKind, Operator};

use super::account::Account;
use super::options::AzureOptions;
use crate::core::caches::store::bucket::{Bucket, Place};
use crate::core::caches::store::kind::Kind;
use crate::core::error::{Error, Result};

/// Opens a container. Makes no I/O.
pub(in crate::core::caches::store) fn open(options: &AzureOptions) -> Result<Bucket> {
    let account = Account::find(options)?;
    let text = |option: &Option<String>| option.clone().unwrap_or_default();
    let mut builder = opendal::services::Azblob::default()
        .container(&text(&options.container))
        .root(&text(&options.prefix))
        .endpoint(&account.endpoint)
        .account_name(&text(&account.name))
        .account_key(&text(&account.key))
        .sas_token(text(&account.sas_token).trim_start_matches('?'));
    if options.anonymous.as_deref() == Some("true") {
        builder = builder.skip_signature();
    }
    let operator = Operator::new(builder).map_err(|error| match error.kind() {
        // OpenDAL decodes the key, and its message may quote it.
        ErrorKind::ConfigInvalid => {
            Error::argument("store.accountKey", "not base64", "the key of the account")
        }
        _ => Error::argument("store", error.message(), "a container that can be addressed"),
    })?;
    let place = Place {
        operator,
        region: None,
    };
    // Azure documents conditions. Another server may ignore them.
    let is_azure =
        account.endpoint.contains(".blob.core.") || account.endpoint.contains(".blob.storage.azure.net");
    Ok(Bucket::new(Kind::Azure, place, !is_azure))
}
