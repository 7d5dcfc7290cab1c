//! Why a context could not be started: each kind of failure by itself, with what the tool said last and what to do.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The last lines that a tool, or what it started, has put out: on standard error, and on standard output before the first stage
/// answered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastWords(Vec<String>);

/// How many lines are kept, and how many bytes of each.
const LINES: usize = 12;
const LINE_BYTES: usize = 400;

impl LastWords {
    pub(super) fn hear(&mut self, line: &str) {
        let line = line.trim_end();
        if line.is_empty() {
            return;
        }
        if self.0.len() == LINES {
            self.0.remove(0);
        }
        let cut = (0..=line.len().min(LINE_BYTES))
            .rev()
            .find(|&at| line.is_char_boundary(at))
            .unwrap_or_default();
        self.0.push(line[..cut].to_owned());
    }

    /// The lines, oldest first.
    pub fn lines(&self) -> &[String] {
        &self.0
    }

    fn have(&self, sign: &str) -> bool {
        let sign = sign.to_lowercase();
        self.0.iter().any(|line| line.to_lowercase().contains(&sign))
    }
}

impl std::fmt::Display for LastWords {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.0[..] {
            [] => f.write_str("; it said nothing"),
            lines => write!(f, "; it said last:\n    {}", lines.join("\n    ")),
        }
    }
}

/// Why a context could not be started. Variants are only ever appended: they come back from other contexts, too.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[non_exhaustive]
pub enum LaunchError {
    /// The transport cannot reach other processes.
    #[error(
        "this context's transport reaches no other process: use the QUIC transport, and let it listen"
    )]
    NoInvitation,
    /// The program, or the tool, could not be started.
    #[error("`{program}` could not be started: {why}")]
    Spawn {
        /// The program.
        program: String,
        /// What the system says.
        why: String,
    },
    /// The process ended before it could be reached.
    #[error(
        "the child process ended before it could be reached: {status}. Is its main function marked #[actogen::main], or has its test file actogen::test_child!()?{said}"
    )]
    Exited {
        /// How it ended, such as `exit status 1` or `signal 9`.
        status: String,
        /// What it said last, where this context hears it.
        said: LastWords,
    },
    /// The process could not be reached in time.
    #[error("the child process {pid} could not be reached within {within:?}: {reached}{said}")]
    Timeout {
        /// Its number, or that of the tool.
        pid: u32,
        /// The limit.
        within: Duration,
        /// How far it came.
        reached: Reached,
        /// What it said last, where this context hears it.
        said: LastWords,
    },
    /// This context is ending.
    #[error("this context is shutting down")]
    Shutdown,
    /// The tool is not installed.
    #[error("`{tool}` is not there: install it, or give its path with `tool`")]
    ToolMissing {
        /// The tool.
        tool: String,
    },
    /// The machine, or the container, could not be reached by the tool.
    #[error("`{tool}` could not reach `{target}`: is it up, and is its name right?{said}")]
    Unreachable {
        /// The tool.
        tool: String,
        /// Where it should have gone.
        target: String,
        /// What it said last.
        said: LastWords,
    },
    /// The tool was not let in.
    #[error(
        "`{tool}` was not let in as `{target}`: give a key with `identity`, a `password`, or a user who may{said}"
    )]
    Login {
        /// The tool.
        tool: String,
        /// Where it should have gone.
        target: String,
        /// What it said last.
        said: LastWords,
    },
    /// The password was refused.
    #[error("`{tool}` was not let in as `{target}`: the password is wrong{said}")]
    Password {
        /// The tool.
        tool: String,
        /// Where it should have gone.
        target: String,
        /// What it said last.
        said: LastWords,
    },
    /// The host's key is not the one that is known, or none is known.
    #[error(
        "the host key of `{target}` is not one that `{tool}` trusts: connect by hand once and compare it, or choose another policy with `host_keys`{said}"
    )]
    HostKey {
        /// The tool.
        tool: String,
        /// Where it should have gone.
        target: String,
        /// What it said last.
        said: LastWords,
    },
    /// The tool ended, or said too much, before the first stage answered.
    #[error(
        "`{tool}` ran no POSIX shell on `{target}` that answers ({status}): does a login there start one?{said}"
    )]
    NoStage {
        /// The tool.
        tool: String,
        /// Where it should have run.
        target: String,
        /// How the tool ended.
        status: String,
        /// What it said last.
        said: LastWords,
    },
    /// The other machine is of another kind than this program is built for.
    #[error(
        "`{target}` is a machine of the kind `{there}`, and this program is built for `{here}`: give one for it with `binary_for(\"{there}\", PATH)`"
    )]
    Architecture {
        /// Which machine.
        target: String,
        /// Its kind, as `uname -sm` gives it.
        there: String,
        /// The kind of this one.
        here: String,
    },
    /// The other machine has no room for the program.
    #[error(
        "there is no room on `{target}` for the program: free some, or set XDG_CACHE_HOME there{said}"
    )]
    NoSpace {
        /// Which machine.
        target: String,
        /// What was said last.
        said: LastWords,
    },
    /// The program could not be put into the cache.
    #[error("the program could not be put into the cache on `{target}`: {why}{said}")]
    Shipping {
        /// Which machine.
        target: String,
        /// Why not.
        why: String,
        /// What was said last.
        said: LastWords,
    },
    /// The context that should have launched it could not be asked.
    #[error("the context that was to launch it could not be asked: {0}")]
    Via(String),
    /// It cannot have the names that were asked for.
    #[error("the child cannot be named: {0}")]
    Name(String),
}

