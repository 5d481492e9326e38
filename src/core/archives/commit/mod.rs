//! From a staged tree to the target, in the way that fits its mount.
//!
//! | target | method | atomic |
//! | --- | --- | --- |
//! | absent | rename, refused if it appeared meanwhile | yes |
//! | empty directory that is no mount | rename over it (also an overlay's lower directory) | yes |
//! | full, same filesystem | exchange, the old tree is removed afterwards | yes |
//! | mount point (EBUSY), overlay lower directory (EXDEV), parent that cannot be written, `lost+found` in it | child by child, with a journal that takes everything back | per child |
//! | mode 'merge' | file by file, what is there wins | per file |
//!
//! A stage lives in a directory `.warmswap-stage-…` next to the target, or in it where the parent cannot serve.
//! Its process holds a kernel lock on the file `owner` in it: a process that can acquire that lock knows that the
//! owner is dead and sweeps, taking an unfinished 'children' commit back first. Commits by children, and what takes
//! them back, hold a kernel lock on the target directory: two at once would mix their trees. It is acquired before
//! the gate, as it can be waited for, and its next holder takes back what a dead one has left unfinished. Only mode
//! 'replace' moves anything out of a target. A name that another process makes in it while the old entry is out is
//! not overwritten when the commit is taken back: the old one is then kept as `.warmswap-kept-…`.
//!
//! A stage can come from every user that may write next to the target, so only a trusted one is replayed or removed
//! (see `stage_directory`), and every call is relative to an open directory.

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
