//! Files and directories by path. This is the only code that uses `std::fs` or the platform's calls for entries on
//! disk. Each call adds operation and path to its error, is repeated if a signal interrupts it, and is a fault
//! injection point. No function follows a link unless its name says so.

mod entry;
mod file;
mod listing;
mod open;
mod remove;

pub use super::platform::{Access, Entry, Kind, Stat};
pub(super) use entry::explain_symlink;
pub use entry::{
    POINTER, born_ns, canonicalize, create_directories, create_directory, exchange, link, link_directory,
    make_pointer, read_link, read_pointer, remove_directory, remove_file, rename, rename_new, set_mode,
    set_modified, stat, stat_file, stat_followed, symlink, touch,
};
pub use file::{
    append_from, can_clone, clone_file, copy_file, descriptor, read, read_at, read_capped, read_exact_at,
    read_into, replace, set_file_mode, set_file_modified, set_size, touch_exactly, truncate, write_all,
    write_at, write_new,
};
pub use listing::read_directory;
pub(super) use listing::{read_fresh_directory, read_open_directory, read_some_entries};
pub(crate) use open::open;
pub use open::{
    anonymous, create_new, open_any, open_followed, open_or_create, open_or_create_with_stat, open_regular,
    open_regular_with_stat,
};
pub(super) use open::{expect_regular, explain};
pub use remove::{remove_contents, remove_tree};
