//! The trust levels of one cache: which one it writes to, and which ones it reads, in order.

use std::sync::Arc;

use super::keys::{PublicKey, SigningKey};
use super::level::Level;
use super::seal::{LevelSeal, Seal};
use crate::core::error::{Code, Error, Result};

/// Options of a caller.
#[derive(Default)]
pub struct TrustOptions {
    /// Level of this process. Without one, the cache is read-only.
    pub level: Option<String>,
    /// Private key of this level, as PKCS#8 in DER. Without it, the cache is read-only.
    pub sign_with: Option<Vec<u8>>,
    /// Public keys of each level, 32 bytes each.
    pub trusted_keys: Vec<(String, Vec<Vec<u8>>)>,
    /// Levels to read, in this order. If the own level is not among them, it is read first. By default all levels of
    /// `trusted_keys`.
    pub reads_from: Option<Vec<String>>,
}

/// The levels of one cache.
pub struct Trust {
    /// Levels that are read, in this order. There is at least one.
    pub reads: Vec<LevelAccess>,
    /// Why nothing is written. Absent if the cache writes to its own level.
    pub read_only: Option<String>,
}

/// One level that a cache reads.
#[derive(Clone)]
pub struct LevelAccess {
    /// The level.
    pub level: Level,
    /// Verifies what is read, and signs what is written.
    pub seal: Seal,
    /// Whether it is the own level of the process.
    pub is_own: bool,
}

impl LevelAccess {
    /// Public keys whose signatures are accepted.
    pub fn trusted_keys(&self) -> Vec<Vec<u8>> {
        match &self.seal {
            Seal::Level(seal) => seal.trusted.iter().map(|key| key.as_bytes().to_vec()).collect(),
            Seal::Open | Seal::Hmac(_) => Vec::new(),
        }
    }
}

impl TrustOptions {
    /// Checks the options against each other.
    ///
    /// # Errors
    /// `ERR_INVALID_ARGUMENT` if they do not fit. No error contains a private key.
    pub fn resolve(self) -> Result<Trust> {
        let own = self
            .level
            .as_deref()
            .map(|text| Level::parse("options.trust.level", text));
        let own = own.transpose()?;
        let signer = self.sign_with.as_deref();
        let mut signer = signer
            .map(|der| SigningKey::parse("options.trust.signWith", der))
            .transpose()?;
        let mut trusted = parse_keys(self.trusted_keys)?;
        if let Some(signer) = &signer {
            accept_own(own.as_ref(), signer, &mut trusted)?;
        }
        let order = reading_order(own.as_ref(), self.reads_from, &trusted)?;
        let read_only = match (&own, &signer) {
            (Some(_), Some(_)) => None,
            (Some(own), None) => Some(format!(
                "this cache is read-only: options.trust.signWith, the private key of level '{}', is missing",
                own.as_str()
            )),
            (None, _) => Some(
                "this cache is read-only: options.trust.level, the level to write to, is missing".to_owned(),
            ),
        };
        let mut reads = Vec::new();
        for level in order {
            let is_own = own.as_ref() == Some(&level);
            let keys = trusted.iter().find(|(of, _)| *of == level);
            let seal = Seal::Level(Arc::new(LevelSeal {
                level: level.clone(),
                signer: if is_own { signer.take() } else { None },
                trusted: keys.map(|(_, keys)| keys.clone()).unwrap_or_default(),
            }));
            reads.push(LevelAccess { level, seal, is_own });
        }
        Ok(Trust { reads, read_only })
    }
}

fn parse_keys(given: Vec<(String, Vec<Vec<u8>>)>) -> Result<Vec<(Level, Vec<PublicKey>)>> {
    let parse = |(name, keys): (String, Vec<Vec<u8>>)| {
        let level = Level::parse("a level of options.trust.trustedKeys", &name)?;
        let argument = format!("options.trust.trustedKeys.{name}");
        let keys: Result<Vec<_>> = keys.iter().map(|key| PublicKey::parse(&argument, key)).collect();
        let keys = keys?;
        if keys.is_empty() {
            return Err(Error::argument(&argument, "no key", "at least one public key"));
        }
        Ok((level, keys))
    };
    given.into_iter().map(parse).collect()
}

/// A process trusts what it signs. If public keys of its level are given, its own has to be one of them: otherwise it
/// would write what nobody accepts.
fn accept_own(
    own: Option<&Level>,
    signer: &SigningKey,
    trusted: &mut Vec<(Level, Vec<PublicKey>)>,
) -> Result<()> {
    let Some(own) = own else {
        return Err(Error::new(
            Code::InvalidArgument,
            "Invalid options.trust.signWith. Expected options.trust.level with it: the level that the private key belongs to",
        ));
    };
    match trusted.iter().find(|(level, _)| level == own) {
        Some((_, keys)) if keys.contains(&signer.public()) => Ok(()),
        Some(_) => {
            let own = own.as_str();
            Err(Error::new(
                Code::InvalidArgument,
                format!(
                    "Invalid options.trust.signWith. Expected the private key of one of options.trust.trustedKeys.{own}: \
                     otherwise readers refuse what this process writes"
                ),
            ))
        }
        None => {
            trusted.push((own.clone(), vec![signer.public()]));
            Ok(())
        }
    }
}

fn reading_order(
    own: Option<&Level>,
    given: Option<Vec<String>>,
    trusted: &[(Level, Vec<PublicKey>)],
) -> Result<Vec<Level>> {
    let is_trusted = |level: &Level| trusted.iter().any(|(of, _)| of == level);
    let first = own.filter(|own| is_trusted(own));
    let mut order: Vec<Level> = Vec::new();
    if let Some(names) = given {
        for (at, name) in names.iter().enumerate() {
            let argument = format!("options.trust.readsFrom[{at}]");
            let level = Level::parse(&argument, name)?;
            if !is_trusted(&level) {
                let expected =
                    format!("a level with a public key in options.trust.trustedKeys. '{name}' has none");
                return Err(Error::argument(&argument, format!("'{name}'"), &expected));
            }
            if order.contains(&level) {
                return Err(Error::argument(&argument, format!("'{name}'"), "each level once"));
            }
            order.push(level);
        }
        if let Some(first) = first.filter(|first| !order.contains(first)) {
            order.insert(0, first.clone());
        }
    } else {
        order.extend(first.cloned());
        let others = trusted.iter().map(|(level, _)| level);
        order.extend(others.filter(|level| Some(*level) != first).cloned());
    }
    if order.is_empty() {
        return Err(Error::argument(
            "options.trust",
            "it has no level to read",
            "trustedKeys with the public keys of a level, or level and signWith",
        ));
    }
    Ok(order)
}
