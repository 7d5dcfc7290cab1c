//! The command `actogen`: what a person does about a mesh beside its programs.
//!
//! | room | concept |
//! |---|---|
//! | here | the command line, and how it ends |
//! | `authority` | `ca`: a mesh's authority, and identities issued by it |
//! | `token` | `token` and `join`: becoming a context without being launched |
//! | `cache` | `cache`: programs that were sent to this machine |
//! | `bus` | `logger` and `tail`: publishing, and looking on |
//! | `recorder` | `record` and `replay`: keeping what is published |
//! | `bridge` | `bridge`: topics of a mesh and a stream of NATS JetStream |
//! | `shell` | `completions` and `man` |
//! | `journal` | `journal`: the files of journaled actors |

mod authority;
#[cfg(feature = "nats")]
mod bridge;
mod bus;
mod cache;
mod journal;
mod recorder;
mod shell;
mod token;

use std::{fmt::Display, io::Write, path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};

/// The exit status where nobody answers.
const NO_CONNECTION: u8 = 111;
/// The exit status where the other side refuses.
const REJECTED: u8 = 121;

/// What a person does about a mesh of Actogen contexts, beside its programs.
#[derive(Debug, Parser)]
#[command(
    name = "actogen",
    version,
    after_help = "Exit status: 0 done, 1 an error, 2 misused, 111 nobody answers, 121 refused or rejected, 124 not acknowledged in time.\n\nExample:\n  actogen --mesh ca ca init fleet.example\n  actogen --mesh ca ca issue 7 --out node7"
)]
struct Arguments {
    /// The folder of the mesh's authority; for logger, tail, record, replay and bridge, that of this machine's identity
    #[arg(long, value_name = "DIR", env = "ACTOGEN_MESH", global = true)]
    mesh: Option<PathBuf>,
    /// Where a context of the mesh answers
    #[arg(long, value_name = "ADDR", env = "ACTOGEN_CONNECT", global = true)]
    connect: Option<String>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// A mesh's authority, and identities issued by it
    #[command(subcommand)]
    Ca(authority::Command),
    /// One-time tokens, by which processes join
    #[command(subcommand)]
    Token(token::Command),
    /// Join a mesh with a one-time token from standard input, and keep the identity in a folder
    Join(token::Join),
    /// Programs that other contexts have sent to this machine
    #[command(subcommand)]
    Cache(cache::Command),
    /// Publish messages under a topic
    Logger(bus::Logger),
    /// Show what is published
    Tail(bus::Tail),
    /// Keep what is published in a file, for those who are away
    Record(recorder::Record),
    /// Show what a recorder has kept
    Replay(recorder::ReplayCommand),
    /// Carry messages between topics of the mesh and NATS JetStream
    #[cfg(feature = "nats")]
    Bridge(Box<bridge::Bridge>),
    /// A script by which a shell completes this command
    Completions(shell::Completions),
    /// Write manual pages
    Man(shell::Man),
    /// The files of journaled actors, while no process has them open
    #[command(subcommand)]
    Journal(journal::Command),
}

/// Why a command was not done, for a person.
#[derive(Debug)]
struct Failure {
    why: String,
    status: u8,
}

impl Failure {
    fn with_status(why: impl Display, status: u8) -> Self {
        Self { why: why.to_string(), status }
    }
}

impl<E: Display> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::with_status(error, 1)
    }
}

fn main() -> ExitCode {
    let Arguments { mesh, connect, command } = Arguments::parse();
    let done = match command {
        Command::Ca(command) => authority::run(command, mesh),
        Command::Token(command) => token::run(command, mesh),
        Command::Join(arguments) => token::join(arguments, connect),
        Command::Cache(command) => cache::run(command),
        Command::Logger(logger) => {
            bus::Door::new(mesh, connect).and_then(|door| bus::log(logger, door))
        }
        Command::Tail(tail) => bus::Door::new(mesh, connect).and_then(|door| bus::tail(tail, door)),
        Command::Record(record) => {
            bus::Door::new(mesh, connect).and_then(|door| recorder::record(record, door))
        }
        Command::Replay(replay) => {
            bus::Door::new(mesh, connect).and_then(|door| recorder::replay(replay, door))
        }
        #[cfg(feature = "nats")]
        Command::Bridge(arguments) => {
            bus::Door::new(mesh, connect).and_then(|door| bridge::run(*arguments, door))
        }
        Command::Completions(arguments) => shell::completions(&arguments),
        Command::Man(arguments) => shell::man(&arguments),
        Command::Journal(command) => journal::run(command),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure { why, status }) => {
            // Whoever has closed the stream does not want to know.
            let _ = writeln!(std::io::stderr(), "actogen: {why}");
            ExitCode::from(status)
        }
    }
}

/// Puts a line out. A reader that has gone is no error.
fn say(line: impl Display) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        super::Arguments::command().debug_assert();
    }
}
