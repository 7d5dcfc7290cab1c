//! `wordcount` as its users run it: the real program, its worker processes, and one that is killed.

#![expect(clippy::unwrap_used, reason = "this is all test code")]

mod support;

use std::{
    fs::{self, File},
    io::Read,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use support::{Ran, output, run};
use tempfile::TempDir;

fn program<P: AsRef<Path>>(options: &[&str], paths: impl IntoIterator<Item = P>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wordcount"));
    command.args(options).args(paths.into_iter().map(|path| path.as_ref().to_owned()));
    command
}

fn wordcount<P: AsRef<Path>>(options: &[&str], paths: impl IntoIterator<Item = P>) -> Ran {
    run(&mut program(options, paths))
}

/// A folder with a file of this content.
fn file(content: impl AsRef<[u8]>) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file.txt");
    fs::write(&file, content).unwrap();
    (folder, file)
}

/// Some megabytes in files of many sizes: this package's sources, and words that were never seen before, so that a tally takes
/// several messages.
fn library() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut text = String::new();
    for room in fs::read_dir(sources.join("wordcount")).unwrap() {
        File::open(room.unwrap().path()).unwrap().read_to_string(&mut text).unwrap();
    }
    for copies in 1..=12 {
        let shelf = folder.path().join(format!("shelf-{}", copies % 3));
        fs::create_dir_all(&shelf).unwrap();
        fs::write(shelf.join(format!("sources-{copies}.rs")), text.repeat(copies)).unwrap();
    }
    let mut state = 1_u64;
    let mut rare = String::new();
    for _ in 0..60_000 {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        rare.push_str(&format!("Wörter{:x} ", state >> 24));
    }
    fs::write(folder.path().join("rare.txt"), rare).unwrap();
    fs::write(folder.path().join("empty.txt"), "").unwrap();
    folder
}

#[test]
fn counts_come_highest_first_and_ties_by_bytes() {
    let (_folder, file) = file("b a C c. É é é! it's 1 IT");
    for workers in ["0", "1", "2"] {
        let out = wordcount(&["--workers", workers], [&file]).succeeded();
        assert_eq!(out, "3\té\n2\tc\n2\tit\n1\t1\n1\ta\n1\tb\n1\ts\n", "{workers} workers");
    }
}

#[test]
fn twenty_words_are_printed_unless_said_otherwise() {
    let words: Vec<_> = (10..60).map(|word| format!("w{word}")).collect();
    let (_folder, file) = file(words.join(" "));
    for (options, lines) in [
        (&["--workers", "0"][..], 20),
        (&["--workers", "0", "--top", "3"], 3),
        (&["--workers", "0", "--top", "0"], 50),
    ] {
        assert_eq!(wordcount(options, [&file]).succeeded().lines().count(), lines, "{options:?}");
    }
}

#[test]
fn workers_come_to_what_one_process_comes_to() {
    let library = library();
    let alone = wordcount(&["--workers", "0", "--top", "0"], [&library]).succeeded();
    assert!(alone.lines().count() > 60_000);
    for workers in ["1", "2", "5"] {
        let counted = wordcount(&["--workers", workers, "--top", "0"], [&library]).succeeded();
        assert!(counted == alone, "{workers} workers came to something else");
    }
    assert!(wordcount(&["--top", "0"], [&library]).succeeded() == alone);
}

#[test]
fn a_killed_worker_changes_no_count() {
    let library = library();
    let alone = wordcount(&["--workers", "0", "--top", "0"], [&library]).succeeded();
    for workers in ["1", "2", "3"] {
        let Ran { out, err, code } =
            wordcount(&["--workers", workers, "--top", "0", "--kill-one"], [&library]);
        assert_eq!(code, Some(0), "{err}");
        assert!(out == alone, "{workers} workers, one of them killed, came to something else");
        assert!(
            err.contains("IS_DEAD RouteLost") && err.contains("process exited (signal 9)"),
            "{err}"
        );
        assert_eq!(err.contains("no worker is left: starting another"), workers == "1", "{err}");
    }
}

#[test]
fn the_worker_of_the_only_file_is_killed_too() {
    let (_folder, file) = file("one two two");
    let Ran { out, err, code } = wordcount(&["--workers", "4", "--kill-one"], [&file]);
    assert_eq!((out.as_str(), code), ("2\ttwo\n1\tone\n", Some(0)), "{err}");
    assert!(err.contains("IS_DEAD RouteLost"), "{err}");
}

