//! What this build runs on, in the words of Node's `process.platform`, `process.arch` and of npm's field `libc`.

/// The operating system.
pub const PLATFORM: &str = if cfg!(target_os = "macos") {
    "darwin"
} else if cfg!(windows) {
    "win32"
} else {
    std::env::consts::OS
};

/// The processor.
pub const ARCH: &str = if cfg!(target_arch = "x86_64") {
    "x64"
} else if cfg!(target_arch = "aarch64") {
    "arm64"
} else {
    std::env::consts::ARCH
};

/// The C library on Linux; empty on other systems.
pub const LIBC: &str = if cfg!(target_env = "musl") {
    "musl"
} else if cfg!(target_os = "linux") {
    "glibc"
} else {
    ""
};
