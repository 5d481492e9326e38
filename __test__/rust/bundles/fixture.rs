//! A store in a temporary folder, and the child program that works on it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use warmswap::core::bundles::{FileLock, Options, Patience, Store, Writer};
use warmswap::core::sys::cancel::Cancel;

/// A folder that is gone afterwards, on memory unless a disk is asked for.
pub(crate) struct Fixture {
    folder: tempfile::TempDir,
    root: PathBuf,
}

/// What a child said and how it ended.
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
        }
    }

    pub(crate) fn in_memory() -> Self {
        Self::on(Path::new("/dev/shm"))
    }

    /// A store with generations 1 and 2.
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
        command(&self.root, arguments, environment)
    }

    /// Runs a child to its end.
    pub(crate) fn child(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Outcome {
        run(&mut self.command(arguments, environment))
    }

    pub(crate) fn spawn(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Child {
        self.command(arguments, environment)
            .stdin(Stdio::piped())
            .spawn()
            .expect("the child")
    }

    pub(crate) fn open(&self) -> Store {
        Store::open(
            self.root.to_str().expect("UTF-8"),
            &Options::default(),
            &Patience::for_at_most(Duration::from_secs(20)),
        )
        .expect("open")
    }

    /// The current generation is complete, byte for byte.
    pub(crate) fn assert_current_is_complete(&self, context: &str) -> u64 {
        let store = self.open();
        let problems = store
            .verify(None, &Cancel::new())
            .unwrap_or_else(|error| panic!("{context}: {error}"));
        assert_eq!(problems, [], "{context}");
        store.current().expect("readlink").expect("a generation")
    }

    /// After a collection nothing is there but the current generation and those that are kept.
    pub(crate) fn assert_no_leftovers(&self, context: &str) {
        let store = self.open();
        let lock = FileLock::acquire(
            &store.layout().writer_lock(),
            &Patience::for_at_most(Duration::from_secs(20)),
        )
        .expect("lock");
        Writer::new(&store, lock)
            .expect("writer")
            .collect()
            .expect("collect");
        store.sweep_trash().expect("sweep");
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
            "owners",
            "pins",
            "stage",
            "trash",
            "writer.lock",
        ]
        .map(str::to_owned)
        .into();
        expected.extend(names(&self.root).contains("fence").then(|| "fence".to_owned()));
        assert_eq!(names(&self.root), expected, "{context}");
    }
}

pub(crate) fn command(root: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bundles-child"));
    command
        .arg(root)
        .args(arguments)
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    command
}

pub(crate) fn run(command: &mut Command) -> Outcome {
    let output = command.output().expect("the child runs");
    Outcome {
        output: String::from_utf8_lossy(&output.stdout).into_owned(),
        succeeded: output.status.success(),
    }
}

pub(crate) fn names(directory: &Path) -> BTreeSet<String> {
    #[expect(clippy::disallowed_methods, reason = "the test looks with its own eyes")]
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
