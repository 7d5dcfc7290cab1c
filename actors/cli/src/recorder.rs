//! `actogen record` and `actogen replay`: keeping what is published in a file, and having it from there again.

use std::{
    io::{self, Write},
    path::PathBuf,
    time::{Duration, SystemTime},
};

use actogen::{ContextId, Replay, ReplayError, ReplayRange, ReplayRefusal};
use actogen_journal::{KeepRecords, Recorder};
use clap::Args;

use crate::{
    Failure, NO_CONNECTION, REJECTED,
    bus::{Door, Shown, TIMEOUT, know},
};

#[derive(Debug, Args)]
#[command(
    after_help = "It records until it is interrupted, and goes on where it was when it is started again. The oldest messages go as soon as one of the bounds is passed. A publisher that requires this machine's name at the level `durable` hears of each message when it is on the disk.\n\nExamples:\n  actogen --mesh node7 --connect root.example:4433 record --topic 'org.>' --file topics.redb\n  actogen record --topic orders 'audit.>' --file topics.redb --keep-for 30d --keep-bytes 10GiB"
)]
pub(crate) struct Record {
    /// The topics: `*` stands for one word, a last `>` for one or more
    #[arg(long = "topic", required = true, value_name = "PATTERN", num_args = 1..)]
    topics: Vec<String>,
    /// The file; a new one is made
    #[arg(long)]
    file: PathBuf,
    /// Keep at most so many messages
    #[arg(long, value_name = "COUNT", default_value = "1000000")]
    keep_last: u64,
    /// Keep messages so long, such as 7d, 12h, 30m or 45s
    #[arg(long, value_name = "TIME", default_value = "7d", value_parser = time)]
    keep_for: Duration,
    /// Keep at most so many bytes, such as 512MiB or 1GiB
    #[arg(long, value_name = "BYTES", default_value = "1GiB", value_parser = bytes)]
    keep_bytes: u64,
    /// The name by which `replay --from` finds it
    #[arg(long, default_value = "recorder")]
    name: String,
}

#[derive(Debug, Args)]
#[command(
    after_help = "It shows what the recorder has, as `tail` shows what comes, each publisher's messages in their order, and ends. Every signature is checked as when the message comes from its publisher; a message whose signature does not hold is not shown. Where part of what is asked for is not kept any more, standard error says since when it is.\n\nExit status: 111 when no recorder answers, 121 when its policy gives none of what was asked for, 124 when it has no time.\n\nExamples:\n  actogen --mesh node7 --connect root.example:4433 replay --topic 'org.>' --since 2h\n  actogen replay --last 100 --json --verify\n  actogen replay --publisher 101 --sequence 5000"
)]
pub(crate) struct ReplayCommand {
    /// The topics: `*` stands for one word, a last `>` for one or more
    #[arg(long = "topic", value_name = "PATTERN", num_args = 1.., default_value = ">")]
    topics: Vec<String>,
    /// The recorder's name
    #[arg(long, value_name = "RECORDER", default_value = "recorder")]
    from: String,
    /// What was recorded within this time, such as 2h, or since so many seconds of 1970, such as @1700000000
    #[arg(long, value_name = "TIME", value_parser = since)]
    since: Option<SystemTime>,
    /// The last so many
    #[arg(long, value_name = "COUNT", conflicts_with = "since")]
    last: Option<u64>,
    /// Messages of this context alone
    #[arg(long, value_name = "ID")]
    publisher: Option<u64>,
    /// Its signed messages with this number or a later one, in each series
    #[arg(long, value_name = "NUMBER", requires = "publisher")]
    sequence: Option<u64>,
    /// Write lines of JSON
    #[arg(long)]
    json: bool,
    /// Show only what is signed. (A signature that does not hold is never shown.)
    #[arg(long)]
    verify: bool,
    /// How long a recorder that does not answer is asked again
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = time)]
    patience: Duration,
}

