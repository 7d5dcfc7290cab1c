//! Suite `publish`, run as a program, for a moment: what is reliable beside the bare loop and beside requests, and the smallest and the largest
//! fan.

mod support;

use support::{lines, names};

#[test]
fn reliable_publishes_and_fans_are_measured_beside_their_references() {
    let wanted = [
        "publish_reliable_x64",
        "publish_reliable_of_requests",
        "publish_fanout_1",
        "publish_fanout_1000",
    ];
    let only = wanted.join(",");
    let lines = lines(&["publish", "--json", "--rounds", "1", "--seconds", "0.1", "--only", &only]);
    assert_eq!(names(&lines), wanted);
    for line in &lines {
        assert_eq!(line["suite"], "publish");
        let figure = |name: &str| line[name].as_f64().unwrap_or_else(|| panic!("{name}: {line}"));
        assert!(figure("value") > 0.0 && figure("ratio") > 0.0, "{line}");
        let is_fan = line["name"].as_str().unwrap().starts_with("publish_fanout");
        assert_eq!(line["better"], if is_fan { "lower" } else { "higher" });
        assert!(line["reference_name"].is_string(), "{line}");
    }
}
