//! What all files come to.

use std::{fmt::Display, path::Path};

use super::{files::Remark, progress::Progress, tally::Tally, words::Invalid};

/// What one file held.
#[derive(Debug, Default)]
pub struct Counted {
    /// Its words.
    pub tally: Tally,
    /// Where it was no UTF-8.
    pub invalid: Invalid,
}

/// What all files held.
#[derive(Debug, Default)]
pub struct Sum {
    tally: Tally,
    files: usize,
    failed: bool,
}

impl Sum {
    /// Adds a file that was counted to its end.
    pub fn add(&mut self, path: &Path, counted: Counted, progress: &Progress) {
        if !counted.invalid.is_empty() {
            progress.say(format_args!("{}: {}", path.display(), counted.invalid));
        }
        self.tally.merge(counted.tally);
        self.files += 1;
    }

    /// Passes a remark on, and remembers whether something could not be had.
    pub fn remark(&mut self, remark: &Remark, progress: &Progress) {
        progress.say(remark);
        self.failed |= remark.is_error();
    }

    /// Says and remembers that something could not be counted.
    pub fn fail(&mut self, what: impl Display, progress: &Progress) {
        progress.say(what);
        self.failed = true;
    }

    /// The words of all files.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// How many files were counted.
    pub fn files(&self) -> usize {
        self.files
    }

    /// Whether something could not be counted.
    pub fn has_failed(&self) -> bool {
        self.failed
    }
}
