//! Suite `remote`, run as a program, for a moment: that every measure is there and says what it must, not how fast.

mod support;

use support::{bench, lines, names};

const MEASURES: [&str; 7] =
    ["tell64", "tell1k", "ask64_p50", "ask64_p99", "ask64_x64", "bulk1m", "allocs_per_tell"];

#[test]
fn every_measure_is_taken_and_has_all_its_fields() {
    let lines = lines(&["remote", "--json", "--rounds", "1", "--seconds", "0.2"]);
    assert_eq!(names(&lines), MEASURES);
    for line in &lines {
        assert_eq!(line["suite"], "remote");
        assert!(["higher", "lower"].contains(&line["better"].as_str().unwrap()), "{line}");
        assert_eq!(line["n"], 1);
        let figure = |name: &str| line[name].as_f64().unwrap_or_else(|| panic!("{name}: {line}"));
        assert!(figure("value") > 0.0, "{line}");
        assert!(figure("min") <= figure("value") && figure("value") <= figure("max"), "{line}");
        let ratio = figure("value") / figure("reference");
        assert!((figure("ratio") / ratio - 1.0).abs() < 1e-9, "{line}");
        assert!(figure("reference_of_tcp") > 0.0, "{line}");
        assert!(line["unit"].is_string() && line["reference_name"].is_string(), "{line}");
        assert_eq!(line["settings"]["placement"], "threads");
        assert_eq!(line["settings"]["mtu"], 1452);
        assert!(line["settings"]["pinned"].is_boolean(), "{line}");
    }
}

#[test]
fn the_settings_and_the_choice_of_measures_are_kept() {
    let lines = lines(&[
        "remote",
        "--json",
        "--rounds",
        "2",
        "--seconds",
        "0.1",
        "--only",
        "ask64_p99,tell64",
        "--placement",
        "inline",
        "--mtu",
        "6500",
    ]);
    assert_eq!(names(&lines), ["tell64", "ask64_p99"]);
    for line in &lines {
        assert_eq!(line["n"], 2);
        assert_eq!(line["settings"]["placement"], "inline");
        assert_eq!(line["settings"]["mtu"], 6500);
    }
}

#[test]
fn the_table_stands_on_standard_output_and_progress_beside_it() {
    let output = bench(&["remote", "--rounds", "1", "--seconds", "0.1", "--only", "tell64"]);
    assert!(output.status.success());
    let table = String::from_utf8(output.stdout).unwrap();
    assert_eq!(table.lines().count(), 3, "{table}");
    assert!(table.lines().nth(2).unwrap().starts_with("tell64 "), "{table}");
    let progress = String::from_utf8(output.stderr).unwrap();
    assert!(progress.contains("round 1 of 1"), "{progress}");
}

#[test]
fn an_unknown_suite_is_a_usage_error_that_lists_those_there_are() {
    let output = bench(&["joy", "--json"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(output.stdout.is_empty());
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(
        errors.contains(
            "no suite `joy`: there is local, remote, relay, mixed, calls, crowd, files, flood, scale"
        ),
        "{errors}"
    );
}
