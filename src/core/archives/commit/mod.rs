//! Commit of a staged tree to its target. The method depends on the target:
//!
//! | target | method | atomic |
//! | --- | --- | --- |
//! | absent | rename, which fails if the target appeared in the meantime | yes |
//! | empty directory that is not a mount point | rename over it (also over a lower directory of overlayfs) | yes |
//! | not empty, same filesystem | exchange, then the old tree is removed | yes |
//! | mount point (EBUSY), lower directory of overlayfs (EXDEV), parent without write permission, or `lost+found` in it | child by child, with a journal for the rollback | per child |
//! | mode 'merge' | file by file, existing entries are kept | per file |
//!
//! A stage is a directory `.warmswap-stage-…` next to the target, or inside it if the parent cannot be used. Its
//! process holds a kernel lock on the file `owner` in it. A process that can acquire that lock knows that the owner is
//! dead. It removes the stage, after it has rolled back an unfinished commit by children.
//!
//! Commits by children and their rollbacks hold a kernel lock on the target directory, because two at the same time
//! would mix their trees. The lock is acquired before the gate, because acquiring it can take time. Its next holder
//! rolls back the unfinished commit of a dead one. Only mode 'replace' moves entries out of a target. Another process
//! may create an entry while the old one with that name is moved out. A rollback does not overwrite that entry, and
//! keeps the old one as `.warmswap-kept-…`.
//!
//! Every user that may write next to the target can create a stage. Only a trusted stage is rolled back or removed (see
//! `stage_directory`), and every call is relative to an open directory.

mod children;
mod gate;
mod merge;
mod moves;
mod restricted;
mod stage_directory;
mod staged_tree;
mod sweep;
mod target_state;

pub use gate::Gate;
pub use staged_tree::{CommitMethod, Committed, Leftovers, StagedTree, TargetMode};
pub use sweep::sweep;
