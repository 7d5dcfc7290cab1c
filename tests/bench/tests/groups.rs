//! Suite `groups`, run as a program, for a moment: all that is measured of the smallest and of the largest group, and
//! the page that is drawn of it.

mod support;

use std::fs;

use support::{lines, names};

#[test]
fn a_group_is_measured_beside_plain_sends_and_beside_a_small_one() {
    let wanted = [
        "group_broadcast_10",
        "group_join_10",
        "group_lookup_10",
        "group_broadcast_1000",
        "group_join_1000",
        "group_lookup_1000",
    ];
    let only = wanted.join(",");
    let page =
        std::env::temp_dir().join(format!("actogen-bench-groups-{}.html", std::process::id()));
    let html = page.to_str().expect("a folder for temporary files with a plain name");
    let lines = lines(&[
        "groups",
        "--json",
        "--rounds",
        "1",
        "--seconds",
        "0.1",
        "--only",
        &only,
        "--html",
        html,
    ]);
    assert_eq!(names(&lines), wanted);
    for line in &lines {
        assert_eq!(line["suite"], "groups");
        assert_eq!(line["better"], "lower");
        let figure = |name: &str| line[name].as_f64().unwrap_or_else(|| panic!("{name}: {line}"));
        assert!(figure("value") > 0.0 && figure("ratio") > 0.0, "{line}");
        let is_broadcast = line["name"].as_str().unwrap().starts_with("group_broadcast");
        let reference = if is_broadcast { "`try_send` to each, no group" } else { "group of 10" };
        assert_eq!(line["reference_name"], reference);
        // There is no QUIC beside it.
        assert!(line.get("reference_of_tcp").is_none(), "{line}");
    }
    let html = fs::read_to_string(&page).expect("the page was written");
    fs::remove_file(&page).expect("it is this test's own");
    for what in ["broadcast", "join", "lookup"] {
        let title = format!("<h2>Cost over members: {what}</h2>");
        assert_eq!(html.matches(&title).count(), 1, "{title}");
    }
}
