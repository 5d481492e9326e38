//! A store in a folder.

mod folder;
mod write;

pub(in crate::core::caches::store) use folder::{Folder, on_thread, read_spool};
