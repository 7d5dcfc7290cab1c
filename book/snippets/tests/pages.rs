//! What the book's pages refer to exists: tests by name, and snippets by anchor.

#![expect(clippy::unwrap_used, reason = "this is all test code")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            sources(&path, found);
        } else if name.ends_with(".rs") {
            found.push(path);
        }
    }
}

/// The names of all functions: a test is one of them, whatever macro makes it a test.
fn functions() -> BTreeSet<String> {
    let mut files = Vec::new();
    sources(&workspace(), &mut files);
    let mut names = BTreeSet::new();
    for text in files.iter().map(|file| fs::read_to_string(file).unwrap()) {
        for (_, rest) in text.lines().filter_map(|line| line.split_once("fn ")) {
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            names.insert(rest[..end.unwrap_or(rest.len())].to_owned());
        }
    }
    names
}

#[test]
fn every_guarantee_names_tests_that_exist() {
    let functions = functions();
    let page = fs::read_to_string(workspace().join("book/src/guarantees.md")).unwrap();
    let rows = page.lines().filter_map(|line| {
        let (_, shown_by) = line.strip_prefix("| ")?.trim_end_matches(" |").rsplit_once(" | ")?;
        (shown_by != "shown by").then_some(shown_by)
    });
    let mut count = 0;
    for row in rows {
        for name in row.split(", ") {
            let name = name.trim_matches('`');
            assert!(functions.contains(name), "no test is named {name}");
            count += 1;
        }
    }
    assert!(count > 50, "{count} names were read");
}

#[test]
fn every_snippet_has_its_anchor() {
    let pages = fs::read_dir(workspace().join("book/src")).unwrap();
    for page in pages.map(|entry| entry.unwrap().path()) {
        let text = fs::read_to_string(&page).unwrap();
        for include in text.split("{{#include ").skip(1) {
            let (reference, _) = include.split_once("}}").unwrap();
            let (file, anchor) = reference.split_once(':').unwrap();
            let source = fs::read_to_string(page.parent().unwrap().join(file)).unwrap();
            for mark in ["ANCHOR", "ANCHOR_END"] {
                let line = format!("{mark}: {anchor}");
                assert!(
                    source.lines().any(|found| found.trim().ends_with(&line)),
                    "{} has no {line}",
                    page.display()
                );
            }
        }
    }
}
