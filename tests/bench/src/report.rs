//! What is put out: lines of JSON or a table on standard output, progress on standard error.

use std::{
    collections::BTreeMap,
    io::{self, Write},
};

use serde::Serialize;

use crate::{
    failure::Failure,
    page::page,
    settings::Settings,
    statistics::{Compared, Summary},
    suite::{Better, Measure},
};

/// One line of JSON.
#[derive(Debug, Serialize)]
struct Line<'a> {
    suite: &'a str,
    name: &'a str,
    unit: &'a str,
    better: Better,
    value: f64,
    min: f64,
    max: f64,
    n: usize,
    reference_name: Option<&'a str>,
    reference: Option<f64>,
    ratio: Option<f64>,
    /// Bare quinn over bare TCP, framed and one way, in this run.
    #[serde(skip_serializing_if = "Option::is_none")]
    reference_of_tcp: Option<f64>,
    /// What a measure tells besides.
    #[serde(flatten)]
    more: BTreeMap<&'a str, u64>,
    settings: Settings,
}

/// A measure that was put out.
#[derive(Clone, Debug)]
pub(crate) struct Shown {
    pub(crate) measure: &'static Measure,
    pub(crate) summary: Summary,
    pub(crate) more: Vec<(&'static str, u64)>,
}

/// How a measure's times are distributed, in microseconds at [`crate::statistics::SHARES`].
#[derive(Clone, Debug)]
pub(crate) struct Distributions {
    pub(crate) measure: &'static Measure,
    pub(crate) ours: Vec<f64>,
    pub(crate) reference: Vec<f64>,
}

/// Where the results go.
pub(crate) struct Report {
    suite: &'static str,
    settings: Settings,
    json: bool,
    reference_of_tcp: Option<f64>,
    shown: Vec<Shown>,
    distributions: Vec<Distributions>,
    out: Box<dyn Write>,
}

impl Report {
    pub(crate) fn new(suite: &'static str, settings: Settings, json: bool) -> Self {
        let out = Box::new(io::stdout());
        Self {
            suite,
            settings,
            json,
            reference_of_tcp: None,
            shown: Vec::new(),
            distributions: Vec::new(),
            out,
        }
    }

    /// Bare QUIC is the reference from here on, and so fast beside bare TCP.
    pub(crate) fn reference_is_quic(&mut self, of_tcp: f64) {
        self.reference_of_tcp = Some(of_tcp);
    }

    /// Something else is from here on.
    pub(crate) fn reference_is_no_quic(&mut self) {
        self.reference_of_tcp = None;
    }

    /// Says on standard error what is being done.
    pub(crate) fn progress(&self, text: &str) {
        eprintln!("{}: {text}", self.suite);
    }

    /// Puts out a measure.
    ///
    /// # Errors
    /// [`Failure::System`] with those of standard output.
    pub(crate) fn result(
        &mut self,
        measure: &'static Measure,
        summary: &Summary,
    ) -> Result<(), Failure> {
        self.result_with(measure, summary, &[])
    }

