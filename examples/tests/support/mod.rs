//! Running a program to its end, within a limit.

use std::{
    process::{Command, Output, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

/// No program here takes a tenth of this, even on a busy machine.
const LIMIT: Duration = Duration::from_secs(120);

/// What a program has put out, and its exit code.
pub(crate) struct Ran {
    pub(crate) out: String,
    pub(crate) err: String,
    pub(crate) code: Option<i32>,
}

impl Ran {
    /// The standard output of a program that has succeeded.
    #[track_caller]
    pub(crate) fn succeeded(self) -> String {
        assert_eq!(self.code, Some(0), "{}", self.err);
        self.out
    }
}

/// Runs a program to its end, with nothing on its standard input.
pub(crate) fn run(command: &mut Command) -> Ran {
    ran(output(command.stdout(Stdio::piped()).stderr(Stdio::piped())))
}

/// Runs a program to its end, with this on its standard input.
#[allow(dead_code, reason = "not every test program has such a program")]
pub(crate) fn run_with(command: &mut Command, input: Stdio) -> Ran {
    ran(output_with(command.stdout(Stdio::piped()).stderr(Stdio::piped()), input))
}

fn ran(output: Output) -> Ran {
    Ran {
        out: String::from_utf8(output.stdout).expect("the programs print text"),
        err: String::from_utf8(output.stderr).expect("the programs print text"),
        code: output.status.code(),
    }
}

/// Runs a program to its end, with its outputs as they are set.
pub(crate) fn output(command: &mut Command) -> Output {
    output_with(command, Stdio::null())
}

fn output_with(command: &mut Command, input: Stdio) -> Output {
    let child = command.stdin(input).spawn().expect("the program was built");
    let pid = child.id().to_string();
    let (ended, end) = mpsc::channel();
    thread::spawn(move || ended.send(child.wait_with_output()));
    end.recv_timeout(LIMIT)
        .unwrap_or_else(|_| {
            let _ = Command::new("kill").args(["-9", &pid]).status();
            panic!("{command:?} did not end within {LIMIT:?}")
        })
        .expect("a child that was started can be waited for")
}
