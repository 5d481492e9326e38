//! Children that are forks of one process that was started once. Starting and linking a program of 57 MB takes as long
//! as its work, and the tests over every system call start 18 000 of them.

use std::cell::RefCell;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdout, Command, Stdio};

use crate::fixture::{Outcome, start};

/// Runs a command of bundles-child to its end, in a separate process.
pub(crate) fn run_fork(command: &Command) -> Outcome {
    thread_local! {
        static PARENT: RefCell<Option<Parent>> = const { RefCell::new(None) };
    }
    PARENT.with_borrow_mut(|parent| parent.get_or_insert_with(Parent::start).run(command))
}

/// The process that forks.
struct Parent {
    process: Child,
    answers: BufReader<ChildStdout>,
}

impl Parent {
    fn start() -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bundles-child"));
        command.arg("fork").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = start(&mut command).expect("the child");
        let answers = BufReader::new(process.stdout.take().expect("piped"));
        Self { process, answers }
    }

    fn run(&mut self, command: &Command) -> Outcome {
        let text = |text: &std::ffi::OsStr| text.to_str().expect("UTF-8").to_owned();
        let arguments: Vec<String> = command.get_args().map(text).collect();
        let environment: Vec<(String, String)> = command
            .get_envs()
            .map(|(name, value)| (text(name), text(value.expect("no variable is removed"))))
            .collect();
        let request = serde_json::to_string(&(arguments, environment)).expect("JSON");
        writeln!(self.process.stdin.as_mut().expect("piped"), "{request}").expect("it reads");
        let mut output = String::new();
        loop {
            let mut line = String::new();
            self.answers.read_line(&mut line).expect("text");
            assert!(!line.is_empty(), "the process that forks has ended: {output}");
            if let Some(success) = line.strip_prefix("ended ") {
                let succeeded = success.trim() == "true";
                return Outcome { output, succeeded };
            }
            output.push_str(&line);
        }
    }
}

impl Drop for Parent {
    fn drop(&mut self) {
        // It ends with its input.
        drop(self.process.stdin.take());
        self.process.wait().expect("ended");
    }
}