/// A time as a person writes it.
fn time(text: &str) -> Result<Duration, String> {
    let units = [("d", 86_400.0), ("h", 3600.0), ("m", 60.0), ("s", 1.0), ("", 1.0)];
    let number = |(unit, seconds): &(&str, f64)| {
        let number: f64 = text.strip_suffix(unit)?.parse().ok()?;
        Some(number * seconds)
    };
    let seconds = units.iter().find_map(number);
    let seconds = seconds.ok_or("give a time, such as 7d, 12h, 30m, 45s or 45")?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

/// A number of bytes as a person writes it.
fn bytes(text: &str) -> Result<u64, String> {
    let units =
        [("KiB", 1_u64 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40), ("", 1)];
    let number = |(unit, bytes): &(&str, u64)| {
        let number: u64 = text.strip_suffix(unit)?.trim().parse().ok()?;
        number.checked_mul(*bytes)
    };
    let bytes = units.iter().find_map(number);
    bytes.ok_or_else(|| "give a number of bytes, such as 4096, 512MiB or 1GiB".to_owned())
}

fn since(text: &str) -> Result<SystemTime, String> {
    let at = match text.strip_prefix('@') {
        Some(seconds) => SystemTime::UNIX_EPOCH.checked_add(time(seconds)?),
        None => SystemTime::now().checked_sub(time(text)?),
    };
    at.ok_or_else(|| "the time is out of range".to_owned())
}

pub(crate) fn record(record: Record, door: Door) -> Result<(), Failure> {
    door.enter(async move |context| {
        let Record { topics, file, keep_last, keep_for, keep_bytes, name } = record;
        let keep = KeepRecords { messages: keep_last, bytes: keep_bytes, time: keep_for };
        let builder = Recorder::builder(context, file).name(name).keep(keep);
        let builder = topics.into_iter().fold(builder, |builder, topic| builder.topic(topic));
        let mut recorder = builder.open().await?;
        // Who looks on may publish now, and it will be recorded.
        know(context).await?;
        let _ = writeln!(io::stderr(), "actogen: recording");
        let mut terminated =
            tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        tokio::select! {
            failed = recorder.ended() => {
                return Err(match failed {
                    Some(error) => error.into(),
                    None => Failure::with_status("the mesh has gone", NO_CONNECTION),
                });
            }
            _ = tokio::signal::ctrl_c() => {}
            _ = terminated.recv() => {}
        }
        let stats = recorder.stats();
        recorder.close().await;
        let _ = writeln!(
            io::stderr(),
            "actogen: {} recorded, {} dropped, {} missed; {} are kept",
            stats.recorded,
            stats.dropped,
            stats.missed,
            stats.messages
        );
        Ok(())
    })
}

pub(crate) fn replay(command: ReplayCommand, door: Door) -> Result<(), Failure> {
    door.enter(async move |context| {
        let mut range = ReplayRange::of(command.topics.clone())?;
        if let Some(time) = command.since {
            range = range.since(time);
        }
        if let Some(messages) = command.last {
            range = range.last(messages);
        }
        if let Some(publisher) = command.publisher {
            range = range.publisher(ContextId(publisher));
        }
        if let Some(number) = command.sequence {
            range = range.sequence(number);
        }
        let replay = context.replay(command.from.as_str(), range).patience(command.patience);
        command.show(replay).await
    })
}

impl ReplayCommand {
    async fn show(&self, mut replay: Replay) -> Result<(), Failure> {
        let mut is_some = false;
        while let Some(replayed) = replay.next().await {
            let replayed = replayed.map_err(failed)?;
            is_some = true;
            if self.verify && replayed.signature.is_none() {
                continue;
            }
            Shown::from(&replayed).show(self.json);
        }
        if let Some(from) = replay.kept_from() {
            let from = from.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
            let text = "part of this is not kept any more, or was never recorded: kept from";
            let _ = writeln!(io::stderr(), "actogen: {text} @{from} on");
        }
        if replay.refused() > 0 {
            let _ = writeln!(
                io::stderr(),
                "actogen: {} messages are not shown: a signature does not hold, or is revoked",
                replay.refused()
            );
        }
        match replay.withheld() {
            0 => Ok(()),
            withheld if is_some => {
                let _ =
                    writeln!(io::stderr(), "actogen: the recorder withholds {withheld} messages");
                Ok(())
            }
            withheld => Err(Failure::with_status(
                format!("the recorder's policy gives none of the {withheld} messages"),
                REJECTED,
            )),
        }
    }
}

fn failed(error: ReplayError) -> Failure {
    let status = match &error {
        ReplayError::Unreachable(_) => NO_CONNECTION,
        ReplayError::Refused(ReplayRefusal::Busy(_)) => TIMEOUT,
        ReplayError::Refused(ReplayRefusal::Range) => REJECTED,
        _ => 1,
    };
    Failure::with_status(&error, status)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_bytes_are_as_people_write_them() {
        for (text, seconds) in
            [("7d", 604_800), ("12h", 43_200), ("30m", 1800), ("45s", 45), ("45", 45)]
        {
            assert_eq!(time(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        assert!(time("soon").is_err() && time("-1s").is_err() && time("").is_err());
        for (text, count) in [("4096", 4096), ("512MiB", 512 << 20), ("1GiB", 1 << 30)] {
            assert_eq!(bytes(text), Ok(count), "{text}");
        }
        assert!(bytes("1GB").is_err() && bytes("99999999TiB").is_err());
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        assert_eq!(since("@1700000000"), Ok(at));
        assert!(since("1h").unwrap() < SystemTime::now());
    }
}
