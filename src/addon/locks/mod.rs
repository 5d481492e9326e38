//! Locks: conversion only. A worker thread that ends lets its locks go and drops its waits.

mod calls;
mod events;
mod lock;
mod options;
mod queries;
mod scopes;
