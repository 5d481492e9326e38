//! One taker on its way to the lock: each step looks at the truth, takes what is free, and otherwise says
//! who is in the way and what to watch. Nothing here waits.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use super::alarm;
use super::guard_file::{self, Attempted, Guard, GuardFile};
use super::handle::{Claim, Held};
use super::heartbeat;
use super::heirs::Heirs;
use super::inspect::survey;
use super::liveness::{self, Liveness, Standing};
use super::lock_directory::{self, Extra, Found};
use super::neighbours::Neighbours;
use super::path::LockPath;
use super::record::{GuardId, Holder, Lease, Mode, OwnerFormat, Record, VERSION};
use super::record_file::Written;
use super::record_log::{self, Highest, MAX_NUMBER, Numbered, Top};
use super::staleness::{self, Observer, Subject};
use super::{Goal, ModeChoice, Request};
use crate::core::error::{Code, Error, Result};
use crate::core::sys::filesystem::Filesystem;
use crate::core::sys::{clock, fs, identity};

/// Why a step did not get the lock.
#[derive(Debug, Clone)]
pub(super) struct Blocker {
    pub(super) holder: Option<Holder>,
    pub(super) liveness: Liveness,
    /// A process of this machine whose end is worth a look.
    pub(super) process: Option<u32>,
    /// A window of unchanged evidence that ends then.
    pub(super) look_again: Option<Duration>,
    /// The lock directory of another program is in the way.
    pub(super) is_foreign: bool,
}

/// How a step ended.
pub(super) enum Step {
    Taken(Arc<Held>),
    /// Nobody holds it; what a dead holder had left is removed.
    Vacant {
        orphaned: bool,
    },
    Blocked(Box<Blocker>),
}

/// One taker.
pub(super) struct Attempt {
    lock: LockPath,
    request: Arc<Request>,
    neighbours: Arc<Neighbours>,
    filesystem: Filesystem,
    device: u64,
    mode: Mode,
    /// Open, not locked: closing it would wake the other waiters.
    guard: Option<GuardFile>,
    observer: Observer,
    heirs: Heirs,
}

impl Attempt {
    /// Decides the mode by the filesystem, before any lock call.
    pub(super) fn new(lock: &LockPath, request: Arc<Request>) -> Result<Self> {
        let filesystem = lock.filesystem()?;
        let mode = match request.mode {
            ModeChoice::Lease => Mode::Lease,
            ModeChoice::Auto if !filesystem.trusted => Mode::Lease,
            ModeChoice::Kernel if !filesystem.trusted => return Err(untrusted(lock, filesystem)),
            ModeChoice::Auto | ModeChoice::Kernel => Mode::Kernel,
        };
        if mode == Mode::Lease && request.covers_children {
            return Err(needs_kernel_mode(lock, filesystem));
        }
        let parent = fs::stat_followed(lock.parent())?;
        let device = parent.device;
        heartbeat::start(device)?;
        alarm::start()?;
        Ok(Self {
            lock: lock.clone(),
            request,
            neighbours: Arc::new(Neighbours::new(lock.parent(), parent)),
            filesystem,
            device,
            mode,
            guard: None,
            observer: Observer::default(),
            heirs: Heirs::default(),
        })
    }

    pub(super) fn mode(&self) -> Mode {
        self.mode
    }

    /// Takes the lock on the caller's own thread, where that waits for nothing: in memory, while the lock is free. `None`
    /// otherwise.
    pub(super) fn take_now(mut self) -> Result<Option<Arc<Held>>> {
        if self.mode != Mode::Kernel || !self.filesystem.is_in_memory() {
            return Ok(None);
        }
        match self.step()? {
            Step::Taken(held) => Ok(Some(held)),
            Step::Vacant { .. } | Step::Blocked(_) => Ok(None),
        }
    }

    /// Says that somebody waits, to those who come and find the lock free.
    pub(super) fn stand_in_line(&mut self) {
        if let Some(guard) = &mut self.guard {
            guard.stand_in_line();
        }
    }

    /// Goes on with the open guard of a taker that gave up, and with what it has seen.
    pub(super) fn inherit(&mut self, earlier: &mut Self) {
        self.guard = earlier.guard.take();
        self.observer = std::mem::take(&mut earlier.observer);
        self.heirs = std::mem::take(&mut earlier.heirs);
    }

