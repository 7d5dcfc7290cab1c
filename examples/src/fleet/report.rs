//! How each host fared: a table for people, or lines of JSON.

use std::io::{self, Write};

use actogen::prelude::*;

use super::{arguments::Arguments, tree::Tree};

/// How one host fared. What is not known is left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The way to it.
    pub host: String,
    /// Its context.
    pub id: Option<u64>,
    /// The contexts from the root to it.
    pub route: String,
    /// Milliseconds from its launch until it could be reached.
    pub launch_ms: Option<u64>,
    /// Microseconds to it and back.
    pub rtt_us: Option<u64>,
    /// The command's exit status.
    pub exit: Option<i32>,
    /// Milliseconds in which a file went there and back; in the table alone.
    #[serde(skip)]
    pub copy_ms: Option<u64>,
    /// What carries its link.
    pub transport: Option<String>,
}

const HEAD: [&str; 8] =
    ["host", "id", "route", "launch", "round trip", "exit", "file copied", "transport"];

impl Report {
    fn cells(&self) -> [String; 8] {
        let or_dash = |cell: Option<String>| cell.unwrap_or_else(|| "-".to_owned());
        [
            self.host.clone(),
            or_dash(self.id.map(|id| id.to_string())),
            self.route.clone(),
            or_dash(self.launch_ms.map(|ms| format!("{ms} ms"))),
            or_dash(self.rtt_us.map(|us| format!("{us} us"))),
            or_dash(self.exit.map(|exit| exit.to_string())),
            or_dash(self.copy_ms.map(|ms| format!("{ms} ms"))),
            or_dash(self.transport.clone()),
        ]
    }
}

/// Rows with their columns under each other.
fn table(reports: &[Report]) -> Vec<String> {
    let rows: Vec<[String; 8]> =
        std::iter::once(HEAD.map(str::to_owned)).chain(reports.iter().map(Report::cells)).collect();
    let widths: Vec<usize> = (0..HEAD.len())
        .map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default())
        .collect();
    let line = |row: &[String; 8]| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

/// Prints all of it.
///
/// # Errors
/// Those of standard output.
pub fn print(reports: &[Report], arguments: &Arguments, tree: &Tree) -> io::Result<()> {
    let mut out = io::stdout().lock();
    if arguments.json {
        for report in reports {
            serde_json::to_writer(&mut out, report)?;
            writeln!(out)?;
        }
        return out.flush();
    }
    let lines = if arguments.tree { tree.lines() } else { Vec::new() };
    for line in lines.into_iter().chain(table(reports)) {
        writeln!(out, "{line}")?;
    }
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_under_each_other() {
        let report = |host: &str, id| Report {
            host: host.to_owned(),
            id,
            route: "0/1".to_owned(),
            launch_ms: id.map(|_| 12),
            rtt_us: None,
            exit: id.map(|_| 0),
            copy_ms: id.map(|_| 3),
            transport: id.map(|_| "udp".to_owned()),
        };
        assert_eq!(
            table(&[report("local", Some(1)), report("ssh:far-away", None)]),
            [
                "host          id  route  launch  round trip  exit  file copied  transport",
                "local         1   0/1    12 ms   -           0     3 ms         udp",
                "ssh:far-away  -   0/1    -       -           -     -            -",
            ]
        );
    }
}
