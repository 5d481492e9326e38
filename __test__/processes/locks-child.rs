//! A small process that uses the locks core and can be killed at any instruction.

fn main() {}
