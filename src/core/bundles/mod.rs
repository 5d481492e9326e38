//! Bundles: directories that are swapped atomically and kept until their last reader is gone.
//!
//! A store holds immutable *generations* and one pointer. A reader resolves the pointer once, holds the
//! generation under a kernel lock, and works in it for as long as it likes. Measured beforehand: nothing short
//! of this is clean. Deleting and rebuilding loses readers, writing in place tears files, a rename per file
//! mixes builds, and even an exchanged directory or link without a hold mixes two reads of one reader.
//!
//! # Files
//! docs/protocol.md has them all, with the steps of each operation, complete enough for another language.
//!
//! * `current` is a relative link to `gens/N/tree`: the one authority. `current.json` mirrors it, because
//!   watchers do not see a link that is replaced, and remembers what was current.
//! * `pins/N` is the lock file and head of generation N. It lies outside of the generation, is there before
//!   `gens/N` and goes before it: a generation without lock file is invisible.
//! * `view` is a relative link to `views/<v>/tree`, a copy of the current generation. A link such as `dist` leads to
//!   `view` and never to a generation: whatever a tool deletes or writes there, pinned bytes stay.
//! * `set-aside` has the directories that a link replaced and that this package did not make. Nothing removes them.
//! * `named/<hash>.json` keeps a generation under a name until a time, without a process ([`named`]).
//! * `owners/<id>` is locked by whoever writes `stage/<id>`, before the stage is made.
//! * `id` distinguishes a store from another one at the same path ([`store_identity`]).
//! * `writer.lock` is held by publish, rollback, collect and the repair of an open, for milliseconds, never while
//!   somebody builds. `build.lock` is held while somebody builds.
//!
//! # Why a pin is safe
//! N is read from the pointer, `pins/N` is locked shared, and the pointer is read again. If it still says N,
//! N was current while the lock was held. A collector removes only what is not current, under `writer.lock`,
//! after it had the exclusive lock; and N never becomes current again once its lock file is gone, because
//! numbers are not used twice and a rollback takes the shared lock first.
//!
//! # Why a publish is atomic
//! Manifest, lock file and generation are complete before the pointer moves, by one rename. What can fail for
//! want of space comes before that; what comes after it is repeated by the next writer
//! ([`Writer::new`]) if this one is killed.
//!
//! # Calls that wait
//! [`service`] and [`stage_handle`] have the calls that wait for a lock or a filesystem. The binding and the Rust tests
//! use the same ones. Everything below them runs on the thread that calls it.
//!
//! # What is not promised
//! * What a link inside a bundle leads to: nothing here follows it, and nothing versions it.
//! * Filesystems that are not on the list of [`crate::core::sys::filesystem`].
//! * That root, or the owner of the files with some effort, does not write to a published file. The next open, a publish
//!   with `if_changed` and `ensure()` find missing and altered files by size and time ([`recover`]), a pin finds what one
//!   stat shows, and [`Store::verify`] compares every byte.
//!
//! # Other users
//! Reading needs no trust, writing does: see [`ownership`].

mod adoption;
mod advice;
mod background;
mod bounds;
mod collect;
mod copy;
mod errors;
mod file_lock;
mod format;
mod head;
mod hold;
mod layout;
mod link;
mod link_directory;
mod manifest;
mod named;
mod naming;
mod opening;
mod options;
mod ownership;
mod patience;
mod pin;
mod pointer;
mod publish;
mod recent;
mod recover;
mod replaced;
mod service;
mod stage;
mod stage_handle;
mod store;
mod store_identity;
mod trash;
mod tree;
mod verify;
mod view;
mod writer;

pub use collect::Collected;
pub use copy::CopyMethod;
pub use file_lock::FileLock;
pub use head::Head;
pub use layout::Layout;
pub use manifest::Problem;
pub use named::NamedPin;
pub use naming::NamedPinRequest;
pub use options::{Durability, NO_BOUND, Options};
pub use patience::Patience;
pub use pin::{PinOwner, owner_ends, owner_starts, pin_current, pin_descriptor, pin_number, release};
pub use publish::{PublishOptions, Published};
pub use stage::{Sealed, Stage, StageBase};
pub use stage_handle::StageHandle;
pub use store::Store;
pub use writer::Writer;
