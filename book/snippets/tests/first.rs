//! The tutorial's program does what the tutorial and the README say.

use std::{fs, path::Path, process::Command};

#[test]
fn the_first_program_prints_what_the_tutorial_says() {
    let output = Command::new(env!("CARGO_BIN_EXE_first")).output().unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert_eq!(stdout, "2 + 3 = 5\ncontext 1 lost: process exited (signal 9)\n");
    assert!(output.status.success());
}

#[test]
fn the_readme_shows_the_first_program() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let program = fs::read_to_string(folder.join("src/bin/first.rs")).unwrap();
    let program: Vec<_> = program
        .lines()
        .skip_while(|line| !line.contains("ANCHOR: program"))
        .filter(|line| !line.contains("ANCHOR"))
        .collect();
    let readme = fs::read_to_string(folder.join("../../README.md")).unwrap();
    let shown: Vec<_> = readme
        .lines()
        .skip_while(|line| *line != "```rust")
        .skip(1)
        .take_while(|line| *line != "```")
        .collect();
    assert_eq!(shown, program);
}
