//! Suite `savina`, run as a program, for a moment: that every program comes to its end everywhere, and loses nothing.

mod support;

use support::{lines, names};

#[test]
fn each_program_is_performed_here_on_two_arbiters_and_in_two_processes_beside_plain_actix() {
    let lines = lines(&["savina", "--json", "--rounds", "1", "--seconds", "0.05"]);
    let programs =
        ["pingpong", "counting", "forkjoin", "threadring", "big", "bank", "boundedbuffer"];
    let on_two = ["forkjoin", "big", "bank"];
    let places = |name: &&str| {
        if on_two.contains(name) { &["local", "two", "remote"][..] } else { &["local", "remote"] }
    };
    let expected: Vec<_> = programs
        .iter()
        .flat_map(|name| places(name).iter().map(move |place| format!("{name}_{place}")))
        .collect();
    assert_eq!(names(&lines), expected);
    for line in &lines {
        assert_eq!((&line["suite"], &line["better"]), (&"savina".into(), &"higher".into()));
        let is_on_two = line["name"].as_str().is_some_and(|name| name.ends_with("_two"));
        let beside = if is_on_two { "actix, two arbiters" } else { "actix, one arbiter" };
        assert_eq!(line["reference_name"], beside);
        let figure = |name: &str| line[name].as_f64().unwrap_or_else(|| panic!("{name}: {line}"));
        assert!(figure("value") > 0.0 && figure("ratio") > 0.0, "{line}");
        // There is no QUIC beside it.
        assert!(line.get("reference_of_tcp").is_none(), "{line}");
    }
}