    /// Looks once.
    pub(super) fn step(&mut self) -> Result<Step> {
        match self.look() {
            // Deleted while we were at it: by a user with all the locks, or our directory as litter.
            Err(error) if error.is_not_found() => {
                fs::create_directories(self.lock.parent())?;
                self.neighbours = Arc::new(Neighbours::of(self.lock.parent())?);
                self.look()
            }
            step => step,
        }
    }

    fn look(&mut self) -> Result<Step> {
        match self.request.goal {
            Goal::Take => self.take(),
            Goal::Vacancy => self.look_for_vacancy(),
        }
    }

    /// Takes the lock only to clear away what nobody living has.
    fn look_for_vacancy(&mut self) -> Result<Step> {
        let (found, directory) = survey(&self.lock, &mut self.heirs)?;
        if let Some(directory) = directory {
            directory.refuse_folder()?;
        }
        let Some(holder) = found.holder else {
            return Ok(Step::Vacant { orphaned: false });
        };
        match self.take() {
            Ok(Step::Taken(held)) => {
                held.release(None);
                Ok(Step::Vacant {
                    orphaned: held.took_over_from().is_some(),
                })
            }
            // Also who may only read here waits for the living.
            Err(error) if is_refused(&error) && found.liveness == Some(Liveness::Alive) => {
                Ok(Step::Blocked(Box::new(Blocker {
                    process: holder.pid,
                    is_foreign: holder.format != OwnerFormat::Warmswap,
                    holder: Some(holder),
                    liveness: Liveness::Alive,
                    look_again: None,
                })))
            }
            step => step,
        }
    }

    fn take(&mut self) -> Result<Step> {
        loop {
            let claim = match self.take_record()? {
                Took::Record(claim) => claim,
                Took::Nothing => continue,
                Took::Blocked(blocker) => return Ok(Step::Blocked(blocker)),
            };
            if let Some(blocker) = self.publish(&claim)? {
                // It came in between.
                claim.release(None);
                return Ok(Step::Blocked(Box::new(blocker)));
            }
            if claim.took_over_from().is_some() {
                staleness::forget(&self.lock, &self.neighbours);
            }
            return Ok(Step::Taken(claim));
        }
    }

    /// Takes the next number if nobody stands in the way.
    fn take_record(&mut self) -> Result<Took> {
        let guard = match self.mode {
            Mode::Lease => None,
            Mode::Kernel => match self.lock_guard()? {
                Locked::Yes(guard) => Some(guard),
                Locked::Busy => return Ok(Took::Blocked(Box::new(self.describe_holder()?))),
                Locked::Unsupported if self.request.covers_children => {
                    return Err(needs_kernel_mode(&self.lock, self.filesystem));
                }
                Locked::Unsupported => {
                    self.mode = Mode::Lease;
                    None
                }
            },
        };
        let (numbered, highest) = Numbered::look(&self.lock, Some(&self.neighbours))?;
        let blocker = match &highest.top {
            Some(top) => self.judge(top, guard.as_ref())?,
            None => None,
        };
        let blocker = match blocker {
            None => self.judge_standing_directory(highest.top.as_ref(), guard.as_ref())?,
            blocker => blocker,
        };
        if let Some(blocker) = blocker {
            self.guard = guard.map(Guard::unlock).transpose()?;
            return Ok(Took::Blocked(Box::new(blocker)));
        }
        let claim = self.link_record(numbered, highest, guard)?;
        Ok(claim.map_or(Took::Nothing, Took::Record))
    }

