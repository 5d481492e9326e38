//! Fault injection points and seeded bugs, in builds with the feature `testing` only. In other builds every function
//! here is empty and inlined.
//!
//! * `WARMSWAP_FAULT=<n>:<KILL|STOP|HOLD|EIO|ENOSPC|EINTR|EACCES|EROFS|EINVAL|ENOLCK|ENOTSUP|EPERM>`: fault at the n-th
//!   point after [`arm`], starting with 1. An optional third field `:<operation>` counts only points of that operation. A
//!   fourth field `:<end of the path>` counts only points with such a path, because the order of points in several threads
//!   is undefined. `HOLD` blocks the thread until the FIFO `WARMSWAP_FAULT_FIFO` was opened for writing and closed.
//! * `WARMSWAP_FAULT_LOG=<file>`: appends one line `<n> <operation> <path>` for each point, to find their number.
//! * `WARMSWAP_MUTANT=<name>`: enables a seeded bug, so that a test suite can prove that it detects it.

#[cfg(feature = "testing")]
pub use active::{arm, is_seeded, point};

/// Starts to count fault injection points. No fault occurs before.
#[cfg(not(feature = "testing"))]
#[inline]
pub fn arm() {}

/// Whether a seeded bug is enabled. Always `false` in this build.
#[cfg(not(feature = "testing"))]
#[inline]
pub const fn is_seeded(_name: &str) -> bool {
    false
}

/// Fault injection point. Does nothing in this build.
#[cfg(not(feature = "testing"))]
#[inline]
pub fn point(_operation: &str, _path: &std::path::Path) -> std::io::Result<()> {
    Ok(())
}

#[cfg(feature = "testing")]
mod active {
    use std::io::{self, Write as _};
    use std::path::Path;
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

    use crate::core::sys::platform::{errno, host};

    static ARMED: AtomicBool = AtomicBool::new(false);
    static REACHED: AtomicU64 = AtomicU64::new(0);
    static SEEDED_BUG: LazyLock<Option<String>> = LazyLock::new(|| std::env::var("WARMSWAP_MUTANT").ok());
    static PLAN: LazyLock<Option<Plan>> = LazyLock::new(|| {
        std::env::var("WARMSWAP_FAULT")
            .ok()
            .and_then(|text| Plan::parse(&text))
    });
    static LOG: LazyLock<Option<String>> = LazyLock::new(|| std::env::var("WARMSWAP_FAULT_LOG").ok());

    struct Plan {
        at: u64,
        what: String,
        operation: Option<String>,
        path_end: Option<String>,
    }

    impl Plan {
        fn parse(text: &str) -> Option<Self> {
            let mut fields = text.splitn(4, ':');
            Some(Self {
                at: fields.next()?.parse().ok()?,
                what: fields.next()?.to_owned(),
                operation: fields.next().map(str::to_owned),
                path_end: fields.next().map(str::to_owned),
            })
        }

        fn counts(&self, operation: &str, path: &Path) -> bool {
            let is_operation = |wanted: &str| wanted == operation;
            let is_path = |end: &str| path.as_os_str().as_encoded_bytes().ends_with(end.as_bytes());
            self.operation.as_deref().is_none_or(is_operation) && self.path_end.as_deref().is_none_or(is_path)
        }
    }

    /// Starts to count fault injection points. No fault occurs before.
    pub fn arm() {
        ARMED.store(true, Ordering::SeqCst);
    }

    /// Whether this seeded bug is enabled.
    pub fn is_seeded(name: &str) -> bool {
        SEEDED_BUG.as_deref() == Some(name)
    }

    /// Fault injection point.
    pub fn point(operation: &str, path: &Path) -> io::Result<()> {
        if !ARMED.load(Ordering::Relaxed) {
            return Ok(());
        }
        if PLAN.as_ref().is_some_and(|plan| !plan.counts(operation, path)) {
            return Ok(());
        }
        let number = REACHED.fetch_add(1, Ordering::SeqCst) + 1;
        if let Some(log) = LOG.as_ref() {
            log_point(log, number, operation, path)?;
        }
        match PLAN.as_ref() {
            Some(plan) if plan.at == number => strike(&plan.what),
            _ => Ok(()),
        }
    }

    fn log_point(log: &str, number: u64, operation: &str, path: &Path) -> io::Result<()> {
        let mut file = std::fs::OpenOptions::new().append(true).create(true).open(log)?;
        writeln!(file, "{number} {operation} {}", path.display())
    }

    fn hold() -> io::Result<()> {
        let fifo = std::env::var("WARMSWAP_FAULT_FIFO").unwrap_or_default();
        let writer = std::fs::OpenOptions::new().read(true).open(fifo)?;
        io::copy(&mut io::BufReader::new(writer), &mut io::sink()).map(drop)
    }

    fn strike(what: &str) -> io::Result<()> {
        match what {
            "KILL" => host::kill_self(),
            "STOP" => host::stop_self(),
            "HOLD" => hold(),
            error => Err(errno::named(error)),
        }
    }
}
