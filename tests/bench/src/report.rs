//! What is put out: lines of JSON or a table on standard output, progress on standard error.

use std::io::{self, Write};

use serde::Serialize;

use crate::{
    settings::Settings,
    statistics::Summary,
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
    reference_name: &'a str,
    reference: f64,
    ratio: f64,
    /// Bare quinn over bare TCP, framed and one way, in this run.
    reference_of_tcp: f64,
    settings: Settings,
}

/// Where the results go.
pub(crate) struct Report {
    suite: &'static str,
    settings: Settings,
    json: bool,
    rows: usize,
    out: Box<dyn Write>,
}

impl Report {
    pub(crate) fn new(suite: &'static str, settings: Settings, json: bool) -> Self {
        Self { suite, settings, json, rows: 0, out: Box::new(io::stdout()) }
    }

    /// Says on standard error what is being done.
    pub(crate) fn progress(&self, text: &str) {
        eprintln!("{}: {text}", self.suite);
    }

    /// Puts out a measure.
    ///
    /// # Errors
    /// Those of standard output.
    pub(crate) fn result(
        &mut self,
        measure: &Measure,
        summary: &Summary,
        reference_of_tcp: f64,
    ) -> io::Result<()> {
        let &Summary { value, min, max, n, reference, ratio } = summary;
        if self.json {
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
                reference,
                ratio,
                reference_of_tcp,
                settings: self.settings,
            };
            serde_json::to_writer(&mut self.out, &line)?;
            writeln!(self.out)?;
        } else {
            if self.rows == 0 {
                let Settings { placement, mtu, pinned } = self.settings;
                let pinned = if pinned { ", pinned" } else { "" };
                writeln!(
                    self.out,
                    "{}: placement {}, MTU {mtu}{pinned}, rounds {n}; bare quinn carries {reference_of_tcp:.2} of bare TCP",
                    self.suite,
                    placement.name()
                )?;
                writeln!(
                    self.out,
                    "{:<16} {:>10} {:>10} {:>10} {:<12} {:>7}  {:>10} reference",
                    "measure", "value", "min", "max", "unit", "ratio", ""
                )?;
            }
            writeln!(
                self.out,
                "{:<16} {:>10} {:>10} {:>10} {:<12} {:>7.3}  {:>10} {}",
                measure.name,
                figure(value),
                figure(min),
                figure(max),
                measure.unit,
                ratio,
                figure(reference),
                measure.reference
            )?;
        }
        self.rows += 1;
        self.out.flush()
    }
}

/// Four digits that count, and a letter for thousands and millions.
fn figure(x: f64) -> String {
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
        reference: "bare quinn, framed",
    };

    fn put_out(json: bool) -> String {
        let kept = Kept::default();
        let settings = Settings { placement: Placement::Inline, mtu: 1452, pinned: false };
        let mut report = Report::new("remote", settings, json);
        report.out = Box::new(kept.clone());
        let summary = Summary { value: 5e6, min: 4e6, max: 6e6, n: 3, reference: 1e7, ratio: 0.5 };
        report.result(&MEASURE, &summary, 0.45).unwrap();
        report.result(&MEASURE, &summary, 0.45).unwrap();
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
    }

    #[test]
    fn the_table_has_one_head() {
        let text = put_out(false);
        assert_eq!(text.lines().count(), 4, "{text}");
        assert!(text.lines().nth(3).unwrap().starts_with("tell64 "), "{text}");
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
