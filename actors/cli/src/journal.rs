//! `actogen journal`: looks into the files of journals that nobody has open, and takes them elsewhere.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, BufWriter, Write},
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use actogen_journal::{
    ActorId,
    inspect::{self, ExportedRow, Finding, Settle, StoredActor},
    store::{FileStore, Store},
};
use clap::{Args, Subcommand};
use serde::Serialize;

use crate::{Failure, say};

/// Columns of bytes that are shown of a message or a state, unless all is asked for as JSON.
const SHOWN: usize = 32;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// What is in a journal: its node, its tables, its actors
    #[command(after_help = "Example:\n  actogen journal inspect bank.redb --actors")]
    Inspect {
        #[command(flatten)]
        file: Journal,
        /// List the actors as well: name, turns, version of the state, bytes of the state
        #[arg(long)]
        actors: bool,
    },
    /// Read every row, and tell those that are damaged; status 1 if there are some
    Verify(Journal),
    /// Write all rows as lines of JSON to standard output
    #[command(after_help = "Example:\n  actogen journal export bank.redb > bank.jsonl")]
    Export(Journal),
    /// Make a new journal of exported rows from standard input
    #[command(after_help = "Example:\n  actogen journal import bank.redb < bank.jsonl")]
    Import(Journal),
    /// Give room that is not needed any more back to the file system
    Compact(Journal),
    /// List the messages that were given up; send them again, or forget them
    #[command(
        after_help = "Examples:\n  actogen journal dead-letters bank.redb\n  actogen journal dead-letters bank.redb --actor account/42 --number 7 --send-again"
    )]
    DeadLetters {
        #[command(flatten)]
        file: Journal,
        #[command(flatten)]
        which: Which,
    },
    /// List the turns of an actor that the journal keeps, with the states behind them
    #[command(after_help = "Example:\n  actogen journal replay bank.redb account/42")]
    Replay {
        #[command(flatten)]
        file: Journal,
        /// The actor, as kind/key
        actor: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Journal {
    /// The journal's file; no process may have it open
    file: PathBuf,
    /// Write lines of JSON
    #[arg(long)]
    json: bool,
}

/// Which dead letters, and what becomes of them.
#[derive(Debug, Args)]
pub(crate) struct Which {
    /// Only those of this actor, as kind/key
    #[arg(long, value_name = "ACTOR")]
    actor: Option<ActorId>,
    /// Only the one of this number
    #[arg(long, requires = "actor")]
    number: Option<u64>,
    /// Hand them to their actors again, when the journal is opened
    #[arg(long, conflicts_with = "discard")]
    send_again: bool,
    /// Forget them
    #[arg(long)]
    discard: bool,
}

impl Journal {
    fn open(&self) -> Result<FileStore, Failure> {
        if !self.file.exists() {
            return Err(format!("{} is not there", self.file.display()).into());
        }
        Ok(FileStore::open(&self.file)?)
    }
}

pub(crate) fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Inspect { file, actors } => inspect(&file, actors),
        Command::Verify(file) => verify(&file),
        Command::Export(file) => export(&file),
        Command::Import(file) => import(&file.file),
        Command::Compact(file) => compact(&file),
        Command::DeadLetters { file, which } => dead_letters(&file, &which),
        Command::Replay { file, actor } => replay(&file, &actor),
    }
}

fn line(value: &impl Serialize) -> Result<(), Failure> {
    say(serde_json::to_string(value)?);
    Ok(())
}

fn inspect(journal: &Journal, with_actors: bool) -> Result<(), Failure> {
    let mut store = journal.open()?;
    let summary = inspect::summary(&mut store)?;
    if journal.json {
        line(&summary)?;
    } else {
        say(format_args!("node\t{}", summary.node));
        say(format_args!("opened\t{} times", summary.openings));
        for (table, (rows, bytes)) in &summary.tables {
            say(format_args!("{table}\t{rows} rows\t{bytes} bytes"));
        }
    }
    if with_actors {
        let mut outcome = Ok(());
        inspect::actors(&mut store, |actor| {
            if journal.json {
                outcome = line(&actor);
            } else {
                let StoredActor { actor, turn, version, state_bytes, .. } = actor;
                let state =
                    state_bytes.map_or("ended".to_owned(), |bytes| format!("{bytes} bytes"));
                say(format_args!("{actor}\tturn {turn}\tversion {version}\t{state}"));
            }
        })?;
        outcome?;
    }
    Ok(())
}

fn verify(journal: &Journal) -> Result<(), Failure> {
    let mut store = journal.open()?;
    let (mut damaged, mut outcome) = (0, Ok(()));
    let rows = inspect::verify(&mut store, |finding| {
        damaged += 1;
        if journal.json {
            outcome = line(&finding);
        } else {
            let Finding { table, key, what, .. } = finding;
            say(format_args!("{table}\t{key}\t{what}"));
        }
    })?;
    outcome?;
    match damaged {
        0 if journal.json => line(&serde_json::json!({ "rows": rows, "damaged": 0 })),
        0 => {
            say(format_args!("{rows} rows are whole"));
            Ok(())
        }
        _ => Err(format!("{damaged} of {rows} rows are damaged: restore a backup").into()),
    }
}

