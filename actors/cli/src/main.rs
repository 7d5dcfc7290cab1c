//! The command `actogen`: what a person does about a mesh beside its programs.
//!
//! | room | concept |
//! |---|---|
//! | here | the command line, and how it ends |
//! | `authority` | `ca`: a mesh's authority, and identities issued by it |
//! | `cache` | `cache`: programs that were sent to this machine |

mod authority;
mod cache;

use std::{fmt::Display, io::Write, path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};

/// What a person does about a mesh of Actogen contexts, beside its programs.
#[derive(Debug, Parser)]
#[command(
    name = "actogen",
    version,
    after_help = "Exit status: 0 done, 1 an error, 2 misused.\n\nExample:\n  actogen --mesh ca ca init fleet.example\n  actogen --mesh ca ca issue 7 --out node7"
)]
struct Arguments {
    /// The folder of the mesh's authority
    #[arg(long, value_name = "DIR", env = "ACTOGEN_MESH", global = true)]
    mesh: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// A mesh's authority, and identities issued by it
    #[command(subcommand)]
    Ca(authority::Command),
    /// Programs that other contexts have sent to this machine
    #[command(subcommand)]
    Cache(cache::Command),
}

/// Why a command was not done, for a person.
#[derive(Debug)]
struct Failure(String);

impl<E: Display> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(error.to_string())
    }
}

fn main() -> ExitCode {
    let Arguments { mesh, command } = Arguments::parse();
    let done = match command {
        Command::Ca(command) => authority::run(command, mesh),
        Command::Cache(command) => cache::run(command),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure(why)) => {
            // Whoever has closed the stream does not want to know.
            let _ = writeln!(std::io::stderr(), "actogen: {why}");
            ExitCode::FAILURE
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
