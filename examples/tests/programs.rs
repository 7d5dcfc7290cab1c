//! Each example program, run as it is, says what it is meant to say.

mod support;

use std::process::Command;

use support::run;

fn output(program: &str) -> String {
    run(&mut Command::new(program)).succeeded()
}

/// Asserts that there are as many lines as beginnings, and that each begins so.
#[track_caller]
fn assert_lines(output: &str, beginnings: &[&str]) {
    let lines: Vec<_> = output.lines().collect();
    assert_eq!(lines.len(), beginnings.len(), "{output}");
    for (line, beginning) in lines.iter().zip(beginnings) {
        assert!(line.starts_with(beginning), "expected {beginning:?} in\n{output}");
    }
}

#[test]
fn hello_is_answered_and_sees_the_child_die() {
    assert_eq!(
        output(env!("CARGO_BIN_EXE_hello")),
        "2 + 3 = 5\ncontext 1 lost: process exited (signal 9)\n"
    );
}

#[test]
fn ask_and_tell_arrive_in_the_order_of_sending() {
    assert_eq!(
        output(env!("CARGO_BIN_EXE_ask_and_tell")),
        "75 withdrawn, 25 left\n75 not withdrawn, 50 missing\n"
    );
}

#[test]
fn watch_says_why_each_actor_is_gone() {
    assert_lines(
        &output(env!("CARGO_BIN_EXE_watch")),
        &[
            "one: stopped",
            "two: panicked: over a stone",
            "three: context 1 lost: process exited (signal 9)",
            "too late: context 1 lost: process exited (signal 9)",
        ],
    );
}

#[test]
fn a_release_goes_out_when_it_is_signed_and_archived() {
    assert_eq!(
        output(env!("CARGO_BIN_EXE_release-train")),
        "release 1 goes out: processed by [\"archive\", \"signer\"]\n\
         release 2 stays: {\"signer\": \"it is not tested\"}\n\
         release 3 waits for [\"archive\"]\n\
         release 3 goes out: processed by [\"archive\", \"signer\"]\n"
    );
}

#[test]
fn names_find_what_was_registered_and_say_what_is_wrong() {
    assert_lines(
        &output(env!("CARGO_BIN_EXE_names")),
        &[
            "Good evening, Ada!",
            "context 1 knows no actor named `front-desk`",
            "`front-desk` is an actor of kind `greeter`, not `deaf`",
            "the name `front-desk` belongs to another actor",
        ],
    );
}

#[test]
fn spawn_works_in_the_child_and_reports_to_the_parent() {
    let output = output(env!("CARGO_BIN_EXE_spawn"));
    let (_, launched) = output.split_once("launched: process ").unwrap();
    let (child, this) = launched.trim_end().split_once("; this is process ").unwrap();
    assert_ne!(child, this);
    assert_eq!(
        output,
        format!(
            "42\nprocess {child} made 42 of 14\nlaunched: process {child}; this is process {this}\n"
        )
    );
}

#[test]
fn dead_letters_are_seen_and_counted() {
    assert_lines(
        &output(env!("CARGO_BIN_EXE_dead_letters")),
        &[
            "the actor has stopped: ",
            "the route to the context was lost: ",
            "not sent: the route to the context was lost: ",
            "back: registered",
            "2 dead letters",
        ],
    );
}

#[test]
fn two_children_talk_straight_while_they_are_linked() {
    let output = output(env!("CARGO_BIN_EXE_direct"));
    assert_lines(
        &output,
        &["at first: by the root, ", "linked: straight, ", "given up: by the root, "],
    );
}

#[test]
fn policies_let_in_whom_they_say() {
    let expected = [
        ("anyone", true, true),
        ("is_self", true, false),
        ("has_parent_authority", true, false),
        ("is_immediate_child", false, true),
        ("is_trusted", false, true),
    ];
    let said = |opened| if opened { "opened" } else { "refused by policy" };
    let expected: String = expected
        .iter()
        .map(|&(policy, here, child)| {
            let (here, child) = (said(here), said(child));
            format!("{policy}, from here: {here}\n{policy}, from the child: {child}\n")
        })
        .collect();
    assert_eq!(output(env!("CARGO_BIN_EXE_policies")), expected);
}

