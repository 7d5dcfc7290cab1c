//! What is put out: lines of JSON or a table on standard output, and what is not in them by name.

use std::{
    fmt,
    io::{self, Write},
};

use measure::work::{Better, Work};
use serde::Serialize;
use serde_json::Value;

use crate::{
    demands::DEMANDS,
    options::Options,
    ours,
    rounds::{Measured, OfPeer, Results},
    statistics::{Figure, ratio},
};

/// Our name in the table.
const OURS: &str = "actogen";

/// Why something is not in the table.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// A peer that could not be built or is not installed.
    Skipped { peer: &'static str, why: String },
    /// A peer that does not do what it should.
    Failed { peer: &'static str, why: String },
    /// A work that has no meaning with somebody.
    Without { who: &'static str, work: &'static Work, why: String },
}

impl Trouble {
    /// Whether the run is a failure by it.
    pub(crate) fn fails(&self, require_all: bool) -> bool {
        match self {
            Self::Skipped { .. } => require_all,
            Self::Failed { .. } => true,
            Self::Without { .. } => false,
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Skipped { peer, why } => write!(f, "SKIPPED {peer}: {why}"),
            Self::Failed { peer, why } => write!(f, "FAILED {peer}: {why}"),
            Self::Without { who, work, why } => write!(f, "left out {who}: {}: {why}", work.name),
        }
    }
}

/// One line of JSON: the bench's fields, `value` being ours and `reference` the peer's, and those of a comparison.
#[derive(Debug, Serialize)]
struct Line<'a> {
    suite: &'a str,
    peer: &'a str,
    name: &'a str,
    unit: &'a str,
    better: &'a str,
    /// `null`, as all of ours, where `actogen-bench` does not have the measure.
    value: Option<f64>,
    min: Option<f64>,
    max: Option<f64>,
    n: usize,
    reference_name: &'a str,
    reference: f64,
    reference_min: f64,
    reference_max: f64,
    ratio: Option<f64>,
    /// Of the peer's messages, from 0 to 1.
    lost: f64,
    /// What encrypts the peer's messages, if anything does.
    reference_encrypted: Option<&'a str>,
    settings: &'a Value,
}

/// Puts all of it out: the results on standard output, with `--json` the rest on standard error.
///
/// # Errors
/// Those of standard output.
pub(crate) fn put_out(
    options: &Options,
    results: &Results,
    troubles: &[Trouble],
) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let rest = rest(results, troubles);
    if options.json {
        json(&mut out, results)?;
        eprint!("{rest}");
    } else {
        table(&mut out, options, results)?;
        write!(out, "{rest}")?;
    }
    out.flush()
}

fn json(out: &mut impl Write, results: &Results) -> io::Result<()> {
    for Measured { suite, measure, ours, peers } in &results.measured {
        let ours = Figure::of(ours);
        for of_peer in peers {
            let Some(reference) = of_peer.figure() else { continue };
            let about = results.about.iter().find(|(peer, _)| peer.name == of_peer.peer.name);
            let line = Line {
                suite,
                peer: of_peer.peer.name,
                name: measure.name,
                unit: measure.unit,
                better: better(measure.better),
                value: ours.map(|ours| ours.value),
                min: ours.map(|ours| ours.min),
                max: ours.map(|ours| ours.max),
                n: of_peer.rounds.len(),
                reference_name: about.map_or("", |(_, about)| about),
                reference: reference.value,
                reference_min: reference.min,
                reference_max: reference.max,
                ratio: ratio(&of_peer.rounds),
                lost: of_peer.lost(),
                reference_encrypted: of_peer.peer.encrypted,
                settings: &results.settings,
            };
            serde_json::to_writer(&mut *out, &line)?;
            writeln!(out)?;
        }
    }
    Ok(())
}

fn better(better: Better) -> &'static str {
    match better {
        Better::Higher => "higher",
        Better::Lower => "lower",
    }
}

