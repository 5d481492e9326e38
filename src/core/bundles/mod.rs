//! Bundles: directories that are swapped atomically and kept until their last reader is gone.

mod collect;
mod copy;
mod head;
mod layout;
mod link;
mod lock;
mod manifest;
mod pin;
mod pointer;
mod recover;
mod stage;
mod store;
mod writer;

pub use collect::Collected;
pub use copy::How;
pub use head::Head;
pub use layout::Layout;
pub use lock::{FileLock, Patience};
pub use manifest::Problem;
pub use pin::{Owner, owner_ends, owner_starts, pin_current, pin_number, release};
pub use stage::{From, Sealed, Stage};
pub use store::{Durability, Options, Store};
pub use writer::{PublishOptions, Published, Writer};
