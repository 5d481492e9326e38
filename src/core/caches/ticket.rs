//! Ticket: links a snapshot to the restore that it is based on. It records which version of the key the restore saw.

use super::key::Key;
use crate::core::error::{Error, Result};

/// State of a key that a restore saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// The key did not exist.
    Nothing,
    /// This version of the pointer or of the single object.
    Version(String),
    /// This version, which could not be restored. A snapshot must not treat it as unchanged.
    Damaged(String),
}

/// A restore's view of its key. Opaque to users.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ticket {
    key: String,
    /// State that the restore saw.
    pub seen: Seen,
}

impl Ticket {
    /// Creates the ticket of a restore of `key`.
    pub fn new(key: &Key, seen: Seen) -> Self {
        Self {
            key: key.as_str().to_owned(),
            seen,
        }
    }

    /// Marks the version as damaged.
    #[must_use]
    pub fn of_damaged(self) -> Self {
        let seen = match self.seen {
            Seen::Version(etag) => Seen::Damaged(etag),
            other => other,
        };
        Self { seen, ..self }
    }

    /// Text form of the ticket. No key contains `:`.
    pub fn to_text(&self) -> String {
        match &self.seen {
            Seen::Nothing => format!("1:{}:-", self.key),
            Seen::Version(etag) => format!("1:{}:={etag}", self.key),
            Seen::Damaged(etag) => format!("1:{}:!{etag}", self.key),
        }
    }

    /// Parses the ticket that is passed to a snapshot of `key`.
    pub fn parse(text: &str, key: &Key) -> Result<Self> {
        let refuse = |why: &str| Err(Error::argument("options.ticket", "not usable", why));
        let mut fields = text.splitn(3, ':');
        let (Some("1"), Some(of), Some(seen)) = (fields.next(), fields.next(), fields.next()) else {
            return refuse("the ticket of a restore's result");
        };
        if of != key.as_str() {
            return refuse(&format!(
                "the ticket of a restore of the key '{}'. This ticket belongs to '{}'. A restore with fallback keys returns a ticket of its first key",
                key.as_str(),
                of.escape_debug()
            ));
        }
        let seen = match (seen.get(..1), seen.get(1..)) {
            (Some("-"), Some("")) => Seen::Nothing,
            (Some("="), Some(etag)) if !etag.is_empty() => Seen::Version(etag.to_owned()),
            (Some("!"), Some(etag)) if !etag.is_empty() => Seen::Damaged(etag.to_owned()),
            _ => return refuse("the ticket of a restore's result"),
        };
        Ok(Self::new(key, seen))
    }

    /// Whether the key still has the state that the restore saw.
    pub fn matches(&self, key: &Key, etag: Option<&str>) -> bool {
        self.key == key.as_str()
            && match &self.seen {
                Seen::Nothing => etag.is_none(),
                Seen::Version(seen) | Seen::Damaged(seen) => etag == Some(seen),
            }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_round_trips_and_matches_its_key_only() {
        let key = Key::parse("key", "site/a").expect("a key");
        let other = Key::parse("key", "site/b").expect("a key");
        for seen in [
            Seen::Nothing,
            Seen::Version("\"a:b=-\"".to_owned()),
            Seen::Damaged("\"a:b=-\"".to_owned()),
        ] {
            let ticket = Ticket::new(&key, seen);
            assert_eq!(
                Ticket::parse(&ticket.to_text(), &key).expect("its own text"),
                ticket
            );
            let refused = Ticket::parse(&ticket.to_text(), &other).expect_err("another key");
            assert!(
                refused.message.contains("'site/a'") && refused.message.contains("'site/b'"),
                "{refused}"
            );
        }
        for text in [
            "",
            "1",
            "1:site/a",
            "1:site/a:",
            "1:site/a:=",
            "1:site/a:!",
            "1:site/a:-x",
            "1:site/a:é",
            "2:site/a:-",
        ] {
            assert!(Ticket::parse(text, &key).is_err(), "{text:?} must be refused");
        }
    }
}
