//! The journaled programs, run as they are, and killed.

#![allow(clippy::unwrap_used, reason = "this is all test code")]

mod support;

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

use support::run;

/// Seconds of transfers and kills: `ACTOGEN_BANK_SECONDS`, or a few.
fn seconds() -> String {
    std::env::var("ACTOGEN_BANK_SECONDS").unwrap_or_else(|_| "4".to_owned())
}

#[test]
fn a_durable_bank_has_all_its_money_after_its_processes_were_killed() {
    let folder = tempfile::tempdir().unwrap();
    let bank = |seconds: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bank-durable"));
        command.args(["--seconds", seconds, "--kill-every", "300", "--rough", "--folder"]);
        run(command.arg(folder.path())).succeeded()
    };
    let first = bank(&seconds());
    assert!(first.starts_with("12000 in 12 accounts of 3 processes\n"), "{first}");
    assert!(
        first.ends_with("12000 in the accounts, 0 on its way\nall money is accounted for\n"),
        "{first}"
    );
    let dropped = first.lines().find_map(|line| line.split_once(" of ")?.0.parse::<u64>().ok());
    assert!(dropped.is_some_and(|dropped| dropped > 0), "{first}");
    // The money is still there for the next run.
    let second = bank("1");
    assert!(second.starts_with("24000 in 12 accounts of 3 processes\n"), "{second}");
}

fn countdown(file: &Path) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_journal-demo"));
    command.arg(file).args(["--from", "6", "--step", "100"]);
    command.stdout(Stdio::piped()).spawn().unwrap()
}

#[test]
fn a_countdown_that_is_killed_goes_on_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rocket.redb");
    let mut last = 6;
    for _ in 0..2 {
        let mut demo = countdown(&file);
        let mut lines = BufReader::new(demo.stdout.take().unwrap()).lines();
        let mut next = || lines.next().unwrap().unwrap().parse::<u32>().unwrap();
        let first = next();
        assert!(first <= last, "{first} behind {last}");
        last = next();
        assert!(last < first, "{last} behind {first}");
        demo.kill().unwrap();
        demo.wait().unwrap();
    }
    let demo = countdown(&file).wait_with_output().unwrap();
    let out = String::from_utf8(demo.stdout).unwrap();
    assert!(demo.status.success() && out.ends_with("off!\n"), "{out}");
    assert!(out.lines().next().unwrap().parse::<u32>().unwrap() <= last, "{out} behind {last}");
}
