//! Caches: stream a tree to a tar.zst and back, staged, verified and committed at once.
//!
//! * [`stamp`]: what was restored, so that an unchanged tree is left alone.
//! * [`store`]: S3, a folder or memory behind one trait; ranges, retries, silence.
//! * [`cache`]: an opened store with [`restore`], [`snapshot`] and [`maintain`] on it; [`key`] and [`pointer`] are
//!   its layout, [`run`] is the deadline machine, [`guards`] say what may become a generation, [`ticket`] links a
//!   snapshot to its restore.
//!
//! Whatever the world does wrong is a failure with an outcome; the target is then as it was.

pub mod cache;
pub mod conditions;
pub mod guards;
pub mod key;
pub mod outcome;
pub mod pointer;
pub mod restore;
pub mod run;
pub mod snapshot;
pub mod stamp;
pub mod store;
mod thread;
pub mod ticket;
