//! The pointer of a key: it names the current blob, with all facts that verify it. It is written last, conditionally.

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use super::key::Key;
use crate::core::failure::{Cause, Failure, Result};
use crate::core::sys::{fault, machine};

/// Maximum size of a pointer in bytes. A real one has about 700.
pub(super) const MAX_POINTER_BYTES: usize = 4096;
/// Version of the layout that is written and read.
pub(super) const VERSION: u32 = 1;

/// Creator of a blob. A restore can require certain values.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Producer {
    /// Always `warmswap`.
    pub tool: String,
    /// Version of warmswap.
    pub version: String,
    /// Value of Node's `process.platform`.
    pub platform: String,
    /// Value of Node's `process.arch`.
    pub arch: String,
    /// `glibc`, `musl` or empty.
    pub libc: String,
    /// Fingerprint that the caller passed, such as a hash of the lock file.
    pub fingerprint: String,
}

impl Producer {
    /// Whether both were created on the same kind of machine.
    pub fn is_like(&self, other: &Self) -> bool {
        let machine = |producer: &Self| {
            [
                producer.platform.clone(),
                producer.arch.clone(),
                producer.libc.clone(),
            ]
        };
        machine(self) == machine(other)
    }

    /// Describes this build on this machine, with Node's names.
    pub fn of_this_machine(fingerprint: String) -> Self {
        Self {
            tool: "warmswap".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            platform: machine::PLATFORM.to_owned(),
            arch: machine::ARCH.to_owned(),
            libc: machine::LIBC.to_owned(),
            fingerprint,
        }
    }
}

/// Content of `<key>/current.json`. The order of the fields is part of the format, because the signature covers them in
/// this order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pointer {
    /// Version of this layout.
    pub v: u32,
    /// Name of this generation.
    pub generation: String,
    /// Generation that it replaced.
    pub parent: Option<String>,
    /// Name of the blob below `blobs/`.
    pub blob: String,
    /// Size of the blob in bytes.
    pub size: u64,
    /// The store's version of the blob.
    pub etag: String,
    /// SHA-256 of the blob in hexadecimal.
    pub sha256: String,
    /// Digest of the tree.
    pub tree: String,
    /// Number of files in the tree.
    pub files: u64,
    /// Total bytes of the files in the tree.
    pub bytes: u64,
    /// Largest window of the zstd frames, as a power of two.
    #[serde(rename = "windowLog")]
    pub window_log: u32,
    /// Number of zstd frames that contain the tar.
    pub frames: u64,
    /// Time of the snapshot (RFC 3339).
    pub created: String,
    /// Creator of the blob.
    pub producer: Producer,
    /// Signature over the key and all fields above, in hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hmac: Option<String>,
}

impl Pointer {
    /// Parses and checks a pointer. With a secret, the signature must exist and match.
    pub fn read(bytes: &[u8], key: &Key, secret: Option<&[u8]>) -> Result<Self> {
        #[derive(Deserialize)]
        struct Versioned {
            v: u32,
        }
        // An error of serde_json names only line and column, never the content.
        let malformed = |error: serde_json::Error| {
            Failure::corrupt(format!(
                "the pointer is not valid JSON of the expected form: {error}"
            ))
        };
        if bytes.len() > MAX_POINTER_BYTES {
            return Err(Failure::corrupt(format!(
                "the pointer has more than {MAX_POINTER_BYTES} bytes"
            )));
        }
        let version = serde_json::from_slice::<Versioned>(bytes).map_err(malformed)?.v;
        if version != VERSION {
            return Err(Failure::new(
                Cause::Incompatible,
                format!(
                    "the pointer has layout version {version}. This version of warmswap supports version {VERSION} here"
                ),
            ));
        }
        let pointer: Self = serde_json::from_slice(bytes).map_err(malformed)?;
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        let is_hash = pointer.sha256.len() == 64 && pointer.sha256.bytes().all(is_digit);
        if !is_hash || pointer.blob != format!("{}.tar.zst", pointer.sha256) {
            return Err(Failure::corrupt("the pointer names an invalid blob"));
        }
        if let Some(secret) = secret {
            pointer.verify(key, secret)?;
        }
        Ok(pointer)
    }

    /// Name of this tree in a tree manifest. A writer chooses the name of its generation, also that of another writer's
    /// generation. With the digest, the name never stands for a tree with other content.
    pub(super) fn manifest_name(&self) -> String {
        if fault::is_seeded("manifest-by-generation") {
            return self.generation.clone();
        }
        format!("{} {}", self.tree, self.generation)
    }

    /// With its signature, if there is a signing key.
    pub(super) fn signed(&self, key: &Key, secret: Option<&[u8]>) -> Self {
        let hmac = secret.map(|secret| hex(&self.signature(key, secret).finalize().into_bytes()));
        Self { hmac, ..self.clone() }
    }

