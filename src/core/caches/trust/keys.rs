//! Ed25519 keys of trust levels.

use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};

use crate::core::error::{Code, Error, Result};

const PUBLIC_KEY_BYTES: usize = 32;

/// Private key of a level, with its public key.
pub(super) struct SigningKey(Ed25519KeyPair);

impl SigningKey {
    /// Parses the DER form of PKCS#8. Errors never contain the key.
    pub(super) fn parse(argument: &str, der: &[u8]) -> Result<Self> {
        let parsed = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der);
        parsed.map(Self).map_err(|_| {
            let expected =
                "an unencrypted Ed25519 private key in PKCS#8, as `warmswap cache trust keygen` makes it";
            Error::new(
                Code::InvalidArgument,
                format!("Invalid {argument}. Expected {expected}"),
            )
        })
    }

    pub(super) fn public(&self) -> PublicKey {
        let mut bytes = [0; PUBLIC_KEY_BYTES];
        bytes.copy_from_slice(self.0.public_key().as_ref());
        PublicKey(bytes)
    }

    pub(super) fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.0.sign(message).as_ref().to_vec()
    }
}

/// Public key of a level.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PublicKey([u8; PUBLIC_KEY_BYTES]);

impl PublicKey {
    pub(super) fn parse(argument: &str, bytes: &[u8]) -> Result<Self> {
        bytes.try_into().map(Self).map_err(|_| {
            Error::argument(
                argument,
                format!("{} bytes", bytes.len()),
                "the 32 bytes of an Ed25519 public key",
            )
        })
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub(super) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, &self.0)
            .verify(message, signature)
            .is_ok()
    }
}
