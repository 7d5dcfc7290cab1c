//! Suite `mixed`, run as a program, for a moment.

mod support;

use support::{lines, names};

#[test]
fn what_is_beside_large_messages_and_beside_what_takes_nothing_is_measured() {
    let wanted = ["ping_p99_under_32mb", "fast_beside_slow", "fast_beside_slow_link"];
    let only = wanted.join(",");
    let lines = lines(&["mixed", "--json", "--rounds", "1", "--seconds", "0.2", "--only", &only]);
    assert_eq!(names(&lines), wanted);
    for line in &lines {
        assert!(line["value"].as_f64().unwrap() > 0.0, "{line}");
        assert!(line["reference"].as_f64().unwrap() > 0.0, "{line}");
    }
    for beside in ["idle_p99_us", "bulk_mb_s", "bulk1m_mb_s", "reference_bulk_mb_s"] {
        assert!(lines[0][beside].as_u64().unwrap() > 0, "{}", lines[0]);
    }
}
