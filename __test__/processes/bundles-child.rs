//! A small process that uses the bundles core and can be killed at any instruction.

fn main() {}