fn export(journal: &Journal) -> Result<(), Failure> {
    let mut store = journal.open()?;
    let mut out = BufWriter::new(io::stdout().lock());
    let rows = inspect::export(&mut store, |row| {
        serde_json::to_writer(&mut out, &row)?;
        out.write_all(b"\n")
    })?;
    out.flush()?;
    // Standard output has the rows.
    let _ = writeln!(io::stderr(), "rows: {rows}");
    Ok(())
}

fn import(file: &Path) -> Result<(), Failure> {
    if file.exists() {
        return Err(format!("{} is there already: import into a new file", file.display()).into());
    }
    let mut store = FileStore::open(file)?;
    let rows = BufReader::new(io::stdin().lock())
        .lines()
        .map(|line| serde_json::from_str::<ExportedRow>(&line?).map_err(io::Error::other));
    match inspect::import(&mut store, rows) {
        Ok(rows) => {
            say(format_args!("rows: {rows}"));
            Ok(())
        }
        Err(error) => {
            drop(store);
            // Half a journal is none.
            std::fs::remove_file(file)?;
            Err(error.into())
        }
    }
}

fn compact(journal: &Journal) -> Result<(), Failure> {
    let bytes = || Ok::<_, io::Error>(File::open(&journal.file)?.metadata()?.len());
    let before = bytes()?;
    let mut store = journal.open()?;
    store.compact()?;
    drop(store);
    let after = bytes()?;
    if journal.json {
        return line(&serde_json::json!({ "before": before, "after": after }));
    }
    say(format_args!("{before} bytes before, {after} now"));
    Ok(())
}

fn dead_letters(journal: &Journal, which: &Which) -> Result<(), Failure> {
    let mut store = journal.open()?;
    let mut letters = inspect::dead_letters(&mut store)?;
    letters.retain(|letter| {
        which.actor.as_ref().is_none_or(|actor| letter.actor == actor.to_string())
            && which.number.is_none_or(|number| letter.number == number)
    });
    if letters.is_empty()
        && let Some(actor) = &which.actor
    {
        return Err(format!("{actor} has no such dead letter").into());
    }
    let mut refused = Vec::new();
    for letter in letters {
        if journal.json {
            line(&letter)?;
        } else {
            let (at, tag) = (seconds(letter.at), letter.tag);
            say(format_args!(
                "{}\t{}\t{at}\t{}\t{tag:#018x}\t{}\t{}",
                letter.actor,
                letter.number,
                letter.from,
                letter.why,
                shown(&letter.body)
            ));
        }
        let how = match (which.send_again, which.discard) {
            (true, _) => Settle::SendAgain,
            (_, true) => Settle::Discard,
            _ => continue,
        };
        let settled = letter.actor.parse().map_err(Failure::from).and_then(|actor| {
            inspect::settle(&mut store, &actor, letter.number, how).map_err(Failure::from)
        });
        refused.extend(settled.err());
    }
    let texts: Vec<_> = refused.into_iter().map(|failure| failure.why).collect();
    if texts.is_empty() { Ok(()) } else { Err(texts.join("; ").into()) }
}

fn replay(journal: &Journal, actor: &str) -> Result<(), Failure> {
    let actor: ActorId = actor.parse()?;
    let turns = inspect::past(&mut journal.open()?, &actor)?;
    if turns.is_empty() {
        let text = format!(
            "{actor} has no turns that are kept: give the journal's builder `history(turns)`"
        );
        return Err(text.into());
    }
    for turn in turns {
        if journal.json {
            line(&turn)?;
        } else {
            let (at, tag) = (seconds(turn.at), turn.tag);
            say(format_args!(
                "{}\t{at}\t{}\t{tag:#018x} {}\t-> {}",
                turn.turn,
                turn.from,
                shown(&turn.message),
                shown(&turn.state)
            ));
        }
    }
    Ok(())
}

/// Seconds since 1970, with milliseconds.
fn seconds(at: SystemTime) -> String {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("{}.{:03}", since.as_secs(), since.subsec_millis())
}

/// Text as it is, anything else in hexadecimal digits; the beginning of what is long.
fn shown(bytes: &[u8]) -> String {
    let part = &bytes[..bytes.len().min(SHOWN)];
    let more =
        if bytes.len() > SHOWN { format!("... ({} bytes)", bytes.len()) } else { String::new() };
    // The beginning of a long text may end within a character.
    let valid = match std::str::from_utf8(part) {
        Ok(text) => Some(text),
        Err(error) if error.error_len().is_none() => {
            std::str::from_utf8(&part[..error.valid_up_to()]).ok()
        }
        Err(_) => None,
    };
    match valid {
        Some(text) if !text.is_empty() && !text.chars().any(char::is_control) => {
            format!("{text}{more}")
        }
        _ => part.iter().map(|byte| format!("{byte:02x}")).collect::<String>() + &more,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_read_is_shown_as_it_is() {
        assert_eq!(shown(b"{\"balance\":5}"), "{\"balance\":5}");
        assert_eq!(shown(&[0, 255]), "00ff");
        let long = "ä".repeat(40);
        assert_eq!(shown(long.as_bytes()), format!("{}... (80 bytes)", "ä".repeat(16)));
    }
}