/// Runs `fleet` on these ways, with further arguments.
fn fleet(ways: &[&str], further: &[&str]) -> support::Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fleet"));
    for way in ways {
        command.args(["--on", way]);
    }
    run(command.args(further))
}

#[test]
fn fleet_runs_a_command_in_every_context_of_its_tree() {
    let out = fleet(&["local", "local/local"], &["--tree", "--", "sh", "-c", "echo $ACTOGEN_RUN"]);
    let out = out.succeeded();
    let (said, rest): (Vec<_>, Vec<_>) = out.lines().partition(|line| line.contains(": "));
    let run = |line: &str| line.rsplit_once(": ").map(|(_, run)| run.to_owned());
    assert_eq!(said.len(), 2, "{out}");
    assert_eq!(run(said[0]), run(said[1]), "both belong to one run");
    assert_eq!(
        rest[..3],
        ["context 0, this process", "  context 1, local", "    context 2, local"]
    );
    assert!(rest[3].starts_with("host "), "{out}");
    assert!(rest[5].contains(" 0/1/2 "), "{out}");
}

#[test]
fn fleet_says_where_a_command_failed_and_which_host_is_not_there() {
    let failed = fleet(&["local"], &["--json", "--", "sh", "-c", "exit 3"]);
    assert_eq!(failed.code, Some(1));
    assert!(failed.out.contains(r#""exit":3"#), "{}", failed.out);
    let killed = fleet(&["local"], &["--json", "--", "sh", "-c", "kill -9 $$"]);
    assert!(killed.out.contains(r#""exit":137"#), "{}", killed.out);
    let missing = fleet(&["local"], &["--", "/no/such/program"]);
    assert!(missing.err.contains("`/no/such/program` could not be started"), "{}", missing.err);
    let nowhere = fleet(&["nsenter:4294967", "local"], &["--", "true"]);
    assert_eq!(nowhere.code, Some(1));
    assert!(nowhere.err.contains("nsenter:4294967: "), "{}", nowhere.err);
    assert!(nowhere.out.contains("local"), "{}", nowhere.out);
    assert_eq!(fleet(&["rsh:there"], &["--", "true"]).code, Some(2));
}

#[test]
fn chat_shows_who_comes_speaks_and_is_gone() {
    let out = output(env!("CARGO_BIN_EXE_chat"));
    let lines: Vec<_> = out.lines().collect();
    assert_eq!(lines.len(), 8, "{out}");
    assert_eq!(lines[3..6], ["<ann> hello!", "<bob> hello!", "<eve> hello!"], "{out}");
    assert!(lines[1].starts_with("* bob has come, from context "), "{out}");
    assert_eq!(lines[6..], ["* bob has gone", "* 2 are here"], "{out}");
}

#[test]
fn the_store_keeps_what_it_has_acknowledged_when_a_worker_is_killed() {
    use std::io::Write;
    let mut commands = tempfile::tempfile().unwrap();
    let mut expected = String::new();
    for n in 0..20 {
        writeln!(commands, "set key-{n} value {n}").unwrap();
        expected += "ok\n";
    }
    for n in 0..20 {
        writeln!(commands, "get key-{n}").unwrap();
        expected += &format!("value {n}\n");
    }
    writeln!(commands, "get tea\nwhere key-1").unwrap();
    expected += "error: there is no `tea`\n";
    std::io::Seek::rewind(&mut commands).unwrap();
    let kv = &mut Command::new(env!("CARGO_BIN_EXE_kv"));
    let ran = support::run_with(kv.arg("--kill-one"), commands.into());
    assert!(ran.err.contains("is killed"), "{}", ran.err);
    let (answers, place) = ran.out.trim_end().rsplit_once('\n').unwrap();
    assert_eq!(format!("{answers}\n"), expected, "{}", ran.err);
    assert_eq!(place.split(", ").count(), 2, "{place}");
    assert_eq!(ran.code, Some(1), "one command was not done");
}

#[test]
fn the_banks_sum_stays_when_a_branch_is_killed() {
    let ran = run(Command::new(env!("CARGO_BIN_EXE_bank")).arg("--kill-one"));
    assert!(ran.err.contains("is killed"), "{}", ran.err);
    let out = ran.succeeded();
    assert_lines(&out, &["12000 in 12 accounts of 3 processes", ""]);
    assert!(out.ends_with(" transfers, 12000 in all accounts\n"), "{out}");
}