fn table(out: &mut impl Write, options: &Options, results: &Results) -> io::Result<()> {
    let setting = |name: &str| match &results.settings[name] {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    writeln!(
        out,
        "{} rounds of {} s; actogen: placement {}, MTU {}, pinned {}",
        options.rounds,
        options.lasts.as_secs_f64(),
        setting("placement"),
        setting("mtu"),
        setting("pinned"),
    )?;
    for (peer, about) in &results.about {
        let encrypted = peer.encrypted.unwrap_or("not encrypted");
        writeln!(out, "{}: {about} ({encrypted})", peer.name)?;
    }
    writeln!(out)?;
    let row = Row {
        measure: "measure",
        who: "who",
        value: "value",
        min: "min",
        max: "max",
        unit: "unit",
        ratio: "actogen/peer",
        better: "better",
        lost: "lost",
        encrypted: "encrypted",
    };
    writeln!(out, "{row}")?;
    for measured in &results.measured {
        let Measured { suite, measure, ours, peers } = measured;
        let mut put = |who: &str, figure: Figure, ratio: &str, lost: &str, encrypted: &str| {
            let row = Row {
                measure: measure.name,
                who,
                value: &short(figure.value),
                min: &short(figure.min),
                max: &short(figure.max),
                unit: measure.unit,
                ratio,
                better: better(measure.better),
                lost,
                encrypted: if *suite == "remote" { encrypted } else { "-" },
            };
            writeln!(out, "{row}")
        };
        if let Some(ours) = Figure::of(ours) {
            // The bench fails where anything is lost.
            put(OURS, ours, "", "0 %", ours::ENCRYPTED)?;
        }
        for of_peer in peers {
            let Some(figure) = of_peer.figure() else { continue };
            let ratio =
                ratio(&of_peer.rounds).map_or("-".to_owned(), |ratio| format!("{ratio:.2}"));
            let lost = of_peer.lost_percent();
            put(of_peer.peer.name, figure, &ratio, &lost, of_peer.peer.encrypted.unwrap_or("no"))?;
        }
    }
    Ok(())
}

/// What is not in the table, and what it says about our promises.
fn rest(results: &Results, troubles: &[Trouble]) -> String {
    let mut text = String::new();
    let demands = DEMANDS.iter().map(|demand| {
        let measured = results.measured.iter().find(|m| m.measure.name == demand.measure);
        let peer = measured.and_then(|m| m.peers.iter().find(|p| p.peer.name == demand.peer));
        demand.verdict(peer.and_then(|peer| ratio(&peer.rounds)))
    });
    for line in demands.chain(named(troubles)) {
        text.push_str(&line);
        text.push('\n');
    }
    format!("\n{text}")
}

/// A line for each trouble; works that somebody does not do for one and the same reason stand in one.
fn named(troubles: &[Trouble]) -> Vec<String> {
    let mut without: Vec<(&str, &str, Vec<&str>)> = Vec::new();
    let mut lines = Vec::new();
    for trouble in troubles {
        let Trouble::Without { who, work, why } = trouble else {
            lines.push(trouble.to_string());
            continue;
        };
        match without.iter_mut().find(|(other, reason, _)| other == who && reason == why) {
            Some((_, _, works)) => works.push(work.name),
            None => without.push((who, why, vec![work.name])),
        }
    }
    lines.extend(
        without
            .iter()
            .map(|(who, why, works)| format!("left out {who}: {}: {why}", works.join(", "))),
    );
    lines
}

impl OfPeer {
    fn figure(&self) -> Option<Figure> {
        Figure::of(&self.rounds.iter().map(|round| round.peer).collect::<Vec<_>>())
    }

    fn lost(&self) -> f64 {
        (self.sent - self.handled.min(self.sent)) as f64 / self.sent.max(1) as f64
    }

    /// A loss, however small, is not rounded to none.
    fn lost_percent(&self) -> String {
        match self.lost() * 100.0 {
            0.0 => "0 %".to_owned(),
            percent if percent < 0.01 => "< 0.01 %".to_owned(),
            percent => format!("{percent:.2} %"),
        }
    }
}

/// A line of the table.
struct Row<'a> {
    measure: &'a str,
    who: &'a str,
    value: &'a str,
    min: &'a str,
    max: &'a str,
    unit: &'a str,
    ratio: &'a str,
    better: &'a str,
    lost: &'a str,
    encrypted: &'a str,
}

impl fmt::Display for Row<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Row { measure, who, value, min, max, unit, ratio, better, lost, encrypted } = self;
        write!(
            f,
            "{measure:<22} {who:<12} {value:>9} {min:>9} {max:>9} {unit:<11} {ratio:>12} {better:<7} {lost:>9} {encrypted}"
        )
    }
}

