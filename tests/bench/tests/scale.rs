//! Suite `scale`, run as a program, for a moment: one or two numbers of each series, and the page that is drawn of them.

mod support;

use std::fs;

use support::{lines, names};

#[test]
fn each_series_is_measured_beside_its_base_and_drawn() {
    let page = std::env::temp_dir().join(format!("actogen-bench-{}.html", std::process::id()));
    let wanted = [
        "scale_actors_1",
        "scale_actors_1000",
        "scale_links_2",
        "scale_payload_0",
        "scale_payload_65536",
        "scale_contexts_10",
        "scale_contexts_1000",
    ];
    let only = wanted.join(",");
    let html = page.to_str().expect("a folder for temporary files with a plain name");
    let lines = lines(&[
        "scale",
        "--json",
        "--rounds",
        "1",
        "--seconds",
        "0.05",
        "--only",
        &only,
        "--html",
        html,
    ]);
    assert_eq!(names(&lines), wanted);
    for line in &lines {
        let name = line["name"].as_str().unwrap();
        assert_eq!(line["better"], "lower");
        assert!(line["value"].as_f64().unwrap() > 0.0, "{line}");
        assert!(line["ratio"].as_f64().unwrap() > 0.0, "{line}");
        let has_quic = line.get("reference_of_tcp").is_some();
        assert_eq!(has_quic, name.starts_with("scale_payload"), "{line}");
    }
    let html = fs::read_to_string(&page).expect("the page was written");
    fs::remove_file(&page).expect("it is this test's own");
    for title in ["Cost over actors", "Cost over links", "Cost over contexts", "Throughput over"] {
        assert!(html.contains(title), "{title}");
    }
}
