//! One taker on its way to the lock: each step looks at the truth, takes what is free, and otherwise says
//! who is in the way and what to watch. Nothing here waits.

use std::sync::Arc;
use std::time::Duration;

use super::directory::{self, Found};
use super::guard::{Attempted, Guard, GuardFile};
use super::held::{Claim, Held};
use super::inspect::inspect;
use super::numbered::{Numbered, Top};
use super::observation;
use super::paths::LockPath;
use super::record::{Contents, Holder, Lease, Mode, OwnerFormat, Record, VERSION};
use super::verdict::{self, Liveness, OWNERLESS_WINDOW, Standing};
use super::{Goal, ModeChoice, Request};
use crate::core::error::{Code, Error, Result};
use crate::core::sys::filesystem::{self, Filesystem};
use crate::core::sys::{clock, fault, fs, identity};

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
    numbered: Numbered,
    filesystem: Filesystem,
    mode: Mode,
    /// Open, not locked: closing it would wake the other waiters.
    guard: Option<GuardFile>,
    /// Our record stands; another program's directory is in the way.
    claim: Option<Arc<Held>>,
}

impl Attempt {
    /// Makes the parent directory and decides the mode by its filesystem, before any lock call.
    pub(super) fn new(lock: &LockPath, request: Arc<Request>) -> Result<Self> {
        fs::create_directories(lock.parent())?;
        let filesystem = filesystem::of(lock.parent())?;
        let mode = match request.mode {
            ModeChoice::Lease => Mode::Lease,
            ModeChoice::Auto if !filesystem.trusted => Mode::Lease,
            ModeChoice::Kernel if !filesystem.trusted => return Err(untrusted(lock, filesystem)),
            ModeChoice::Auto | ModeChoice::Kernel => Mode::Kernel,
        };
        if mode == Mode::Lease && request.covers_children {
            return Err(needs_kernel_mode(lock, filesystem));
        }
        Ok(Self {
            lock: lock.clone(),
            request,
            numbered: Numbered::of(lock),
            filesystem,
            mode,
            guard: None,
            claim: None,
        })
    }

    pub(super) fn mode(&self) -> Mode {
        self.mode
    }

    /// Goes on with the open guard of a taker that gave up.
    pub(super) fn inherit(&mut self, earlier: &mut Self) {
        self.guard = earlier.guard.take();
    }

    /// Looks once.
    pub(super) fn step(&mut self) -> Result<Step> {
        match self.request.goal {
            Goal::Take => self.take(),
            Goal::Vacancy => self.look_for_vacancy(),
        }
    }

    /// Takes the lock only to clear away what nobody living has.
    fn look_for_vacancy(&mut self) -> Result<Step> {
        let found = inspect(&self.lock)?;
        match (found.holder, found.liveness) {
            (Some(holder), Some(Liveness::Alive)) => {
                let is_foreign = holder.format != OwnerFormat::Warmswap;
                Ok(Step::Blocked(Box::new(Blocker {
                    process: holder.pid,
                    holder: Some(holder),
                    liveness: Liveness::Alive,
                    look_again: None,
                    is_foreign,
                })))
            }
            (Some(_), _) => Ok(match self.take()? {
                Step::Taken(held) => {
                    held.release(None);
                    Step::Vacant {
                        orphaned: held.took_over_from().is_some(),
                    }
                }
                step => step,
            }),
            (None, _) => Ok(Step::Vacant { orphaned: false }),
        }
    }

    fn take(&mut self) -> Result<Step> {
        loop {
            if self.claim.as_ref().is_some_and(|claim| claim.is_lost()) {
                self.claim = None;
            }
            if self.claim.is_none()
                && let Some(blocker) = self.take_record()?
            {
                return Ok(Step::Blocked(Box::new(blocker)));
            }
            let Some(claim) = self.claim.clone() else { continue };
            match self.publish(&claim)? {
                Published::Yes => {
                    self.claim = None;
                    return Ok(Step::Taken(claim));
                }
                Published::Blocked(blocker) => return Ok(Step::Blocked(blocker)),
                Published::Again => {}
            }
        }
    }

    /// Takes the next number if nobody stands in the way. Leaves `self.claim` empty where another taker was
    /// faster: the caller tries again.
    fn take_record(&mut self) -> Result<Option<Blocker>> {
        let guard = match self.mode {
            Mode::Lease => None,
            Mode::Kernel => match self.lock_guard()? {
                Locked::Yes(guard) => Some(guard),
                Locked::Busy => return self.describe_holder().map(Some),
                Locked::Unsupported => {
                    self.mode = Mode::Lease;
                    None
                }
            },
        };
        let top = self.numbered.top()?;
        if let Some(top) = &top
            && let Some(blocker) = self.judge(top, guard.as_ref())?
        {
            self.guard = guard.map(Guard::unlock).transpose()?;
            return Ok(Some(blocker));
        }
        self.link_record(top, guard)?;
        Ok(None)
    }