/// Four digits that count, and a letter for thousands and millions.
fn short(x: f64) -> String {
    let (scaled, letter) = match x.abs() {
        big if big >= 1e6 => (x / 1e6, " M"),
        big if big >= 1e4 => (x / 1e3, " k"),
        _ => (x, ""),
    };
    let decimals = match scaled.abs() {
        big if big >= 1000.0 => 0,
        big if big >= 100.0 => 1,
        big if big >= 10.0 => 2,
        _ => 3,
    };
    format!("{scaled:.decimals$}{letter}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{peer::Peer, statistics::Round};

    fn results() -> Results {
        let work = Work::find("tell64").unwrap();
        let elfo = Peer::find("elfo").unwrap();
        let round = |ours, peer| Round { ours: Some(ours), peer };
        Results {
            settings: json!({"placement": "threads", "mtu": 1452, "pinned": false}),
            about: vec![(elfo, "elfo 0.2.0; TCP".into())],
            measured: vec![Measured {
                suite: "remote",
                measure: &work.measures[0],
                ours: vec![4e6, 6e6],
                peers: vec![OfPeer {
                    peer: elfo,
                    rounds: vec![round(4e6, 2e6), round(6e6, 2e6)],
                    sent: 1000,
                    handled: 990,
                }],
            }],
        }
    }

    #[test]
    fn json_has_the_benchs_fields_and_the_peer() {
        let mut out = Vec::new();
        json(&mut out, &results()).unwrap();
        let text = String::from_utf8(out).unwrap();
        let line: Value = serde_json::from_str(&text).unwrap();
        let expected = json!({
            "suite": "remote", "peer": "elfo", "name": "tell64", "unit": "messages/s", "better": "higher",
            "value": 5e6, "min": 4e6, "max": 6e6, "n": 2,
            "reference_name": "elfo 0.2.0; TCP", "reference": 2e6, "reference_min": 2e6, "reference_max": 2e6,
            "ratio": 2.5, "lost": 0.01, "reference_encrypted": null,
            "settings": {"placement": "threads", "mtu": 1452, "pinned": false},
        });
        assert_eq!(line, expected);
    }

    #[test]
    fn the_table_has_ours_and_the_peers_with_ratio_and_loss() {
        let options = Options::read(["run"]).unwrap();
        let mut out = Vec::new();
        table(&mut out, &options, &results()).unwrap();
        let text = String::from_utf8(out).unwrap();
        let row = |who: &str| {
            let line =
                text.lines().find(|line| line.contains(&format!("tell64                 {who} ")));
            line.unwrap_or_else(|| panic!("{text}"))
                .split_whitespace()
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert_eq!(
            row("actogen"),
            "tell64 actogen 5.000 M 4.000 M 6.000 M messages/s higher 0 % TLS 1.3"
        );
        assert_eq!(
            row("elfo"),
            "tell64 elfo 2.000 M 2.000 M 2.000 M messages/s 2.50 higher 1.00 % no"
        );
    }

    #[test]
    fn what_is_missing_is_said_by_name_and_each_demand_is_judged() {
        let troubles = [
            Trouble::Skipped { peer: "erlang", why: "`erl` is not installed".into() },
            Trouble::Without { who: "elfo", work: Work::find("ask64").unwrap(), why: "so".into() },
            Trouble::Without {
                who: "actix",
                work: Work::find("tell64").unwrap(),
                why: "so".into(),
            },
            Trouble::Without { who: "elfo", work: Work::find("tell1k").unwrap(), why: "so".into() },
        ];
        let text = rest(&results(), &troubles);
        for part in [
            "SKIPPED erlang: `erl` is not installed\n",
            "left out elfo: ask64, tell1k: so\n",
            "left out actix: tell64: so\n",
            "tell64 at least 3 times that of elfo: DOES NOT HOLD (2.50)\n",
            "tell64 at least 5 times that of erlang: not measured\n",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }

    #[test]
    fn a_skip_fails_only_where_all_is_required() {
        let skipped = Trouble::Skipped { peer: "erlang", why: String::new() };
        assert!(!skipped.fails(false) && skipped.fails(true));
        assert!(Trouble::Failed { peer: "elfo", why: String::new() }.fails(false));
    }

    #[test]
    fn a_small_loss_is_a_loss() {
        let mut of_peer = results().measured.remove(0).peers.remove(0);
        (of_peer.sent, of_peer.handled) = (1_000_000, 999_999);
        assert_eq!(of_peer.lost_percent(), "< 0.01 %");
        of_peer.handled = of_peer.sent;
        assert_eq!(of_peer.lost_percent(), "0 %");
    }
}
