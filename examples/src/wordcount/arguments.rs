//! The command line.

use std::{num::NonZero, path::PathBuf, thread};

use clap::{CommandFactory, Parser, error::ErrorKind};

/// Counts the words of files, in worker processes that may die.
///
/// A word is a run of letters and digits, in lower case. Standard output gets `count<TAB>word` lines, the highest count first.
#[derive(Clone, Debug, Parser)]
#[command(name = "wordcount", version)]
pub struct Arguments {
    /// How many worker processes count; 0 counts in this process [default: the number of cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(0..=1024))]
    workers: Option<u16>,
    /// How many words are printed; 0 prints all
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub top: usize,
    /// Kill one worker half-way, and count its lost files again
    #[arg(long)]
    pub kill_one: bool,
    /// Files to count, and folders whose files are to be counted; symbolic links are not followed
    #[arg(value_name = "PATH", required = true)]
    pub paths: Vec<PathBuf>,
}

impl Arguments {
    /// Reads the program's arguments.
    ///
    /// # Errors
    /// What is wrong with them, or the text of `--help`; `clap::Error::exit_code` is 2 and 0.
    pub fn read() -> Result<Self, clap::Error> {
        Self::try_parse().and_then(Self::check)
    }

    fn check(self) -> Result<Self, clap::Error> {
        if self.kill_one && self.workers == Some(0) {
            return Err(Self::command().error(
                ErrorKind::ArgumentConflict,
                "--kill-one needs a worker to kill: give --workers at least 1",
            ));
        }
        Ok(self)
    }

    /// How many worker processes are to count; 0 means none.
    pub fn workers(&self) -> usize {
        match self.workers {
            Some(workers) => workers.into(),
            None => thread::available_parallelism().map_or(1, NonZero::get),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(arguments: &[&str]) -> Result<Arguments, clap::Error> {
        Arguments::try_parse_from([&["wordcount"], arguments].concat()).and_then(Arguments::check)
    }

    #[test]
    fn the_command_line_is_well_formed() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn what_is_not_said_has_its_default() {
        let arguments = read(&["a", "b"]).unwrap();
        assert_eq!(arguments.top, 20);
        assert_eq!(arguments.workers(), thread::available_parallelism().unwrap().get());
        assert_eq!(arguments.paths, [PathBuf::from("a"), PathBuf::from("b")]);
        assert!(!arguments.kill_one);
    }

    #[test]
    fn misuse_is_refused_with_code_2() {
        for misuse in [
            &[][..],
            &["--workers", "2"],
            &["--workers", "-1", "a"],
            &["--workers", "many", "a"],
            &["--workers", "100000", "a"],
            &["--top", "x", "a"],
            &["--unknown", "a"],
            &["--kill-one", "--workers", "0", "a"],
        ] {
            assert_eq!(read(misuse).unwrap_err().exit_code(), 2, "{misuse:?}");
        }
        assert_eq!(read(&["--help"]).unwrap_err().exit_code(), 0);
    }
}
