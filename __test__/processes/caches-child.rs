//! A small process that uses the caches core and can be killed at any instruction.

fn main() {}
