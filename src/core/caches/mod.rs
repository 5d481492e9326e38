//! Caches: stream a tree to a tar.zst and back, staged, verified and committed at once.
//!
//! * [`archive`]: the writer, the strict reader and the writer of files below an open directory.
//! * [`codec`]: zstd, gzip or neither, told apart by magic bytes.
//! * [`tree`]: what a tree holds, whatever its inodes and times; its digest.
//! * [`commit`]: stage next to the target, then one step that fits its mount; sweep of what dead processes left.
//! * `site`: open directories that other users may write to as well, and whose entries count there.
//! * [`stamp`]: what was restored, so that an unchanged tree is left alone.
//! * [`unpack`]: the whole way from a stream to a committed target, under one deadline.
//! * [`store`]: S3, a folder or memory behind one trait; ranges, retries, silence.
//! * [`cache`]: an opened store with [`restore`], [`snapshot`] and [`maintain`] on it; [`key`] and [`pointer`] are
//!   its layout, [`run`] is the deadline machine, [`guards`] say what may become a generation, [`ticket`] links a
//!   snapshot to its restore.
//!
//! Whatever the world does wrong is a [`failure::Failure`] with an outcome; the target is then as it was.

pub mod archive;
pub mod cache;
pub mod codec;
pub mod commit;
pub mod exclude;
pub mod failure;
pub mod feed;
pub mod guards;
pub mod key;
pub mod maintain;
pub mod outcome;
pub mod packing;
mod placing;
pub mod pointer;
mod quiet;
pub mod restore;
pub mod run;
mod site;
pub mod snapshot;
pub mod stamp;
pub mod store;
mod thread;
pub mod ticket;
pub mod tree;
pub mod unpack;
