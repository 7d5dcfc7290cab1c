//! The command line.

use std::time::Duration;

use clap::{CommandFactory, Parser, ValueEnum, error::ErrorKind};
use measure::work::{Measure, WORKS, Work};

use crate::peer::{PEERS, Peer};

/// In this environment, as in CI, what is skipped is a failure.
const REQUIRE_ALL: &str = "ACTOGEN_REQUIRE_ALL";

/// What `actogen-bench` takes.
const MTU_RANGE: std::ops::RangeInclusive<i64> = 1200..=6550;

/// Measures Actogen beside other actor systems: the same work on each of them, in turns, over the loopback.
///
/// Builds all of them first. A round is one turn of each work: ours, then each peer's. A figure is the median of the rounds, a ratio
/// the median of the rounds' own (ours over the peer's). A one-way rate counts what the receiver has handled.
///
/// Exit codes: 0 all was measured, 1 something failed (or was skipped, with ACTOGEN_REQUIRE_ALL=1), 2 usage.
#[derive(Debug, Parser)]
#[command(name = "tests/peers/run", bin_name = "tests/peers/run", after_help = names())]
struct Arguments {
    /// Print lines of JSON
    #[arg(long)]
    json: bool,
    /// Only these peers and only these measures, given by name with commas between them
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    only: Vec<String>,
    /// How many rounds
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    /// How long each does each work in a round
    #[arg(long, value_name = "S", default_value = "2", value_parser = seconds)]
    seconds: Duration,
    /// Where Actogen's I/O runs
    #[arg(long, value_enum, default_value_t = Placement::Threads)]
    placement: Placement,
    /// The largest datagram that Actogen's QUIC may try, in bytes; `actogen-bench` has a default
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u16).range(MTU_RANGE))]
    mtu: Option<u16>,
    /// Build, and measure nothing
    #[arg(long)]
    build_only: bool,
}

/// As `actogen-bench` has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Placement {
    /// Beside the actors, on one thread.
    Inline,
    /// On a thread of its own.
    Threads,
}

impl Placement {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Inline => "inline",
            Self::Threads => "threads",
        }
    }
}

/// What the command line asks for.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) json: bool,
    pub(crate) peers: Vec<&'static Peer>,
    /// Names of measures; all if there are none.
    measures: Vec<String>,
    pub(crate) rounds: usize,
    pub(crate) lasts: Duration,
    pub(crate) placement: Placement,
    pub(crate) mtu: Option<u16>,
    pub(crate) build_only: bool,
    pub(crate) require_all: bool,
}

impl Options {
    /// Reads the program's arguments, and what of the environment counts.
    ///
    /// # Errors
    /// A usage error, or a request for help, as clap puts it.
    pub(crate) fn read<I, S>(arguments: I) -> Result<Self, clap::Error>
    where
        I: IntoIterator<Item = S>,
        S: Into<std::ffi::OsString> + Clone,
    {
        let arguments = Arguments::try_parse_from(arguments)?;
        let (peers, measures): (Vec<_>, Vec<_>) =
            arguments.only.into_iter().partition(|name| Peer::find(name).is_some());
        if let Some(unknown) =
            measures.iter().find(|name| !all_measures().any(|m| m.name == **name))
        {
            let text = format!("there is no peer and no measure `{unknown}`\n\n{}", names());
            return Err(Arguments::command().error(ErrorKind::InvalidValue, text));
        }
        let wanted = |peer: &&Peer| peers.is_empty() || peers.iter().any(|name| name == peer.name);
        Ok(Self {
            json: arguments.json,
            peers: PEERS.iter().filter(wanted).collect(),
            measures,
            rounds: arguments.rounds.into(),
            lasts: arguments.seconds,
            placement: arguments.placement,
            mtu: arguments.mtu,
            build_only: arguments.build_only,
            require_all: std::env::var(REQUIRE_ALL).is_ok_and(|value| value == "1"),
        })
    }

    pub(crate) fn wants(&self, measure: &Measure) -> bool {
        self.measures.is_empty() || self.measures.iter().any(|name| name == measure.name)
    }

    /// The works that give a measure that is wanted.
    pub(crate) fn works(&self) -> impl Iterator<Item = &'static Work> {
        WORKS.iter().filter(|work| work.measures.iter().any(|measure| self.wants(measure)))
    }
}

fn all_measures() -> impl Iterator<Item = &'static Measure> {
    WORKS.iter().flat_map(|work| work.measures)
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "it is no number".to_owned())?;
    if (0.01..=3600.0).contains(&seconds) {
        Ok(Duration::from_secs_f64(seconds))
    } else {
        Err("it must be from 0.01 to 3600".to_owned())
    }
}

fn names() -> String {
    let peers: Vec<_> = PEERS.iter().map(|peer| peer.name).collect();
    let measures: Vec<_> = all_measures().map(|measure| measure.name).collect();
    format!("Peers: {}\nMeasures: {}", peers.join(", "), measures.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Options, clap::Error> {
        Options::read(line.split_whitespace())
    }

    #[test]
    fn the_command_line_has_its_defaults() {
        let options = read("run").unwrap();
        assert_eq!(options.peers.len(), PEERS.len());
        assert_eq!(options.works().count(), WORKS.len());
        assert_eq!((options.rounds, options.lasts), (5, Duration::from_secs(2)));
        assert_eq!(options.placement, Placement::Threads);
        assert!(!options.json && !options.build_only);
        assert_eq!(options.mtu, None);
    }

    #[test]
    fn peers_and_measures_are_chosen_by_name() {
        let options = read("run --only ask64_p99,elfo --only erlang --json --rounds 1").unwrap();
        let peers: Vec<_> = options.peers.iter().map(|peer| peer.name).collect();
        assert_eq!(peers, ["elfo", "erlang"]);
        let works: Vec<_> = options.works().map(|work| work.name).collect();
        assert_eq!(works, ["ask64"]);
        let wanted: Vec<_> = all_measures().filter(|m| options.wants(m)).map(|m| m.name).collect();
        assert_eq!(wanted, ["ask64_p99"]);
        assert!(options.json);
    }

    #[test]
    fn what_there_is_not_is_a_usage_error_that_lists_what_there_is() {
        let error = read("run --only elfo,tell65").unwrap_err();
        assert_eq!(error.exit_code(), 2);
        let text = error.to_string();
        assert!(text.contains("no peer and no measure `tell65`"), "{text}");
        assert!(text.contains("kameo") && text.contains("tell1k"), "{text}");
        for line in [
            "run --rounds 0",
            "run --seconds 0",
            "run --seconds NaN",
            "run elfo",
            "run --only",
            "run --mtu 1199",
            "run --mtu 6551",
        ] {
            assert_eq!(read(line).unwrap_err().exit_code(), 2, "{line}");
        }
    }
}
