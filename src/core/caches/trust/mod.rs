//! Trust levels: a process reads what its own level and the levels it trusts have signed, and writes to its own level
//! only. A pull request can then read what the main branch has saved, and cannot change what the main branch restores.
//!
//! * [`Level`]: the name of a level, and the folder of its objects, `.warmswap-level/<level>/`. No key can name it.
//! * `keys`: Ed25519 keys. Only the processes of a level have its private key.
//! * [`Seal`]: signs and verifies pointers. It is also the interface to the shared secret of `hmacKey`.
//! * [`Trust`]: the levels of one cache, in the order in which it reads them.
//!
//! The signature of a level covers the level, the key, the use of the pointer (`current.json`, or the result of one
//! fingerprint) and the pointer's bytes as stored. The blob is covered through its sha256 in the pointer.
//!
//! Not covered: the time. A writer that the store lets write under another level's folder can restore an older object
//! of that level. Only the policy of the store prevents that.

mod keys;
mod level;
mod plan;
mod seal;

pub use level::Level;
pub use plan::{LevelAccess, Trust, TrustOptions};
pub use seal::Seal;
pub(super) use seal::{Scope, StoredPointer};
