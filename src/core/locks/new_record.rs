//! Linking the record of an attempt.

use std::path::Path;
use std::sync::Arc;

use super::attempt_context::AttemptContext;
use super::guard_file::LockedGuard;
use super::neighbours::Neighbours;
use super::path::LockPath;
use super::prepared_directory::PreparedDirectory;
use super::record::{Lease, Record, VERSION};
use super::record_file::RecordFile;
use super::record_log::{self, Highest, RecordLog};
use super::record_name::MAX_NUMBER;
use super::removal;
use super::request::Request;
use crate::core::error::Result;
use crate::core::sys::{clock, identity};

/// A record that this process has just linked.
pub(super) struct NewRecord {
    pub(super) lock: Arc<LockPath>,
    pub(super) neighbours: Arc<Neighbours>,
    pub(super) log: RecordLog,
    pub(super) record: Record,
    pub(super) record_file: RecordFile,
    pub(super) guard: Option<LockedGuard>,
    /// Whether the predecessor ended without releasing the lock.
    pub(super) is_orphan: bool,
    pub(super) predecessor: Option<Box<Record>>,
    pub(super) request: Arc<Request>,
    /// Device of its files. One thread renews all records on one device.
    pub(super) device: u64,
    /// Microseconds since boot, read before the record existed. The lease starts at this time.
    pub(super) begun: u64,
}

/// Result of an attempt to link a record.
pub(super) enum Linked {
    New(Box<NewRecord>),
    /// Another caller was faster. The guard is still locked.
    TooLate(Option<LockedGuard>),
}

impl NewRecord {
    /// Links a record with the next number.
    pub(super) fn link(
        context: &AttemptContext,
        log: Option<RecordLog>,
        highest: Highest,
        mut guard: Option<LockedGuard>,
    ) -> Result<Linked> {
        let Highest { top, taken } = highest;
        let n = taken + 1;
        if n > MAX_NUMBER {
            return Err(record_log::exhausted(&context.lock));
        }
        let is_orphan = top.as_ref().is_some_and(|top| !top.is_free);
        let predecessor = top.and_then(|top| top.record);
        let record = make_record(context, n, predecessor.as_deref(), guard.as_ref());
        let prepared = context.lock.prepared(&record.token);
        let begun = clock::boot_micros();
        let taken = prepare_and_link(context, &record, log, &prepared, guard.as_mut());
        if !matches!(taken, Ok(Some(_))) {
            // Nothing is left even if the disk is full. A sweep removes what cannot be removed now.
            let _swept_later = removal::discard(&prepared);
        }
        let Some((log, record_file)) = taken? else {
            return Ok(Linked::TooLate(guard));
        };
        Ok(Linked::New(Box::new(Self {
            lock: Arc::clone(&context.lock),
            neighbours: Arc::clone(&context.neighbours),
            log,
            record,
            record_file,
            guard,
            is_orphan,
            predecessor,
            request: Arc::clone(&context.request),
            device: context.device,
            begun,
        })))
    }
}

/// Returns `None` if another acquirer was faster.
fn prepare_and_link(
    context: &AttemptContext,
    record: &Record,
    log: Option<RecordLog>,
    prepared: &Path,
    guard: Option<&mut LockedGuard>,
) -> Result<Option<(RecordLog, RecordFile)>> {
    record.check_metadata_size()?;
    let finished =
        PreparedDirectory::make(&context.lock, prepared, &record.to_bytes()?, &context.neighbours)?;
    let log = match log {
        Some(log) => Some(log),
        None => RecordLog::open_or_make(&context.lock, &context.neighbours)?,
    };
    let Some(log) = log else {
        return Ok(None);
    };
    let guard = match guard {
        Some(guard) if record.covers_children => {
            guard.cover_children(&context.lock.children(&record.token))?;
            Some(&*guard)
        }
        guard => guard.map(|guard| &*guard),
    };
    if !log.link(&finished, record.n)? {
        return Ok(None);
    }
    let confirmed = confirm_record(context, &log, record, guard);
    if !matches!(confirmed, Ok(true)) {
        log.remove(record.n)?;
    }
    Ok(confirmed?.then_some((log, finished.record_file)))
}

/// Checks the linked record. A slow acquirer can link a number whose holder was superseded and removed long ago. The
/// guard file can also have been deleted and created again while it was being locked.
fn confirm_record(
    context: &AttemptContext,
    log: &RecordLog,
    record: &Record,
    guard: Option<&LockedGuard>,
) -> Result<bool> {
    if let Some(guard) = guard
        && !guard.is_current()?
    {
        return Ok(false);
    }
    log.confirm_and_prune(record.n, context.mode)
}

fn make_record(
    context: &AttemptContext,
    n: u64,
    predecessor: Option<&Record>,
    guard: Option<&LockedGuard>,
) -> Record {
    // In microseconds, because on tmpfs a path is acquired more than once per millisecond. After the files were
    // deleted, the first generation must be greater than the last one before.
    let base = predecessor
        .map(|record| record.base)
        .filter(|base| *base <= MAX_NUMBER);
    let base = base.unwrap_or_else(clock::wall_micros);
    Record {
        created_at: clock::iso8601(),
        hostname: identity::hostname(),
        token: uuid::Uuid::new_v4().to_string(),
        v: VERSION,
        process: identity::this_process().clone(),
        n,
        base,
        generation: base + n,
        mode: context.mode,
        guard: guard.map(LockedGuard::id),
        thread_id: context.request.thread_id,
        fs_type: context.filesystem.name.to_owned(),
        lease: Lease {
            ttl_ms: u64::try_from(context.request.lease_ttl.as_millis()).unwrap_or(u64::MAX),
            seq: 0,
        },
        cmd: shortened(identity::command()),
        cwd: std::env::current_dir().map_or_else(
            |_| String::new(),
            |path| shortened(path.to_string_lossy().into_owned()),
        ),
        meta: context.request.metadata.clone(),
        progress: None,
        covers_children: context.request.covers_children,
        failure: predecessor.and_then(|record| record.failure.clone()),
    }
}

/// Command lines and directories are informative only, so their beginning is enough.
fn shortened(text: String) -> String {
    const LONGEST: usize = 512;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
