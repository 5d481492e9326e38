//! Tells the linker where Node's symbols come from, when the addon is built.

fn main() {
    #[cfg(feature = "addon")]
    napi_build::setup();
}
