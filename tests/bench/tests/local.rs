//! Suite `local`, run as a program, for a moment: that every measure is there and says what it must, not how fast.

mod support;

use support::{lines, names};

#[test]
fn every_measure_is_taken_beside_plain_actix() {
    let lines = lines(&["local", "--json", "--rounds", "1", "--seconds", "0.1"]);
    assert_eq!(names(&lines), ["tell_same_arbiter", "tell_cross_arbiter", "idle_actor_bytes"]);
    for line in &lines {
        assert!(line["reference_name"].as_str().unwrap().starts_with("actix"), "{line}");
        let figure = |name: &str| line[name].as_f64().unwrap_or_else(|| panic!("{name}: {line}"));
        assert!(figure("value") > 0.0 && figure("ratio") > 0.0, "{line}");
        // There is no QUIC in it.
        assert!(line.get("reference_of_tcp").is_none(), "{line}");
    }
    // An actor that can be reached is no smaller than its plain self.
    assert!(lines[2]["ratio"].as_f64().unwrap() > 1.0, "{}", lines[2]);
}
