//! Binding of locks. A worker thread that ends releases its locks and ends its waits.

mod calls;
mod events;
mod lock;
mod options;
mod queries;
mod scopes;
