//! The bench as its users run it: as a program that puts out lines of JSON.

use std::process::{Command, Output};

use serde_json::Value;

/// Runs it.
pub(crate) fn bench(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_actogen-bench"))
        .args(arguments)
        .output()
        .expect("the program was built with this test")
}

/// Runs it, which must succeed; gives its lines.
pub(crate) fn lines(arguments: &[&str]) -> Vec<Value> {
    let output = bench(arguments);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {errors}");
    let text = String::from_utf8(output.stdout).expect("JSON is UTF-8");
    text.lines().map(|line| serde_json::from_str(line).expect("a line is JSON")).collect()
}

/// The names of the measures, in order.
pub(crate) fn names(lines: &[Value]) -> Vec<&str> {
    lines.iter().map(|line| line["name"].as_str().expect("a measure has a name")).collect()
}
