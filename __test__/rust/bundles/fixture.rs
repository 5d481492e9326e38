//! A store in a temporary directory, and the child program that works on it.

use std::collections::BTreeSet;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};
use std::time::Duration;

use warmswap::core::bundles::{Options, Patience, Store};
use warmswap::core::sys::cancel::Cancel;

use crate::forks::run_fork;

/// User that runs the children.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum User {
    Ours,
    /// Running as root hides mistakes with permissions.
    Nobody,
}

const NOBODY: u32 = 65_534;

/// Between its fork and its exec, a child has copies of our descriptors, including the locks that this process holds
/// while it inspects a store. Each start therefore holds this lock shared, and a test that inspects a store holds it
/// exclusively. Otherwise a copy that outlives the inspection would keep a generation from being collected.
static STARTS: RwLock<()> = RwLock::new(());

/// Starts a program. The program has been executed when this returns.
pub(crate) fn start(command: &mut Command) -> std::io::Result<Child> {
    let _shared = STARTS.read().unwrap_or_else(PoisonError::into_inner);
    command.spawn()
}

/// Runs `look` while no program is being started.
fn without_starts<T>(look: impl FnOnce() -> T) -> T {
    let _alone = STARTS.write().unwrap_or_else(PoisonError::into_inner);
    look()
}

fn wait_for<T>(call: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build();
    runtime.expect("a runtime").block_on(call)
}

fn patience() -> Patience {
    Patience::for_at_most(Duration::from_secs(20))
}

/// A temporary directory, in memory unless a disk is requested.
pub(crate) struct Fixture {
    folder: tempfile::TempDir,
    root: PathBuf,
    user: User,
    /// Copy of the child program that user nobody may run.
    program: Option<Arc<tempfile::TempDir>>,
    /// Whether the store is opened with the link `dist` next to it.
    linked: bool,
}

/// Output and status of a child.
pub(crate) struct Outcome {
    pub(crate) output: String,
    pub(crate) succeeded: bool,
}

impl Fixture {
    pub(crate) fn on(parent: &Path) -> Self {
        let folder = tempfile::tempdir_in(parent).expect("a temporary folder");
        Self {
            root: folder.path().join("store"),
            folder,
            user: User::Ours,
            program: None,
            linked: false,
        }
    }

    /// Returns `None` with a message if this process cannot become that user.
    pub(crate) fn of_user(parent: &Path, user: User) -> Option<Self> {
        if user == User::Ours {
            return Some(Self::on(parent));
        }
        if !rustix::process::geteuid().is_root() {
            not_run("as nobody: needs root");
            return None;
        }
        let fixture = Self {
            user,
            program: Some(program_for_nobody()),
            ..Self::on(parent)
        };
        std::os::unix::fs::chown(fixture.folder.path(), Some(NOBODY), Some(NOBODY)).expect("chown");
        Some(fixture)
    }

    /// Like a build that does not know warmswap.
    #[expect(clippy::disallowed_methods, reason = "a directory of another program")]
    pub(crate) fn make_directory_in_place_of_link(&self) {
        std::fs::create_dir_all(self.path("dist/assets")).expect("a directory");
        for name in ["a.txt", "assets/b.txt"] {
            std::fs::write(self.path("dist").join(name), "of a stranger").expect("a file");
        }
    }

    /// Creates the output of a build outside the store.
    #[expect(clippy::disallowed_methods, reason = "as a tool does")]
    pub(crate) fn make_folder(&self, folder: &Path) {
        assert!(
            folder.starts_with(self.folder.path()),
            "it is removed with the fixture"
        );
        std::fs::create_dir_all(folder.join("assets")).expect("a directory");
        for name in ["a.txt", "assets/b.txt", "z.txt"] {
            std::fs::write(folder.join(name), "of a stranger").expect("a file");
        }
    }

    pub(crate) fn linked(self) -> Self {
        Self { linked: true, ..self }
    }

    pub(crate) fn in_memory() -> Self {
        Self::on(Path::new("/dev/shm"))
    }