/// How far a launch came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Reached {
    /// The tool has not come to a shell there.
    Nothing,
    /// The first stage runs there, and the program is on its way.
    Stage,
    /// The program is there, and has not asked to be admitted.
    Program,
    /// It was admitted, and has not linked back.
    Admission,
}

impl std::fmt::Display for Reached {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Nothing => "no shell has answered there. Is the way there slow, or does something ask for an answer?",
            Self::Stage => "the program was still on its way there",
            Self::Program => {
                "it has not asked to be admitted. Is its main function marked #[actogen::main], and can it reach this context's endpoint?"
            }
            Self::Admission => "it was admitted and has not linked back",
        })
    }
}

/// What the words of a tool that failed mean. The first sign that is found decides, so the more telling ones stand first.
pub(super) fn diagnose(tool: &str, target: &str, status: &str, said: LastWords) -> LaunchError {
    let (tool, target) = (tool.to_owned(), target.to_owned());
    let any = |signs: &[&str]| signs.iter().any(|sign| said.have(sign));
    if any(HOST_KEY) {
        LaunchError::HostKey { tool, target, said }
    } else if any(PASSWORD) {
        LaunchError::Password { tool, target, said }
    } else if any(LOGIN) {
        LaunchError::Login { tool, target, said }
    } else if any(UNREACHABLE) && !any(NO_SHELL) {
        LaunchError::Unreachable { tool, target, said }
    } else {
        LaunchError::NoStage { tool, target, status: status.to_owned(), said }
    }
}

const HOST_KEY: &[&str] = &[
    "host key verification failed",
    "remote host identification has changed",
    "host key is known",
];

const PASSWORD: &[&str] = &[
    "sorry, try again",
    "incorrect password",
    "authentication failure",
    "no password was provided",
];

const LOGIN: &[&str] = &[
    "permission denied",
    "too many authentication failures",
    "a password is required",
    "a terminal is required",
    "is not in the sudoers file",
    "is not allowed to",
    "may not run",
    "unknown user",
    "does not exist or the user entry does not contain",
    "unable to find user",
    "operation not permitted",
    "authentication required",
];

/// It was reached, and has no shell.
const NO_SHELL: &[&str] = &["executable file not found"];

const UNREACHABLE: &[&str] = &[
    "connection refused",
    "connection timed out",
    "could not resolve",
    "name or service not known",
    "no route to host",
    "network is unreachable",
    "connection closed by",
    "connection reset",
    "kex_exchange_identification",
    "no such container",
    "is not running",
    "no container with name",
    "error: pods",
    "notfound",
    "not found",
    "no such process",
    "cannot connect to the docker daemon",
    "is the docker daemon running",
    "cannot open /proc",
    "no machine",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn said(line: &str) -> LastWords {
        let mut said = LastWords::default();
        said.hear(line);
        said
    }

    #[test]
    fn m19_what_tools_say_is_understood() {
        let kind = |line: &str| {
            let error = diagnose("ssh", "db1", "exit status 255", said(line));
            format!("{error:?}").split([' ', '{']).next().unwrap_or_default().to_owned()
        };
        for (line, expected) in [
            ("Host key verification failed.", "HostKey"),
            (
                "No ED25519 host key is known for [127.0.0.1]:2222 and you have requested strict checking.",
                "HostKey",
            ),
            ("me@db1: Permission denied (publickey,password).", "Login"),
            ("sudo: a password is required", "Login"),
            ("sudo: 1 incorrect password attempt", "Password"),
            ("su: Authentication failure", "Password"),
            ("ssh: connect to host db1 port 22: Connection refused", "Unreachable"),
            ("ssh: Could not resolve hostname db1: Name or service not known", "Unreachable"),
            ("Error response from daemon: No such container: web", "Unreachable"),
            ("Error response from daemon: container 12 is not running", "Unreachable"),
            ("nsenter: cannot open /proc/99999/ns/net: No such file or directory", "Unreachable"),
            ("This account is currently not available.", "NoStage"),
            ("exec: \"sh\": executable file not found in $PATH: unknown", "NoStage"),
        ] {
            assert_eq!(kind(line), expected, "{line}");
        }
    }

    #[test]
    fn the_last_lines_are_kept_and_cut() {
        let mut said = LastWords::default();
        for n in 0..100 {
            said.hear(&format!("{n}\n"));
        }
        said.hear(&"ä".repeat(1000));
        assert_eq!(said.lines().len(), LINES);
        assert_eq!(said.lines()[0], "89");
        assert_eq!(said.lines()[LINES - 1].len(), LINE_BYTES);
    }
}
