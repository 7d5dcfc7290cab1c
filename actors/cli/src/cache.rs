//! `actogen cache`: lists and removes programs that other contexts have sent to this machine.

use std::{
    fs,
    time::{Duration, SystemTime},
};

use actogen::cache::{self, Cached};
use clap::Subcommand;

use crate::{Failure, say};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List the programs: bytes, days since the last start, file
    List,
    /// Remove programs; one that runs goes on running
    #[command(after_help = "Example:\n  actogen cache clean --older-than 30")]
    Clean {
        /// Only those that were not started for so many days
        #[arg(long, value_name = "DAYS")]
        older_than: Option<u32>,
    },
}

pub(crate) fn run(command: Command) -> Result<(), Failure> {
    let folder =
        cache::folder().ok_or("there is no cache without a home: set HOME, or XDG_CACHE_HOME")?;
    let cached = cache::list(&folder)
        .map_err(|error| format!("{} cannot be read: {error}", folder.display()))?;
    match command {
        Command::List => {
            for program in &cached {
                let Cached { path, bytes, .. } = program;
                say(format_args!("{bytes}\t{}\t{}", days_idle(program), path.display()));
            }
        }
        Command::Clean { older_than } => {
            let least = older_than.map_or(0, u64::from);
            let (mut removed, mut freed) = (0, 0);
            for program in cached.iter().filter(|program| days_idle(program) >= least) {
                fs::remove_file(&program.path).map_err(|error| {
                    format!("{} cannot be removed: {error}", program.path.display())
                })?;
                removed += 1;
                freed += program.bytes;
            }
            if folder.exists() {
                cache::remove_parts(&folder)
                    .map_err(|error| format!("{} cannot be cleaned: {error}", folder.display()))?;
            }
            say(format_args!("removed: {removed}, bytes freed: {freed}"));
        }
    }
    Ok(())
}

/// Whole days since it was started last.
fn days_idle(program: &Cached) -> u64 {
    const DAY: Duration = Duration::from_secs(86_400);
    let idle = SystemTime::now().duration_since(program.used).unwrap_or_default();
    idle.as_secs() / DAY.as_secs()
}