    fn lock_guard(&mut self) -> Result<Locked> {
        loop {
            let file = match self.guard.take() {
                Some(file) => file,
                None => GuardFile::open(&self.lock, &self.neighbours)?,
            };
            match file.attempt() {
                Ok(Attempted::Locked(guard)) => return Ok(Locked::Yes(guard)),
                Ok(Attempted::Busy(file)) => {
                    self.guard = Some(file);
                    return Ok(Locked::Busy);
                }
                Ok(Attempted::Replaced) => {}
                Err(error) if self.request.mode == ModeChoice::Auto && lacks_flock(&error) => {
                    return Ok(Locked::Unsupported);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Whether a directory keeps us out, asked before there is a record of ours: one that stood while we wait would keep
    /// everybody out, be what others take for the holder, and stay if our process were stopped.
    fn judge_standing_directory(
        &mut self,
        top: Option<&Top>,
        guard: Option<&Guard>,
    ) -> Result<Option<Blocker>> {
        let Some(found) = lock_directory::look(&self.lock, Some(&self.neighbours))? else {
            return Ok(None);
        };
        let follows = |record: &Record| top.is_some_and(|top| top.reaches(record));
        let is_orphan = top.is_some_and(|top| !top.is_free);
        let (standing, holder) = self.judge_directory(&found, follows, is_orphan, guard.map(Guard::id));
        let blocker = self.blocker(standing, holder, &found)?;
        if blocker.is_none() && !found.is_ours() {
            self.check_may_be_removed(&found)?;
        }
        Ok(blocker)
    }

    /// `ERR_UNTRUSTED` where another user's directory is in the way that nobody waits for any more.
    fn check_may_be_removed(&self, found: &Found) -> Result<()> {
        found.check(&self.neighbours)
    }

    /// Who has the guard. Its record may not be there yet, or be given back already.
    fn describe_holder(&mut self) -> Result<Blocker> {
        let (found, _) = survey(&self.lock, &mut self.heirs)?;
        let liveness = found.liveness.unwrap_or(Liveness::Unknown);
        Ok(Blocker {
            // Its end is seen by the guard too, but not where the user's inotify instances are used up.
            process: found
                .holder
                .as_ref()
                .filter(|_| liveness == Liveness::Alive)
                .and_then(|holder| holder.pid),
            holder: found.holder,
            liveness,
            look_again: None,
            is_foreign: false,
        })
    }

    /// Whether the highest record keeps us out.
    fn judge(&mut self, top: &Top, guard: Option<&Guard>) -> Result<Option<Blocker>> {
        if top.is_free {
            return Ok(None);
        }
        if let Some(record) = &top.record
            && let Some(is_kept) = self.is_kept_by_children(record)?
        {
            if !is_kept {
                return Ok(None);
            }
            let holder = self.heirs.holder(&self.lock, record);
            return Ok(Some(Blocker {
                process: holder.pid,
                holder: Some(holder),
                liveness: Liveness::Alive,
                look_again: None,
                is_foreign: false,
            }));
        }
        let standing = liveness::of_record(top.record.as_deref(), guard.map(Guard::id));
        let Standing::Held { liveness, window } = standing else {
            return Ok(None);
        };
        let Some(look_again) = self.window_left(window, Subject::Record, &top.bytes) else {
            return Ok(None);
        };
        let near = top.record.as_ref().filter(|record| record.process.is_near());
        Ok(Some(Blocker {
            holder: top.record.as_ref().map(|record| record.holder()),
            liveness,
            process: near.map(|record| record.process.pid),
            look_again,
            is_foreign: false,
        }))
    }

    /// Children that have the descriptor beat for nobody, and outlive their process, or only the thread of it that had
    /// the lock: also who takes by lease asks the guard. `None` where it says nothing.
    fn is_kept_by_children(&self, record: &Record) -> Result<Option<bool>> {
        let is_asked = self.mode == Mode::Lease
            && record.covers_children
            && self.filesystem.trusted
            && record.process.is_near();
        match record.guard {
            Some(id) if is_asked => guard_file::is_busy(&self.lock, id),
            _ => Ok(None),
        }
    }

    /// `None` where the window is over; else what is left of it, if it has an end.
    #[expect(
        clippy::option_option,
        reason = "the outer one is 'over', the inner one 'has an end'"
    )]
    fn window_left(
        &mut self,
        window: Option<Duration>,
        subject: Subject,
        evidence: &[u8],
    ) -> Option<Option<Duration>> {
        let Some(window) = window else {
            return Some(None);
        };
        let unchanged = self
            .observer
            .unchanged_for(&self.lock, &self.neighbours, subject, evidence);
        (unchanged < window).then(|| Some(window.saturating_sub(unchanged)))
    }

    /// `None` where another taker was faster.
    fn link_record(
        &mut self,
        numbered: Option<Numbered>,
        highest: Highest,
        guard: Option<Guard>,
    ) -> Result<Option<Arc<Held>>> {
        let Highest { top, taken } = highest;
        let n = taken + 1;
        if n > MAX_NUMBER {
            return Err(record_log::exhausted(&self.lock));
        }
        let is_orphan = top.as_ref().is_some_and(|top| !top.is_free);
        let predecessor = top.and_then(|top| top.record);
        let record = self.make_record(n, predecessor.as_deref(), guard.as_ref());
        let prepared = self.lock.prepared(&record.token);
        let begun = identity::boot_micros();
        let taken = self.prepare_and_link(&record, numbered, &prepared, guard.as_ref());
        if !matches!(taken, Ok(Some(_))) {
            // Also where the disk is full: nothing stays behind. What cannot be removed is swept later.
            let _swept_later = lock_directory::discard(&prepared);
        }
        let Some((numbered, written)) = taken? else {
            // The file stays open where it is still the guard, so that nobody is woken for nothing.
            self.guard = guard.map(Guard::unlock).transpose()?;
            return Ok(None);
        };
        let claim = Claim {
            lock: self.lock.clone(),
            neighbours: Arc::clone(&self.neighbours),
            numbered,
            record,
            written,
            guard,
            is_orphan,
            predecessor,
            request: Arc::clone(&self.request),
            device: self.device,
            begun,
        };
        Ok(Some(Held::start(claim)))
    }

    /// `None` where another taker was faster.
    fn prepare_and_link(
        &self,
        record: &Record,
        numbered: Option<Numbered>,
        prepared: &std::path::Path,
        guard: Option<&Guard>,
    ) -> Result<Option<(Numbered, Written)>> {
        record.assert_has_room()?;
        let finished = lock_directory::prepare(&self.lock, prepared, &record.to_bytes()?, &self.neighbours)?;
        let numbered = match numbered {
            Some(numbered) => Some(numbered),
            None => Numbered::open_or_make(&self.lock, &self.neighbours)?,
        };
        let Some(numbered) = numbered else {
            return Ok(None);
        };
        if !numbered.link(&finished, record.n)? {
            return Ok(None);
        }
        let settled = self.settle(&numbered, record, guard);
        if !matches!(settled, Ok(true)) {
            numbered.remove(record.n)?;
        }
        Ok(settled?.then_some((numbered, finished.written)))
    }

    /// A slow taker can link a number whose owner has long been followed and removed, and a guard may have
    /// been deleted and made anew while we took it.
    fn settle(&self, numbered: &Numbered, record: &Record, guard: Option<&Guard>) -> Result<bool> {
        if let Some(guard) = guard
            && !guard.is_current()?
        {
            return Ok(false);
        }
        numbered.settle(record.n, self.mode)
    }

    fn make_record(&self, n: u64, predecessor: Option<&Record>, guard: Option<&Guard>) -> Record {
        // Microseconds: on tmpfs a path is taken more than once a millisecond, and the first generation after the
        // files were deleted must be greater than the last one before.
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
            mode: self.mode,
            guard: guard.map(Guard::id),
            thread_id: self.request.thread_id,
            fs_type: self.filesystem.name.to_owned(),
            lease: Lease {
                ttl_ms: u64::try_from(self.request.lease_ttl.as_millis()).unwrap_or(u64::MAX),
                seq: 0,
            },
            cmd: shortened(identity::command()),
            cwd: std::env::current_dir().map_or_else(
                |_| String::new(),
                |path| shortened(path.to_string_lossy().into_owned()),
            ),
            meta: self.request.metadata.clone(),
            progress: None,
            covers_children: self.request.covers_children,
            failure: predecessor.and_then(|record| record.failure.clone()),
        }
    }

    /// Makes the lock directory appear. What a dead predecessor of ours left is moved away, and another program's if it
    /// keeps nobody out. Who stands in the way where it does.
    fn publish(&mut self, claim: &Arc<Held>) -> Result<Option<Blocker>> {
        loop {
            if claim.publish()? {
                return Ok(None);
            }
            let Some(found) = lock_directory::look(&self.lock, Some(&self.neighbours))? else {
                continue;
            };
            let follows = |record: &Record| claim.follows(record);
            let (standing, holder) =
                self.judge_directory(&found, follows, claim.is_orphan(), claim.guard_id());
            if let Some(blocker) = self.blocker(standing, holder.clone(), &found)? {
                return Ok(Some(blocker));
            }
            match lock_directory::bury(&self.lock, &found, &self.neighbours) {
                Ok(false) => {}
                Ok(true) => claim.note_orphan(holder),
                // Another user's: it stays. Among ourselves it decides nothing, and whoever knows nothing else is kept out
                // by it as well as by ours.
                Err(error) if found.is_ours() && is_anothers(&error) => {
                    claim.note_orphan(holder);
                    return Ok(None);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Who stands in the way, if what was found still keeps others out. What is no lock directory of this or another
    /// program's kind is never taken over: an error where it is an ordinary folder.
    fn blocker(&mut self, standing: Standing, mut holder: Holder, found: &Found) -> Result<Option<Blocker>> {
        let (liveness, look_again) = match standing {
            Standing::Held { liveness, window } => {
                let left = self.window_left(window, Subject::Directory, &found.evidence);
                (liveness, left)
            }
            Standing::Dead => (Liveness::Dead, None),
        };
        let (note, look_again) = if found.is_ours() && look_again.is_some() {
            (None, look_again)
        } else {
            match found.extra()? {
                Extra::Folder(names) => return Err(found.is_a_folder(&names)),
                // Never over.
                Extra::Files(names) => (Some(found.note(&names)), look_again.or(Some(None))),
                Extra::Nothing if look_again == Some(None) && found.is_unreadable() => {
                    (Some(found.note(&[])), look_again)
                }
                Extra::Nothing => (None, look_again),
            }
        };
        holder.note = note;
        Ok(look_again.map(|look_again| Blocker {
            process: holder.pid,
            holder: Some(holder),
            liveness,
            look_again,
            is_foreign: true,
        }))
    }

    /// `follows` says which records are of holders that the taker follows.
    fn judge_directory(
        &self,
        found: &Found,
        follows: impl Fn(&Record) -> bool,
        is_orphan: bool,
        guard: Option<GuardId>,
    ) -> (Standing, Holder) {
        let is_local = self.filesystem.trusted;
        let window = self.request.foreign_stale;
        liveness::of_directory(found, follows, is_orphan, guard, is_local, window)
    }
}

enum Took {
    Record(Arc<Held>),
    /// Another taker was faster.
    Nothing,
    Blocked(Box<Blocker>),
}

enum Locked {
    Yes(Guard),
    Busy,
    Unsupported,
}

/// A sticky directory does not let go of another user's entry, and this library does not move one.
fn is_anothers(error: &Error) -> bool {
    error.code == Code::Untrusted || error.kind() == Some(ErrorKind::PermissionDenied)
}

fn is_refused(error: &Error) -> bool {
    matches!(
        error.kind(),
        Some(ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem)
    )
}

/// Command lines and directories for people: the start tells enough.
fn shortened(text: String) -> String {
    const LONGEST: usize = 512;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// The kernel says that this filesystem has no flock: a lease then, never a lock that is only pretended.
fn lacks_flock(error: &Error) -> bool {
    use rustix::io::Errno;
    error.op == Some("flock")
        && [
            Errno::INVAL,
            Errno::NOSYS,
            Errno::NOLCK,
            Errno::NOTSUP,
            Errno::OPNOTSUPP,
        ]
        .iter()
        .any(|each| error.errno() == Some(each.raw_os_error()))
}

fn untrusted(lock: &LockPath, filesystem: Filesystem) -> Error {
    let message = format!(
        "options.mode is 'kernel', and the flock of {} ('{}') does not exclude between all who see it: use mode 'auto' or 'lease', or a lock path on a local filesystem",
        filesystem.name,
        lock.parent().display()
    );
    Error::new(Code::Unsupported, message).at(lock.directory())
}

fn needs_kernel_mode(lock: &LockPath, filesystem: Filesystem) -> Error {
    let message = format!(
        "options.coverChildren needs kernel mode, and '{}' on {} is locked by lease: a child cannot renew it",
        lock.directory().display(),
        filesystem.name
    );
    Error::new(Code::Unsupported, message).at(lock.directory())
}
