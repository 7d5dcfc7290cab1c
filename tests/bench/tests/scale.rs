//! Suite `scale`, run as a program, for a moment: one or two numbers of each series, and the page that is drawn of them.

use std::{fs, process::Command};

use serde_json::Value;

#[test]
fn each_series_is_measured_beside_its_base_and_drawn() {
    let page = std::env::temp_dir().join(format!("actogen-bench-{}.html", std::process::id()));
    let names = [
        "scale_actors_1",
        "scale_actors_1000",
        "scale_links_2",
        "scale_payload_0",
        "scale_payload_65536",
        "scale_contexts_10",
        "scale_contexts_1000",
    ];
    let output = Command::new(env!("CARGO_BIN_EXE_actogen-bench"))
        .args(["scale", "--json", "--rounds", "1", "--seconds", "0.05"])
        .args(["--only", &names.join(","), "--html"])
        .arg(&page)
        .output()
        .expect("the program was built with this test");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("JSON is UTF-8");
    let lines: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).expect("a line is JSON")).collect();
    let taken: Vec<_> = lines.iter().map(|line| line["name"].as_str().unwrap()).collect();
    assert_eq!(taken, names);
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
