//! The command line.

use std::{path::PathBuf, time::Duration};

use clap::{CommandFactory, Parser, error::ErrorKind};

use crate::{
    settings::{DEFAULT_MTU, MTU_RANGE, Placement, Settings},
    suite::{Plan, SUITES, Suite},
};

/// Measures Actogen beside the same work on bare QUIC.
///
/// Rounds alternate between the two, and the ratio is the median of the rounds' own: ours over the reference's. A measure that cannot
/// be taken is an error (exit code 1).
#[derive(Debug, Parser)]
#[command(name = "actogen-bench", version, after_help = suites())]
struct Arguments {
    /// Which measures to take; see below
    suite: String,
    /// Print lines of JSON
    #[arg(long)]
    json: bool,
    /// Draw what was measured, as a page of its own
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// How often both do each work
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    /// How long either does it in a round
    #[arg(long, value_name = "S", default_value = "2", value_parser = seconds)]
    seconds: Duration,
    /// Take these measures only, given by name with commas between them
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    only: Vec<String>,
    /// Measure although bare QUIC is far slower than bare TCP, as where the system's UDP is slow. The ratios flatter us then
    #[arg(long)]
    accept_slow_reference: bool,
    /// How many messages a flood has, and how many turns a recovery: for tests, since a short one shows little
    #[arg(long, hide = true, value_parser = clap::value_parser!(u64).range(1..))]
    messages: Option<u64>,
    /// Where the I/O runs
    #[arg(long, value_enum, default_value_t = Placement::Threads)]
    placement: Placement,
    /// The largest datagram that QUIC may try, in bytes
    #[arg(long, value_name = "BYTES", default_value_t = DEFAULT_MTU, value_parser = clap::value_parser!(u16).range(MTU_RANGE))]
    mtu: u16,
}

/// What the command line asks for.
pub(crate) struct Options {
    pub(crate) suite: &'static Suite,
    pub(crate) plan: Plan,
    pub(crate) json: bool,
    /// The file to draw into.
    pub(crate) html: Option<PathBuf>,
}

impl Options {
    /// Reads the program's arguments.
    ///
    /// # Errors
    /// A usage error, or a request for help, as clap puts it.
    pub(crate) fn read<I, S>(arguments: I) -> Result<Self, clap::Error>
    where
        I: IntoIterator<Item = S>,
        S: Into<std::ffi::OsString> + Clone,
    {
        let arguments = Arguments::try_parse_from(arguments)?;
        let refuse = |text: String| Arguments::command().error(ErrorKind::InvalidValue, text);
        let suite = Suite::find(&arguments.suite).ok_or_else(|| {
            let there: Vec<_> = SUITES.iter().map(|suite| suite.name).collect();
            refuse(format!("there is no suite `{}`: there is {}", arguments.suite, list(&there)))
        })?;
        let names: Vec<_> = (suite.measures)().iter().map(|measure| measure.name).collect();
        if let Some(unknown) = arguments.only.iter().find(|name| !names.contains(&name.as_str())) {
            let (suite, there) = (suite.name, list(&names));
            return Err(refuse(format!("`{suite}` has no measure `{unknown}`: there is {there}")));
        }
        let plan = Plan {
            rounds: arguments.rounds.into(),
            lasts: arguments.seconds,
            only: arguments.only,
            messages: arguments.messages,
            accepts_slow_reference: arguments.accept_slow_reference,
            settings: Settings::new(arguments.placement, arguments.mtu),
        };
        Ok(Self { suite, plan, json: arguments.json, html: arguments.html })
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "it is no number".to_owned())?;
    if (0.01..=3600.0).contains(&seconds) {
        Ok(Duration::from_secs_f64(seconds))
    } else {
        Err("it must be from 0.01 to 3600".to_owned())
    }
}

fn list(names: &[&str]) -> String {
    names.join(", ")
}

fn suites() -> String {
    let suite = |suite: &Suite| {
        let measures: Vec<_> = (suite.measures)().iter().map(|measure| measure.name).collect();
        format!("\n  {}: {}\n      {}", suite.name, suite.about, list(&measures))
    };
    format!("Suites:{}", SUITES.iter().map(suite).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Options, clap::Error> {
        Options::read(line.split_whitespace())
    }

    fn refusal(line: &str) -> String {
        read(line).err().unwrap().to_string()
    }

    #[test]
    fn the_command_line_has_its_defaults() {
        let options = read("actogen-bench remote").unwrap();
        assert_eq!(options.suite.name, "remote");
        assert!(!options.json && options.html.is_none());
        assert_eq!(options.plan.rounds, 5);
        assert_eq!(options.plan.lasts, Duration::from_secs(2));
        assert_eq!(options.plan.settings.placement, Placement::Threads);
        assert_eq!(options.plan.settings.mtu, 1452);
        assert!((options.suite.measures)().into_iter().all(|measure| options.plan.wants(measure)));
    }

    #[test]
    fn every_option_is_heard() {
        let options = read(
            "actogen-bench remote --json --rounds 1 --seconds 0.2 --only tell64,bulk1m --placement inline --mtu 6500 --html out.html --accept-slow-reference",
        )
        .unwrap();
        assert!(options.json && options.plan.accepts_slow_reference);
        assert_eq!(options.plan.rounds, 1);
        assert_eq!(options.plan.lasts, Duration::from_millis(200));
        assert_eq!(options.plan.settings.placement, Placement::Inline);
        assert_eq!(options.plan.settings.mtu, 6500);
        assert_eq!(options.html, Some("out.html".into()));
        let wanted: Vec<_> = (options.suite.measures)()
            .into_iter()
            .filter(|measure| options.plan.wants(measure))
            .map(|measure| measure.name)
            .collect();
        assert_eq!(wanted, ["tell64", "bulk1m"]);
    }

    #[test]
    fn what_there_is_not_is_refused_with_what_there_is() {
        assert!(
            refusal("actogen-bench joy").contains(
                "no suite `joy`: there is local, remote, relay, mixed, calls, crowd, files, flood, scale, groups, savina, journal, publish"
            ),
            "{}",
            refusal("actogen-bench joy")
        );
        let text = refusal("actogen-bench remote --only tell64,tell65");
        assert!(text.contains("no measure `tell65`: there is tell64, tell1k, ask64_p50"), "{text}");
        for line in [
            "actogen-bench",
            "actogen-bench remote --rounds 0",
            "actogen-bench remote --seconds 0",
            "actogen-bench remote --seconds NaN",
            "actogen-bench remote --mtu 1199",
            "actogen-bench remote --mtu 6551",
            "actogen-bench remote --html",
            "actogen-bench remote --placement elsewhere",
        ] {
            assert_eq!(read(line).err().unwrap().exit_code(), 2, "{line}");
        }
    }
}
