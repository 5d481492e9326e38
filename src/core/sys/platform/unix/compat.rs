//! Flags of rustix in calls of the capabilities, until they use [`Access`].

use rustix::fs::OFlags;

use super::super::types::{Access, How};

impl From<OFlags> for Access {
    fn from(flags: OFlags) -> Self {
        if flags.contains(OFlags::RDWR) {
            Self::ReadWrite
        } else {
            Self::Read
        }
    }
}

impl From<OFlags> for How {
    fn from(flags: OFlags) -> Self {
        Self {
            wait: !flags.contains(OFlags::NONBLOCK),
            ..Self::unknown(flags.into())
        }
    }
}
