//! Decides whether an entry at the path of a lock blocks an attempt, and remembers what the attempt has observed.

use std::time::Duration;

use super::attempt_context::AttemptContext;
use super::blocker::Blocker;
use super::guard_file;
use super::heirs::Heirs;
use super::inspect::survey;
use super::inspection::Inspection;
use super::liveness::{self, HolderStatus};
use super::lock_directory::{self, Extra, LockDirectory};
use super::record::{GuardId, Holder, LockMode, Record};
use super::record_log::TopRecord;
use super::staleness::{StalenessTracker, Subject};
use crate::core::error::Result;
use crate::core::sys::child_file;
use crate::core::sys::identity::Liveness;

/// Observations of one attempt at the path of its lock.
#[derive(Default)]
pub(super) struct Obstacles {
    tracker: StalenessTracker,
    heirs: Heirs,
}

impl Obstacles {
    /// Holder of the lock, and the directory at its path.
    pub(super) fn survey(&mut self, context: &AttemptContext) -> Result<(Inspection, Option<LockDirectory>)> {
        survey(&context.lock, &mut self.heirs)
    }

    /// Describes the process that has locked the guard. Its record may not exist yet, or may already be released.
    pub(super) fn describe_holder(&mut self, context: &AttemptContext) -> Result<Blocker> {
        let (found, _) = self.survey(context)?;
        let liveness = found.liveness.unwrap_or(Liveness::Unknown);
        Ok(Blocker {
            // The guard also shows its end, except when the user's inotify instances are exhausted.
            process: found
                .holder
                .as_ref()
                .filter(|_| liveness == Liveness::Alive)
                .and_then(|holder| holder.pid),
            holder: found.holder,
            liveness,
            retry_after: None,
            is_foreign: false,
        })
    }

    /// Whether the highest record blocks this attempt.
    pub(super) fn judge_record(
        &mut self,
        context: &AttemptContext,
        top: &TopRecord,
        guard: Option<GuardId>,
    ) -> Result<Option<Blocker>> {
        if top.is_free {
            return Ok(None);
        }
        if let Some(record) = &top.record
            && let Some(is_kept) = is_kept_by_children(context, record)?
        {
            if !is_kept {
                return Ok(None);
            }
            let holder = self.heirs.holder(&context.lock, record);
            return Ok(Some(Blocker {
                process: holder.pid,
                holder: Some(holder),
                liveness: Liveness::Alive,
                retry_after: None,
                is_foreign: false,
            }));
        }
        let status = liveness::of_record(top.record.as_deref(), guard);
        let HolderStatus::Held { liveness, window } = status else {
            return Ok(None);
        };
        let Some(retry_after) = self.window_left(context, window, Subject::Record, &top.bytes) else {
            return Ok(None);
        };
        let near = top.record.as_ref().filter(|record| record.process.is_near());
        Ok(Some(Blocker {
            holder: top.record.as_ref().map(|record| record.holder()),
            liveness,
            process: near.map(|record| record.process.pid),
            retry_after,
            is_foreign: false,
        }))
    }

    /// Whether a directory blocks this attempt, checked before it links a record. A record that exists while we wait
    /// would block all others and look like the holder. It would remain if our process were stopped.
    pub(super) fn judge_existing_directory(
        &mut self,
        context: &AttemptContext,
        top: Option<&TopRecord>,
        guard: Option<GuardId>,
    ) -> Result<Option<Blocker>> {
        let Some(found) = lock_directory::read(&context.lock, Some(&context.neighbours))? else {
            return Ok(None);
        };
        let supersedes = |record: &Record| top.is_some_and(|top| top.reaches(record));
        let is_orphan = top.is_some_and(|top| !top.is_free);
        let (blocker, _) = self.judge_directory(context, &found, supersedes, is_orphan, guard)?;
        if blocker.is_none() && !found.has_record() {
            // Another user's directory that no longer blocks cannot be removed.
            found.check(&context.neighbours)?;
        }
        Ok(blocker)
    }

    /// Whether a lock directory blocks this attempt, and its holder. `supersedes` returns whether a record belongs to
    /// an earlier holder that the acquirer succeeds.
    pub(super) fn judge_directory(
        &mut self,
        context: &AttemptContext,
        found: &LockDirectory,
        supersedes: impl Fn(&Record) -> bool,
        is_orphan: bool,
        guard: Option<GuardId>,
    ) -> Result<(Option<Blocker>, Holder)> {
        let is_local = context.filesystem.trusted;
        let window = context.request.foreign_stale;
        let (status, holder) = liveness::of_directory(found, supersedes, is_orphan, guard, is_local, window);
        let blocker = self.blocker(context, status, holder.clone(), found)?;
        Ok((blocker, holder))
    }

    /// Describes the blocker, if the directory still blocks. A directory that is not a lock directory of warmswap or
    /// another program is never taken over. An ordinary directory is an error.
    fn blocker(
        &mut self,
        context: &AttemptContext,
        status: HolderStatus,
        mut holder: Holder,
        found: &LockDirectory,
    ) -> Result<Option<Blocker>> {
        let (liveness, retry_after) = match status {
            HolderStatus::Held { liveness, window } => {
                let left = self.window_left(context, window, Subject::Directory, &found.evidence);
                (liveness, left)
            }
            HolderStatus::Dead => (Liveness::Dead, None),
        };
        let (note, retry_after) = if found.has_record() && retry_after.is_some() {
            (None, retry_after)
        } else {
            match found.extra()? {
                Extra::Folder(names) => return Err(found.is_a_folder(&names)),
                // Never counts as stale.
                Extra::Files(names) => (Some(found.note(&names)), retry_after.or(Some(None))),
                Extra::Nothing if retry_after == Some(None) && found.is_unreadable() => {
                    (Some(found.note(&[])), retry_after)
                }
                Extra::Nothing => (None, retry_after),
            }
        };
        holder.note = note;
        Ok(retry_after.map(|retry_after| Blocker {
            process: holder.pid,
            holder: Some(holder),
            liveness,
            retry_after,
            is_foreign: true,
        }))
    }

    /// Returns `None` if the window is over. Otherwise returns the remaining time, or `Some(None)` if the window never
    /// ends.
    #[expect(
        clippy::option_option,
        reason = "the outer option is 'not over', the inner one 'has an end'"
    )]
    fn window_left(
        &mut self,
        context: &AttemptContext,
        window: Option<Duration>,
        subject: Subject,
        evidence: &[u8],
    ) -> Option<Option<Duration>> {
        let Some(window) = window else {
            return Some(None);
        };
        let unchanged = self
            .tracker
            .unchanged_for(&context.lock, &context.neighbours, subject, evidence);
        (unchanged < window).then(|| Some(window.saturating_sub(unchanged)))
    }
}

/// Whether children that have the descriptor keep the lock. They send no heartbeats, and they outlive the process or
/// thread that acquired the lock. Acquirers in lease mode therefore also test the guard. `None` if the guard proves
/// nothing.
fn is_kept_by_children(context: &AttemptContext, record: &Record) -> Result<Option<bool>> {
    if !record.covers_children || !context.filesystem.trusted || !record.process.is_near() {
        return Ok(None);
    }
    if child_file::is_needed() && child_file::is_open(&context.lock.children(&record.token))? {
        return Ok(Some(true));
    }
    match record.guard {
        Some(id) if context.mode == LockMode::Lease => guard_file::is_busy(&context.lock, id),
        _ => Ok(None),
    }
}