#[test]
fn without_bytes_nobody_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("empty"), "").unwrap();
    let Ran { out, err, code } = wordcount(&["--kill-one"], [&folder]);
    assert_eq!((out.as_str(), code), ("", Some(0)), "{err}");
    assert!(err.contains("no worker was killed"), "{err}");
}

#[test]
fn invalid_utf_8_parts_words_and_is_warned_of_with_its_offset() {
    let (_folder, file) = file(b"one\xfftwo one\xe4\xb8");
    for workers in ["0", "1"] {
        let Ran { out, err, code } = wordcount(&["--workers", workers], [&file]);
        assert_eq!((out.as_str(), code), ("2\tone\n1\ttwo\n", Some(0)), "{err}");
        assert!(err.contains("file.txt: invalid UTF-8 at byte 3, 11\n"), "{err}");
    }
}

#[test]
fn a_missing_path_ends_with_1_and_the_others_are_counted() {
    let (folder, file) = file("one");
    let missing = folder.path().join("missing");
    for workers in ["0", "2"] {
        let Ran { out, err, code } = wordcount(&["--workers", workers], [&missing, &file]);
        assert_eq!((out.as_str(), code), ("1\tone\n", Some(1)), "{err}");
        assert!(err.contains("/missing: No such file or directory"), "{err}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn an_unreadable_file_ends_with_1_and_the_others_are_counted() {
    let (_folder, file) = file("one");
    // It can be opened, and reading its beginning fails: even for root, whom no permission stops.
    let unreadable = Path::new("/proc/self/mem");
    for workers in ["0", "2"] {
        let Ran { out, err, code } = wordcount(&["--workers", workers], [unreadable, &file]);
        assert_eq!((out.as_str(), code), ("1\tone\n", Some(1)), "{err}");
        assert!(err.contains("/proc/self/mem: Input/output error"), "{err}");
    }
}

#[test]
fn an_empty_folder_gives_nothing() {
    let folder = tempfile::tempdir().unwrap();
    for workers in ["0", "2"] {
        assert_eq!(wordcount(&["--workers", workers], [&folder]).succeeded(), "");
    }
}

#[test]
fn symbolic_links_are_not_followed() {
    let (folder, file) = file("one");
    symlink(folder.path(), folder.path().join("round")).unwrap();
    symlink(&file, folder.path().join("again")).unwrap();
    symlink("nowhere", folder.path().join("broken")).unwrap();
    assert_eq!(wordcount(&["--workers", "0"], [&folder]).succeeded(), "1\tone\n");
    let Ran { out, err, code } = wordcount(&["--workers", "0"], [folder.path().join("again")]);
    assert_eq!((out.as_str(), code), ("", Some(0)));
    assert!(err.contains("is a symbolic link, which is not followed"), "{err}");
}

#[test]
fn misuse_ends_with_2() {
    for misuse in [
        &[][..],
        &["--workers", "0", "--kill-one", "."],
        &["--workers", "-1", "."],
        &["--workers", "two", "."],
        &["--top", "-1", "."],
        &["--nothing", "."],
    ] {
        let Ran { out, err, code } = wordcount(misuse, None::<&Path>);
        assert_eq!((out.as_str(), code), ("", Some(2)), "{misuse:?}: {err}");
        assert!(err.contains("error: "), "{misuse:?}: {err}");
    }
}

#[test]
fn help_is_no_error() {
    let out = wordcount(&["--help"], None::<&Path>).succeeded();
    assert!(out.contains("--kill-one"), "{out}");
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let words: Vec<_> = (0..100_000).map(|word| format!("word{word}")).collect();
    let (_folder, file) = file(words.join(" "));
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = output(
        program(&["--workers", "0", "--top", "0"], [&file]).stdout(writer).stderr(Stdio::piped()),
    );
    let err = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{err}");
    assert!(!err.contains("panicked"), "{err}");
}

#[cfg(target_os = "linux")]
#[test]
fn output_that_cannot_be_written_ends_with_1() {
    let (_folder, file) = file("one");
    let full = File::options().write(true).open("/dev/full").unwrap();
    let output = output(program(&["--workers", "0"], [&file]).stdout(full).stderr(Stdio::piped()));
    let err = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{err}");
    assert!(err.contains("standard output: No space left on device"), "{err}");
}

#[test]
fn a_standard_error_that_is_closed_stops_nothing() {
    let (_folder, file) = file(b"one\xff");
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = program(&["--workers", "1"], [&file]);
    let output = output(command.stdout(Stdio::piped()).stderr(writer));
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "1\tone\n");
}