    fn lock_guard(&mut self) -> Result<Locked> {
        loop {
            let file = match self.guard.take() {
                Some(file) => file,
                None => GuardFile::open(&self.lock.guard())?,
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

    /// Who has the guard. Its record may not be there yet, or be given back already.
    fn describe_holder(&self) -> Result<Blocker> {
        let record = self.numbered.top()?.and_then(|top| top.record);
        let record = record.filter(|record| !record.released);
        let liveness = match &record {
            Some(record) => record.process.liveness(),
            None => Liveness::Unknown,
        };
        Ok(Blocker {
            holder: record.map(|record| record.holder()),
            liveness,
            process: None,
            look_again: None,
            is_foreign: false,
        })
    }

    /// Whether the highest record keeps us out.
    fn judge(&self, top: &Top, guard: Option<&Guard>) -> Result<Option<Blocker>> {
        let standing = verdict::of_record(top.record.as_deref(), guard.map(Guard::id));
        let Standing::Held { liveness, window } = standing else {
            return Ok(None);
        };
        let Some(look_again) = self.window_left(window, &top.bytes)? else {
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

    /// `None` where the window is over; else what is left of it, if it has an end.
    #[expect(
        clippy::option_option,
        reason = "the outer one is 'over', the inner one 'has an end'"
    )]
    fn window_left(&self, window: Option<Duration>, evidence: &[u8]) -> Result<Option<Option<Duration>>> {
        let Some(window) = window else {
            return Ok(Some(None));
        };
        let unchanged = observation::unchanged_for(&self.lock, evidence)?;
        Ok((unchanged < window).then(|| Some(window.saturating_sub(unchanged))))
    }

    fn link_record(&mut self, top: Option<Top>, guard: Option<Guard>) -> Result<()> {
        let n = top.as_ref().map_or(0, |top| top.n) + 1;
        let predecessor = top.and_then(|top| top.record);
        let record = self.make_record(n, predecessor.as_deref(), guard.as_ref());
        let prepared = self.lock.prepared(&record.token);
        let taken = self.prepare_and_link(&record, &prepared, guard.as_ref());
        if !matches!(taken, Ok(true)) {
            // Also where the disk is full: nothing stays behind. What cannot be removed is swept later.
            let _swept_later = fs::remove_tree(&prepared);
        }
        if !taken? {
            // The file stays open where it is still the guard, so that nobody is woken for nothing.
            self.guard = guard.map(Guard::unlock).transpose()?;
            return Ok(());
        }
        let claim = Claim {
            lock: self.lock.clone(),
            record,
            guard,
            predecessor,
            request: Arc::clone(&self.request),
        };
        self.claim = Some(Held::start(claim));
        Ok(())
    }

    fn prepare_and_link(
        &self,
        record: &Record,
        prepared: &std::path::Path,
        guard: Option<&Guard>,
    ) -> Result<bool> {
        directory::prepare(prepared, &record.to_bytes()?)?;
        self.numbered.ensure_directory()?;
        if !self.numbered.link(&prepared.join("owner.json"), record.n)? {
            return Ok(false);
        }
        let settled = self.settle(record, guard);
        if !matches!(settled, Ok(true)) {
            self.numbered.remove(record.n)?;
        }
        settled
    }

    fn settle(&self, record: &Record, guard: Option<&Guard>) -> Result<bool> {
        if !self.is_highest(record, guard)? {
            return Ok(false);
        }
        self.numbered.remove_below(record.n)?;
        observation::forget(&self.lock)?;
        Ok(true)
    }

    /// A slow taker can link a number whose owner has long been followed and removed, and a guard may have
    /// been deleted and made anew while we took it.
    fn is_highest(&self, record: &Record, guard: Option<&Guard>) -> Result<bool> {
        if fault::mutant("lock-no-check-after-link") {
            return Ok(true);
        }
        if let Some(guard) = guard
            && !guard.is_current()?
        {
            return Ok(false);
        }
        Ok(self.numbered.numbers()?.into_iter().max() == Some(record.n))
    }

    fn make_record(&self, n: u64, predecessor: Option<&Record>, guard: Option<&Guard>) -> Record {
        // Microseconds: on tmpfs a path is taken more than once a millisecond, and the first generation after the
        // files were deleted must be greater than the last one before.
        let base = predecessor.map_or_else(clock::wall_micros, |record| record.base);
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
            released: false,
            failure: None,
        }
    }

    /// Makes the lock directory appear. What a dead predecessor of ours left is moved away; another program's
    /// is waited for while our record stands, so that only one of us looks at it.
    fn publish(&self, claim: &Arc<Held>) -> Result<Published> {
        if claim.publish()? {
            return Ok(Published::Yes);
        }
        let Some(found) = directory::look(&self.lock)? else {
            return Ok(Published::Again);
        };
        let (standing, holder) = self.judge_directory(claim, &found);
        if let Standing::Held { liveness, window } = standing
            && let Some(look_again) = self.window_left(window, &found.evidence)?
        {
            return Ok(Published::Blocked(Box::new(Blocker {
                process: holder.pid,
                holder: Some(holder),
                liveness,
                look_again,
                is_foreign: true,
            })));
        }
        if directory::bury(&self.lock, &found, &self.lock.tombstone(claim.token()))? {
            claim.note_orphan(holder);
            observation::forget(&self.lock)?;
        }
        Ok(Published::Again)
    }

    fn judge_directory(&self, claim: &Held, found: &Found) -> (Standing, Holder) {
        match &found.contents {
            Some(Contents::Record(record)) => {
                let standing = if claim.follows(record) {
                    Standing::Dead
                } else {
                    verdict::of_record(Some(record), claim.guard_id())
                };
                (standing, record.holder())
            }
            Some(Contents::Foreign(owner)) => {
                let window = self.request.foreign_stale;
                (
                    verdict::of_foreign(owner, self.filesystem.trusted, window),
                    owner.holder(),
                )
            }
            Some(Contents::Unreadable) => (held_unknown(self.request.foreign_stale), Holder::ownerless()),
            None => {
                let window = OWNERLESS_WINDOW.min(self.request.foreign_stale);
                (held_unknown(window), Holder::ownerless())
            }
        }
    }
}

enum Locked {
    Yes(Guard),
    Busy,
    Unsupported,
}

enum Published {
    Yes,
    Blocked(Box<Blocker>),
    Again,
}

fn held_unknown(window: Duration) -> Standing {
    Standing::Held {
        liveness: Liveness::Unknown,
        window: Some(window),
    }
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
