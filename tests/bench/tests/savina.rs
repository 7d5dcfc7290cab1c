//! Suite `savina`, run as a program, for a moment: that every program comes to its end everywhere, and loses nothing.

mod support;

use support::{lines, names};

#[test]
fn each_program_is_performed_here_and_in_two_processes_beside_plain_actix() {
    let lines = lines(&["savina", "--json", "--rounds", "1", "--seconds", "0.05"]);
    let programs =
        ["pingpong", "counting", "forkjoin", "threadring", "big", "bank", "boundedbuffer"];
    let expected: Vec<_> = programs
        .iter()
        .flat_map(|name| [format!("{name}_local"), format!("{name}_remote")])
        .collect();
    assert_eq!(names(&lines), expected);
    for line in &lines {
        assert_eq!((&line["suite"], &line["better"]), (&"savina".into(), &"higher".into()));
        assert_eq!(line["reference_name"], "actix, one arbiter");
        let figure = |name: &str| line[name].as_f64().unwrap_or_else(|| panic!("{name}: {line}"));
        assert!(figure("value") > 0.0 && figure("ratio") > 0.0, "{line}");
        // There is no QUIC beside it.
        assert!(line.get("reference_of_tcp").is_none(), "{line}");
    }
}