    /// Creates a store with generations 1 and 2.
    pub(crate) fn with_two_generations() -> Self {
        let fixture = Self::in_memory();
        for _ in 0..2 {
            assert!(fixture.child(&["publish"], &[]).succeeded);
        }
        fixture
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn command(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Command {
        let ours = PathBuf::from(env!("CARGO_BIN_EXE_bundles-child"));
        let program = self
            .program
            .as_ref()
            .map_or(ours, |copy| copy.path().join("child"));
        let mut command = command_of(&program, &self.root, arguments, environment);
        if self.user == User::Nobody {
            command.uid(NOBODY).gid(NOBODY);
        }
        if self.linked {
            command.env("LINK", self.path("dist"));
        }
        command
    }

    /// Copies everything in the directory, as `cp -a` does.
    pub(crate) fn saved(&self) -> tempfile::TempDir {
        let copy =
            tempfile::tempdir_in(self.folder.path().parent().expect("a parent")).expect("a temporary folder");
        copy_contents(self.folder.path(), copy.path());
        copy
    }

    /// Replaces everything in the directory by what was saved.
    #[expect(clippy::disallowed_methods, reason = "the test changes the disk directly")]
    pub(crate) fn restore(&self, saved: &tempfile::TempDir) {
        for name in names(self.folder.path()) {
            let path = self.path(&name);
            if path.symlink_metadata().expect("metadata").is_dir() {
                std::fs::remove_dir_all(path).expect("removed");
            } else {
                std::fs::remove_file(path).expect("removed");
            }
        }
        copy_contents(saved.path(), self.folder.path());
    }

    /// Runs a child to its end.
    pub(crate) fn child(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Outcome {
        let mut command = self.command(arguments, environment);
        match self.user {
            User::Ours => run_fork(&command),
            User::Nobody => run_alone(&mut command),
        }
    }

    pub(crate) fn spawn(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Child {
        start(self.command(arguments, environment).stdin(Stdio::piped())).expect("the child")
    }

    fn open(&self) -> Arc<Store> {
        let root = self.root.to_str().expect("UTF-8").to_owned();
        wait_for(Store::open(root, Options::default(), &patience())).expect("open")
    }

    /// Number of the current generation. 0 if there is none.
    pub(crate) fn current(&self) -> u64 {
        without_starts(|| self.open().current().expect("readlink").unwrap_or(0))
    }

    /// Checks that the current generation is complete, byte for byte.
    pub(crate) fn assert_current_is_complete(&self, context: &str) -> u64 {
        without_starts(|| {
            let store = self.open();
            let problems = store
                .verify(None, &Cancel::new())
                .unwrap_or_else(|error| panic!("{context}: {error}"));
            assert_eq!(problems, [], "{context}");
            store.current().expect("readlink").expect("a generation")
        })
    }

    fn collect(&self) {
        without_starts(|| {
            wait_for(self.open().collect(&patience())).expect("collect");
        });
    }

    /// Checks that after a collection only the current generation and the kept ones exist.
    pub(crate) fn assert_no_leftovers(&self, context: &str) {
        self.collect();
        for folder in ["owners", "stage", "trash"] {
            assert_eq!(
                names(&self.root.join(folder)),
                BTreeSet::new(),
                "{context}: {folder}"
            );
        }
        let generations = names(&self.root.join("gens"));
        assert_eq!(
            generations,
            names(&self.root.join("pins")),
            "{context}: gens and pins"
        );
        assert!((1..=2).contains(&generations.len()), "{context}: {generations:?}");
        let mut expected: BTreeSet<String> = [
            "FORMAT",
            "boot",
            "config.json",
            "current",
            "current.json",
            "gens",
            "id",
            "owners",
            "pins",
            "stage",
            "trash",
            "writer.lock",
        ]
        .map(str::to_owned)
        .into();
        let found = names(&self.root);
        // A store whose creator was killed has no `.gitignore`.
        let mut optional = vec!["fence", ".gitignore"];
        if self.linked {
            expected.extend(["view", "views"].map(str::to_owned));
            optional.extend(["made.json", "set-aside"]);
        }
        let optional = optional.into_iter().map(str::to_owned);
        expected.extend(optional.filter(|name| found.contains(name)));
        assert_eq!(found, expected, "{context}");
        if self.linked {
            self.assert_link_alone(context);
        }
    }

    /// Checks that the target of links, if there is a view, has the bytes of this generation.
    pub(crate) fn assert_view_shows(&self, number: u64, context: &str) {
        #[expect(clippy::disallowed_methods, reason = "the test reads the disk directly")]
        let read = |path: String| std::fs::read(self.root.join(path)).expect(context);
        if names(&self.root).contains("view") {
            let generation = read(format!("gens/{number:06}/tree/a.txt"));
            assert!(read("view/a.txt".to_owned()) == generation, "{context}: the view");
        }
    }

    /// Checks that the other program's directory was set aside once, complete.
    pub(crate) fn assert_set_aside_once(&self, context: &str) {
        let folder = self.root.join("set-aside");
        let trees: Vec<String> = names(&folder).into_iter().collect();
        let [tree] = trees.as_slice() else {
            panic!("{context}: {trees:?}");
        };
        for name in ["a.txt", "assets/b.txt"] {
            #[expect(clippy::disallowed_methods, reason = "the test reads the disk directly")]
            let text = std::fs::read_to_string(folder.join(tree).join(name)).expect(context);
            assert_eq!(text, "of a stranger", "{context}: {name}");
        }
    }

    /// Checks that the link leads to the view, without temporary names next to it.
    fn assert_link_alone(&self, context: &str) {
        #[expect(clippy::disallowed_methods, reason = "the test reads the disk directly")]
        let target = std::fs::read_link(self.path("dist")).expect(context);
        assert_eq!(target, Path::new("store/view"), "{context}");
        // The linked view and the one before it, which belong to the kept generations.
        let views = names(&self.root.join("views"));
        assert!((1..=2).contains(&views.len()), "{context}: {views:?}");
        let beside = names(self.folder.path());
        let known = ["dist", "points", "store"];
        assert!(
            beside.iter().all(|name| known.contains(&name.as_str())),
            "{context}: {beside:?}"
        );
    }
}

fn copy_contents(from: &Path, to: &Path) {
    let copied =
        start(Command::new("cp").arg("-a").arg(from.join(".")).arg(to)).and_then(|mut child| child.wait());
    assert!(
        copied.is_ok_and(|status| status.success()),
        "a copy of {}",
        from.display()
    );
}

/// The build may be in a directory that only its owner can enter. All fixtures share one copy, which another process
/// creates. A file that this process had open for writing could not be executed while a thread forks.
fn program_for_nobody() -> Arc<tempfile::TempDir> {
    static COPY: Mutex<Weak<tempfile::TempDir>> = Mutex::new(Weak::new());
    let mut copy = COPY.lock().expect("not poisoned");
    if let Some(copy) = copy.upgrade() {
        return copy;
    }
    let folder = tempfile::Builder::new()
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .tempdir()
        .expect("a temporary folder");
    let copied = start(
        Command::new("cp")
            .arg(env!("CARGO_BIN_EXE_bundles-child"))
            .arg(folder.path().join("child")),
    )
    .and_then(|mut child| child.wait());
    assert!(copied.is_ok_and(|status| status.success()), "a copy of the child");
    let folder = Arc::new(folder);
    *copy = Arc::downgrade(&folder);
    folder
}

pub(crate) fn command(root: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Command {
    command_of(
        Path::new(env!("CARGO_BIN_EXE_bundles-child")),
        root,
        arguments,
        environment,
    )
}

fn command_of(program: &Path, root: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Command {
    let mut command = Command::new(program);
    command
        .arg(root)
        .args(arguments)
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    command
}

fn run_alone(command: &mut Command) -> Outcome {
    let child = start(command).expect("the child runs");
    let output = child.wait_with_output().expect("the child ends");
    Outcome {
        output: String::from_utf8_lossy(&output.stdout).into_owned(),
        succeeded: output.status.success(),
    }
}

#[expect(clippy::print_stderr, reason = "a test that does not run prints a message")]
pub(crate) fn not_run(what: &str) {
    eprintln!("NOT RUN: {what}");
}

pub(crate) fn names(directory: &Path) -> BTreeSet<String> {
    #[expect(clippy::disallowed_methods, reason = "the test reads the disk directly")]
    let entries = std::fs::read_dir(directory).expect("a directory");
    entries
        .map(|entry| {
            entry
                .expect("an entry")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .collect()
}
