//! Actogen at work: `actogen-bench`, which does a work once each time that it is our turn, beside bare QUIC as ever.

use std::{collections::BTreeMap, path::PathBuf, process::Command, time::Duration};

use measure::{PATIENCE, work::Work};
use serde_json::Value;

use crate::{
    Error,
    options::{Options, Placement},
    process::Processes,
};

/// What hides our messages from others, where they leave the process.
pub(crate) const ENCRYPTED: &str = "TLS 1.3";

/// The bench ends where bare QUIC is slow in that moment, since it would flatter us. On a machine that does something else as well that
/// passes.
const ATTEMPTS: usize = 3;

/// `actogen-bench`, with what it can measure.
#[derive(Debug)]
pub(crate) struct Ours {
    program: PathBuf,
    placement: Placement,
    mtu: Option<u16>,
    /// Measures by name, with the suite of each.
    suites: BTreeMap<String, String>,
}

/// What a turn gave.
#[derive(Debug)]
pub(crate) struct Turn {
    /// As many as the work has measures, in their order.
    pub(crate) figures: Vec<f64>,
    pub(crate) settings: Value,
}

impl Ours {
    /// Asks the program what it can measure.
    ///
    /// # Errors
    /// That it does not say.
    pub(crate) fn new(
        processes: &Processes,
        program: PathBuf,
        options: &Options,
    ) -> Result<Self, Error> {
        let finished = processes.run(Command::new(&program).arg("--help"), PATIENCE, true)?;
        let suites = suites(&finished.lines);
        if suites.is_empty() {
            return Err("`actogen-bench --help` names no measure".into());
        }
        Ok(Self { program, placement: options.placement, mtu: options.mtu, suites })
    }

    /// The suite that has all of a work's measures, if one does.
    pub(crate) fn suite(&self, work: &Work) -> Option<&str> {
        let mut suites = work.measures.iter().map(|measure| self.suites.get(measure.name));
        let first = suites.next()??;
        suites.all(|suite| suite == Some(first)).then_some(first)
    }

    /// Does a work once.
    ///
    /// # Errors
    /// That it could not, thrice.
    pub(crate) fn turn(
        &self,
        processes: &Processes,
        work: &Work,
        lasts: Duration,
    ) -> Result<Turn, Error> {
        let suite = self.suite(work).ok_or("actogen-bench has no such measure")?;
        let names: Vec<_> = work.measures.iter().map(|measure| measure.name).collect();
        let seconds = lasts.as_secs_f64().to_string();
        let mut attempt = 1;
        loop {
            let mut command = Command::new(&self.program);
            command.args([suite, "--json", "--rounds", "1", "--seconds", &seconds]);
            command.args(["--placement", self.placement.name(), "--only", &names.join(",")]);
            command.args(self.mtu.map(|mtu| format!("--mtu={mtu}")));
            let finished = processes.run(&mut command, lasts * 20 + PATIENCE * 4, true)?;
            if finished.status.success() {
                return read(&finished.lines, &names);
            }
            let why = finished.errors.lines().last().unwrap_or("it did not say why").to_owned();
            if attempt == ATTEMPTS {
                return Err(why.into());
            }
            eprintln!("peers: once more: {why}");
            attempt += 1;
        }
    }
}

/// What stands behind `Suites:` in the help: a line for each suite with a colon behind its name, and below it a line with its measures.
fn suites(help: &[String]) -> BTreeMap<String, String> {
    let lines = help.iter().skip_while(|line| !line.starts_with("Suites:")).skip(1);
    let mut suites = BTreeMap::new();
    let mut suite = None;
    for line in lines {
        match (line.split_once(": "), suite) {
            (Some((name, _)), _) => suite = Some(name.trim()),
            (None, Some(suite)) => {
                suites.extend(
                    line.split(", ").map(|name| (name.trim().to_owned(), suite.to_owned())),
                );
            }
            (None, None) => {}
        }
    }
    suites
}

/// Takes the measures of these names from lines of JSON.
fn read(lines: &[String], names: &[&str]) -> Result<Turn, Error> {
    let lines: Vec<Value> =
        lines.iter().map(|line| serde_json::from_str(line)).collect::<Result<_, _>>()?;
    let line = |name: &&str| {
        let found = lines.iter().find(|line| line["name"] == **name);
        found.ok_or_else(|| format!("actogen-bench gave no `{name}`"))
    };
    let figure = |name: &&str| {
        let value = line(name)?["value"].as_f64();
        value.ok_or_else(|| Error::from(format!("actogen-bench gave no value of `{name}`")))
    };
    let figures = names.iter().map(figure).collect::<Result<_, _>>()?;
    let settings = lines.first().map(|line| line["settings"].clone()).unwrap_or_default();
    Ok(Turn { figures, settings })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn the_help_names_each_suites_measures() {
        let help = "Usage: actogen-bench <SUITE>\n\nOptions:\n  --json: no suite\n\nSuites:\n  \
                    remote: two processes\n      tell64, ask64_p50, ask64_p99\n  local: one\n      \
                    tell_same_arbiter";
        let suites = suites(&lines(help));
        assert_eq!(suites.len(), 4);
        assert_eq!(suites["ask64_p99"], "remote");
        assert_eq!(suites["tell_same_arbiter"], "local");
    }

    #[test]
    fn a_work_belongs_to_the_suite_that_has_all_its_measures() {
        let ours = |names: &[&str]| Ours {
            program: PathBuf::new(),
            placement: Placement::Inline,
            mtu: None,
            suites: names.iter().map(|name| ((*name).to_owned(), "remote".to_owned())).collect(),
        };
        let work = Work::find("ask64").unwrap();
        assert_eq!(ours(&["ask64_p50", "ask64_p99"]).suite(work), Some("remote"));
        assert_eq!(ours(&["ask64_p50"]).suite(work), None);
        assert_eq!(ours(&["ask64_p99"]).suite(work), None);
    }

    #[test]
    fn figures_come_in_the_order_of_their_names() {
        let text = "{\"name\":\"a\",\"value\":1.5,\"settings\":{\"mtu\":1452}}\n{\"name\":\"b\",\"value\":2}";
        let turn = read(&lines(text), &["b", "a"]).unwrap();
        assert_eq!(turn.figures, [2.0, 1.5]);
        assert_eq!(turn.settings["mtu"], 1452);
        assert!(read(&lines(text), &["c"]).is_err());
        assert!(read(&lines("no JSON"), &[]).is_err());
    }
}