    /// As [`read`](Self::read), for a pointer that is part of another object.
    pub(super) fn checked(self, key: &Key, secret: Option<&[u8]>) -> Result<Self> {
        Self::read(&serde_json::to_vec(&self).unwrap_or_default(), key, secret)
    }

    fn verify(&self, key: &Key, secret: &[u8]) -> Result<()> {
        let Some(signature) = &self.hmac else {
            return Err(Failure::refused("the pointer is not signed"));
        };
        let signature =
            unhex(signature).ok_or_else(|| Failure::refused("the signature is not hexadecimal"))?;
        self.signature(key, secret)
            .verify_slice(&signature)
            .map_err(|_| Failure::refused("the signature does not match this key and this secret"))
    }

    /// HMAC-SHA256 over the key, a line feed, and the pointer without `hmac` as compact JSON.
    fn signature(&self, key: &Key, secret: &[u8]) -> Hmac<Sha256> {
        let mut unsigned = self.clone();
        unsigned.hmac = None;
        let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes keys of every length");
        mac.update(key.as_str().as_bytes());
        mac.update(b"\n");
        mac.update(&serde_json::to_vec(&unsigned).unwrap_or_default());
        mac
    }
}

/// Formats bytes as lower-case hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|digit| char::from(DIGITS[usize::from(digit)]))
        .collect()
}

pub(super) fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.is_ascii() {
        return None;
    }
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cause(read: Result<Pointer>) -> Option<Cause> {
        read.err().map(|failure| failure.cause)
    }

    fn bytes_of(pointer: &Pointer, key: &Key, secret: Option<&[u8]>) -> Vec<u8> {
        serde_json::to_vec(&pointer.signed(key, secret)).expect("JSON")
    }

    fn pointer() -> Pointer {
        Pointer {
            v: VERSION,
            generation: "g1".to_owned(),
            parent: None,
            blob: format!("{}.tar.zst", "ab".repeat(32)),
            size: 1,
            etag: "\"e\"".to_owned(),
            sha256: "ab".repeat(32),
            tree: "t".to_owned(),
            files: 1,
            bytes: 1,
            window_log: 21,
            frames: 1,
            created: "2026-01-01T00:00:00Z".to_owned(),
            producer: Producer::default(),
            hmac: None,
        }
    }

    #[test]
    fn the_signature_covers_the_key_and_every_field() {
        let key = Key::parse("key", "site/a").expect("a key");
        let other = Key::parse("key", "site/b").expect("a key");
        let bytes = bytes_of(&pointer(), &key, Some(b"secret"));
        assert!(Pointer::read(&bytes, &key, Some(b"secret")).is_ok());
        assert_eq!(
            cause(Pointer::read(&bytes, &other, Some(b"secret"))),
            Some(Cause::Refused)
        );
        assert_eq!(
            cause(Pointer::read(&bytes, &key, Some(b"another"))),
            Some(Cause::Refused)
        );
        let text = String::from_utf8(bytes).expect("JSON");
        for (from, to) in [
            ("\"g1\"", "\"g2\""),
            ("\"size\":1", "\"size\":2"),
            ("\"files\":1", "\"files\":2"),
            ("\"tree\":\"t\"", "\"tree\":\"u\""),
            ("\"fingerprint\":\"\"", "\"fingerprint\":\"x\""),
        ] {
            let forged = text.replace(from, to);
            assert_ne!(forged, text);
            assert_eq!(
                cause(Pointer::read(forged.as_bytes(), &key, Some(b"secret"))),
                Some(Cause::Refused),
                "{from} was changed to {to} and the signature still matched"
            );
        }
        let unsigned = bytes_of(&pointer(), &key, None);
        assert_eq!(
            cause(Pointer::read(&unsigned, &key, Some(b"secret"))),
            Some(Cause::Refused)
        );
    }

    #[test]
    fn an_invalid_pointer_is_refused() {
        let key = Key::parse("key", "a").expect("a key");
        for bytes in [&b""[..], b"{}", b"[]", b"{\"v\":1}", b"\x00"] {
            assert_eq!(cause(Pointer::read(bytes, &key, None)), Some(Cause::Corrupt));
        }
        assert_eq!(
            cause(Pointer::read(b"{\"v\":9}", &key, None)),
            Some(Cause::Incompatible)
        );
        let mut escaping = pointer();
        escaping.blob = "../../other/blobs/x".to_owned();
        let bytes = bytes_of(&escaping, &key, None);
        assert_eq!(cause(Pointer::read(&bytes, &key, None)), Some(Cause::Corrupt));
    }
}
