//! Options of a container of Azure Blob Storage.

use crate::core::caches::store::options::{bucket_options, check_endpoint, check_flag};
use crate::core::error::{Error, Result};

bucket_options! {
    /// Options of a container. Without credentials, those of the environment are used: `AZURE_STORAGE_CONNECTION_STRING`,
    /// `AZURE_STORAGE_KEY`, `AZURE_STORAGE_SAS_TOKEN`, a service principal, a workload identity, and the managed identity
    /// of the machine.
    AzureOptions {
        /// Name of the container.
        container = "container",
        /// Path in the container that all objects are below.
        prefix = "prefix",
        /// Name of the storage account. Default: that of the connection string, or `AZURE_STORAGE_ACCOUNT`.
        account = "account",
        /// `http://` or `https://` address of the account at another server. Default: that of the connection string, or
        /// Azure's.
        endpoint = "endpoint",
        /// Key of the account.
        account_key = "accountKey",
        /// Shared access signature.
        sas_token = "sasToken",
        /// Connection string of the account. Default: `AZURE_STORAGE_CONNECTION_STRING`, unless an account is named.
        connection_string = "connectionString",
        /// `true`: requests carry no credentials.
        anonymous = "anonymous",
    } shows container, prefix, account, endpoint
}

impl AzureOptions {
    fn check(self) -> Result<Self> {
        if self.container.is_none() {
            return Err(Error::argument(
                "store.container",
                "missing",
                "the name of a container",
            ));
        }
        let others = [&self.account, &self.account_key, &self.sas_token];
        if self.connection_string.is_some() && others.iter().any(|option| option.is_some()) {
            return Err(Error::argument(
                "store.connectionString",
                "together with account, accountKey or sasToken",
                "one of the two",
            ));
        }
        check_endpoint(self.endpoint.as_ref())?;
        check_flag("store.anonymous", self.anonymous.as_ref())?;
        Ok(self)
    }
}
