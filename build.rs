//! Configures the linker for Node's symbols when the addon is built.

fn main() {
    // Without this line Cargo walks the whole checkout, node_modules and links out of it included, to detect changes.
    println!("cargo::rerun-if-changed=build.rs");
    #[cfg(feature = "addon")]
    napi_build::setup();
}
