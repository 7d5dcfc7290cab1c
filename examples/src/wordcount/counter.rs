//! The actor that counts in a worker process, and what it is asked.
//!
//! It counts one file at a time. A file's chunks come in order, each with its place, so that one that is missing or doubled is
//! noticed and never counted; what the file holds is asked for at its end. The first chunk of a file discards whatever was not
//! asked for.

use actogen::prelude::*;
use bytes::Bytes;

use super::{
    tally::Tally,
    words::{Invalid, Words},
};

/// Bytes of a chunk and of a part of a tally. Large enough that the way there and back costs little beside the counting, small
/// enough for the default bound of a message (16 MiB) and of a mailbox (4 MiB).
pub const PART: usize = 256 * 1024;

/// Bytes of the file that is being counted.
#[derive(Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "wordcount.Chunk", reply = "Result<(), OutOfStep>")]
pub struct Chunk {
    /// Where they begin in the file; 0 begins another file.
    pub at: u64,
    /// The bytes.
    pub bytes: Bytes,
}

/// The file is at its end.
#[derive(Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "wordcount.Finish", reply = "Result<Report, OutOfStep>")]
pub struct Finish {
    /// The length of all chunks.
    pub length: u64,
}

/// What a file held.
#[derive(Debug, Serialize, Deserialize)]
pub struct Report {
    /// Where it was no UTF-8.
    pub invalid: Invalid,
    /// The length of the whole tally, written by [`Tally::to_bytes`]: it may be longer than a message.
    pub length: u64,
    /// Its first part.
    pub part: Bytes,
}

/// Asks for a further part of the last report's tally; the answer is empty at its end.
#[derive(Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "wordcount.Part", reply = "Bytes")]
pub struct Part {
    /// Where it begins.
    pub at: u64,
}

/// A message does not continue what the counter has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("the counter has {has} bytes of the file, and was told of {told}")]
pub struct OutOfStep {
    has: u64,
    told: u64,
}

/// Counts the words of one file after the other.
#[derive(Debug, Default, RemoteActor)]
#[remote(name = "wordcount.counter", messages(Chunk, Finish, Part), spawn)]
pub struct Counter {
    words: Words,
    tally: Tally,
    taken: u64,
    /// The tally of the last file that came to its end.
    report: Bytes,
}

impl Counter {
    fn step(&self, told: u64) -> Result<(), OutOfStep> {
        let has = self.taken;
        if has == told { Ok(()) } else { Err(OutOfStep { has, told }) }
    }

    fn part(&self, at: u64) -> Bytes {
        let at = usize::try_from(at).map_or(self.report.len(), |at| at.min(self.report.len()));
        self.report.slice(at..self.report.len().min(at + PART))
    }
}

impl Actor for Counter {
    type Context = actix::Context<Self>;
}

impl Handler<Chunk> for Counter {
    type Result = Result<(), OutOfStep>;

    fn handle(&mut self, Chunk { at, bytes }: Chunk, _: &mut Self::Context) -> Self::Result {
        if at == 0 {
            *self = Self::default();
        }
        self.step(at)?;
        self.words.take(&bytes, &mut |word| self.tally.count(word));
        self.taken += bytes.len() as u64;
        Ok(())
    }
}

impl Handler<Finish> for Counter {
    type Result = Result<Report, OutOfStep>;

    fn handle(&mut self, Finish { length }: Finish, _: &mut Self::Context) -> Self::Result {
        self.step(length)?;
        let invalid = self.words.finish(&mut |word| self.tally.count(word));
        let report = std::mem::take(&mut self.tally).to_bytes().into();
        *self = Self { report, ..Self::default() };
        Ok(Report { invalid, length: self.report.len() as u64, part: self.part(0) })
    }
}

impl Handler<Part> for Counter {
    type Result = MessageResult<Part>;

    fn handle(&mut self, Part { at }: Part, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.part(at))
    }
}
