//! Unpacks in a process that can be killed at any of its system calls: `archive-child <archive> <target> <mode>`.
//! Prints the way of the commit, or the outcome of the failure.

#![expect(clippy::print_stdout, reason = "what a test reads")]

use std::path::Path;

use warmswap::core::caches::archive::ExtractOptions;
use warmswap::core::caches::commit::{Gate, Mode};
use warmswap::core::caches::unpack;
use warmswap::core::sys::{fault, fs};

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, archive, target, mode] = arguments.as_slice() else {
        panic!("archive-child <archive> <target> <mode>");
    };
    let mode = match mode.as_str() {
        "replace" => Mode::Replace,
        "merge" => Mode::Merge,
        _ => Mode::IfEmpty,
    };
    let source = fs::open_followed(Path::new(archive)).expect("the archive");
    fault::arm();
    match unpack::unpack(
        source,
        Path::new(target),
        mode,
        &ExtractOptions::default(),
        &Gate::new(),
    ) {
        Ok(unpacked) => println!("{}", unpacked.way.as_str()),
        Err((_, failure)) => println!("{}: {failure}", failure.outcome.as_str()),
    }
}