    /// As [`Self::result`], with what the measure tells besides.
    ///
    /// # Errors
    /// [`Failure::System`] with those of standard output.
    pub(crate) fn result_with(
        &mut self,
        measure: &'static Measure,
        summary: &Summary,
        more: &[(&'static str, u64)],
    ) -> Result<(), Failure> {
        let put = if self.json {
            self.line(measure, summary, more)
        } else {
            self.row(measure, summary, more)
        };
        self.shown.push(Shown { measure, summary: *summary, more: more.to_vec() });
        put.and_then(|()| self.out.flush())
            .map_err(|error| Failure::System("standard output", error))
    }

    /// Keeps how the times of a measure are distributed, if both have some.
    pub(crate) fn distributions(&mut self, distributions: Distributions) {
        if !distributions.ours.is_empty() && !distributions.reference.is_empty() {
            self.distributions.push(distributions);
        }
    }

    /// Everything that was put out, drawn (`--html`).
    pub(crate) fn page(&self) -> String {
        page(self.suite, self.settings, &self.shown, &self.distributions)
    }

    fn line(
        &mut self,
        measure: &Measure,
        &Summary { value, min, max, n, compared }: &Summary,
        more: &[(&'static str, u64)],
    ) -> io::Result<()> {
        let line = Line {
            suite: self.suite,
            name: measure.name,
            unit: measure.unit,
            better: measure.better,
            value,
            min,
            max,
            n,
            reference_name: measure.reference,
            reference: compared.map(|compared| compared.reference),
            ratio: compared.map(|compared| compared.ratio),
            reference_of_tcp: self.reference_of_tcp,
            more: more.iter().copied().collect(),
            settings: self.settings,
        };
        serde_json::to_writer(&mut self.out, &line)?;
        writeln!(self.out)
    }

    fn row(
        &mut self,
        measure: &Measure,
        &Summary { value, min, max, n, compared }: &Summary,
        more: &[(&'static str, u64)],
    ) -> io::Result<()> {
        if self.shown.is_empty() {
            let Settings { placement, mtu, pinned } = self.settings;
            let pinned = if pinned { ", pinned" } else { "" };
            let of_tcp = self.reference_of_tcp.map_or(String::new(), |of_tcp| {
                format!("; bare quinn carries {of_tcp:.2} of bare TCP")
            });
            writeln!(
                self.out,
                "{}: placement {}, MTU {mtu}{pinned}, rounds {n}{of_tcp}",
                self.suite,
                placement.name()
            )?;
            writeln!(
                self.out,
                "{:<23} {:>10} {:>10} {:>10} {:<12} {:>7}  {:>10} reference",
                "measure", "value", "min", "max", "unit", "ratio", ""
            )?;
        }
        let (ratio, reference) = match compared {
            Some(Compared { reference, ratio }) => (format!("{ratio:.3}"), figure(reference)),
            None => Default::default(),
        };
        let goal = match (measure.floor, measure.better) {
            (None, _) => String::new(),
            (Some(floor), Better::Higher) => format!(" (goal: at least {floor})"),
            (Some(floor), Better::Lower) => format!(" (goal: at most {floor})"),
        };
        let row = format!(
            "{:<23} {:>10} {:>10} {:>10} {:<12} {ratio:>7}  {reference:>10} {}{goal}",
            measure.name,
            figure(value),
            figure(min),
            figure(max),
            measure.unit,
            measure.reference.unwrap_or_default()
        );
        writeln!(self.out, "{}", row.trim_end())?;
        for (name, value) in more {
            writeln!(self.out, "  {name:<21} {value:>10}")?;
        }
        Ok(())
    }
}

/// Four digits that count, and a letter for thousands and millions.
pub(crate) fn figure(x: f64) -> String {
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
    use std::{cell::RefCell, rc::Rc};

    use serde_json::{Value, json};

    use super::*;
    use crate::settings::Placement;

    #[derive(Clone, Default)]
    struct Kept(Rc<RefCell<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.borrow_mut().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    const MEASURE: Measure = Measure {
        name: "tell64",
        unit: "messages/s",
        better: Better::Higher,
        reference: Some("bare quinn, framed"),
        floor: None,
    };

    const ALONE: Measure = Measure { name: "flood", reference: None, ..MEASURE };

    fn put_out(json: bool) -> String {
        let kept = Kept::default();
        let settings = Settings { placement: Placement::Inline, mtu: 1452, pinned: false };
        let mut report = Report::new("remote", settings, json);
        report.out = Box::new(kept.clone());
        report.reference_is_quic(0.45);
        let compared = Some(Compared { reference: 1e7, ratio: 0.5 });
        let summary = Summary { value: 5e6, min: 4e6, max: 6e6, n: 3, compared };
        report.result(&MEASURE, &summary).unwrap();
        let alone = Summary { compared: None, ..summary };
        report.result_with(&ALONE, &alone, &[("sent", 7)]).unwrap();
        String::from_utf8(kept.0.borrow().clone()).unwrap()
    }

    #[test]
    fn json_has_the_pinned_fields() {
        let text = put_out(true);
        let lines: Vec<Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 2);
        let expected = json!({
            "suite": "remote", "name": "tell64", "unit": "messages/s", "better": "higher",
            "value": 5e6, "min": 4e6, "max": 6e6, "n": 3,
            "reference_name": "bare quinn, framed", "reference": 1e7, "ratio": 0.5,
            "reference_of_tcp": 0.45,
            "settings": {"placement": "inline", "mtu": 1452, "pinned": false},
        });
        assert_eq!(lines[0], expected);
        let mut expected = expected;
        for (name, value) in [
            ("name", json!("flood")),
            ("reference_name", Value::Null),
            ("reference", Value::Null),
            ("ratio", Value::Null),
            ("sent", json!(7)),
        ] {
            expected[name] = value;
        }
        assert_eq!(lines[1], expected);
    }

    #[test]
    fn the_table_has_one_head() {
        let text = put_out(false);
        assert_eq!(text.lines().count(), 5, "{text}");
        assert!(text.lines().nth(2).unwrap().starts_with("tell64 "), "{text}");
        assert!(text.lines().nth(3).unwrap().ends_with("messages/s"), "{text}");
        assert!(text.lines().nth(4).unwrap().starts_with("  sent "), "{text}");
        assert!(text.contains("5.000 M"), "{text}");
    }

    #[test]
    fn figures_keep_four_digits() {
        for (x, text) in [
            (0.0123, "0.012"),
            (86.04, "86.04"),
            (1153.2, "1153"),
            (66_000.0, "66.00 k"),
            (660_123.0, "660.1 k"),
            (10.8e6, "10.80 M"),
        ] {
            assert_eq!(figure(x), text);
        }
    }
}
