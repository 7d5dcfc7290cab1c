//! Suite `relay`, run as a program, for a moment.

mod support;

use support::{lines, names};

#[test]
fn both_measures_of_a_relay_are_taken_and_say_what_they_are_compared_with() {
    let lines = lines(&["relay", "--json", "--rounds", "1", "--seconds", "0.2"]);
    assert_eq!(names(&lines), ["relay_tell64", "relay_tell64_of_own"]);
    for line in &lines {
        assert!(line["value"].as_f64().unwrap() > 0.0, "{line}");
    }
    assert_eq!(lines[0]["reference_name"], "bare quinn, relayed");
    assert!(lines[0]["reference_of_tcp"].as_f64().unwrap() > 0.0, "{}", lines[0]);
    assert_eq!(lines[1]["reference_name"], "own tell64");
    assert!(lines[1]["reference_of_tcp"].is_null(), "{}", lines[1]);
}
