//! Binding of state: the main realm of a thread, and the cells that all threads share.

mod cell;
mod realm;
