//! Bundles: directories that are replaced atomically and kept until their last reader has released them.
//!
//! A store contains immutable *generations* and one pointer. A reader resolves the pointer once, holds the generation
//! under a kernel lock, and can use it for any length of time. Measurements of the alternatives led to this design:
//! deleting and rebuilding makes reads fail, writing in place tears files, and a rename per file mixes builds. Even an
//! exchanged directory or link without a hold mixes two generations within one reader.
//!
//! # Files
//! docs/protocol/bundles.md lists all files with the steps of each operation, complete enough for another implementation.
//!
//! * `current` is a relative link to `gens/N/tree`. It alone decides which generation is current. `current.json`
//!   mirrors
//!   it, because watchers do not report a replaced link, and records the former generations.
//! * `pins/N` is the lock file and head of generation N. It is outside the generation, is created before `gens/N` and
//!   removed before it. A generation without a lock file is invisible.
//! * `view` is a relative link to `views/<v>/tree`, a copy of the current generation. A link such as `dist` leads to
//!   `view`, never to a generation. Tools can delete and write there without changing pinned files.
//! * `set-aside` contains the directories that a link replaced and that warmswap did not create. warmswap never removes
//!   them.
//! * `named/<hash>.json` keeps a generation under a name until a time, without a process ([`named`]).
//! * `owners/<id>` is locked by the writer of `stage/<id>` before the stage is created.
//! * `id` distinguishes a store from another one at the same path ([`store_identity`]).
//! * `writer.lock` is held by publish, rollback, collect and the repair during open. It is held for milliseconds, never
//!   during a build. `build.lock` is held during a build.
//!
//! # Why a pin is safe N is read from the pointer, `pins/N` is locked shared, and the pointer is read again. If it
//! still names N, then N was current while the lock was held. A collector removes only generations that are not
//! current, under `writer.lock`, and only after it has acquired the exclusive lock. N never becomes current again after
//! its lock file was removed: numbers are never reused, and a rollback acquires the shared lock first.
//!
//! # Why a publish is atomic Manifest, lock file and generation are complete before the pointer moves, by one rename.
//! Every step that can fail for lack of space comes before that rename. If the process is killed after it, the next
//! writer repeats the remaining steps ([`Writer::new`]).
//!
//! # Calls that wait
//! [`service`] and [`stage_handle`] contain the calls that wait for a lock or a filesystem. The binding and the Rust
//! tests use the same calls. All other modules run on the thread of their caller.
//!
//! # Limits
//! * The targets of links inside a bundle are neither followed nor versioned.
//! * Filesystems that are not on the list of [`crate::core::sys::filesystem`] are not supported.
//! * Root, and with some effort the owner of the files, can write to a published file. The next open, a publish with
//!   `if_changed` and `ensure()` detect missing and altered files by size and time ([`recover`]). A pin detects what one
//!   stat shows. [`Store::verify`] compares every byte.
//!
//! # Other users
//! Reading does not depend on trust. Writing does: see [`ownership`].

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
mod mirror;
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
