//! Suite `flood`, run as a program, with few messages: that all of them are accounted for, and that what must be told is.

use std::process::Command;

use serde_json::Value;

const MESSAGES: u64 = 60_000;

#[test]
fn every_message_is_accounted_for_and_memory_is_bounded() {
    let output = Command::new(env!("CARGO_BIN_EXE_actogen-bench"))
        .args(["flood", "--json", "--rounds", "1", "--messages", &MESSAGES.to_string()])
        .output()
        .expect("the program was built with this test");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("JSON is UTF-8");
    let lines: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).expect("a line is JSON")).collect();
    let names: Vec<_> = lines.iter().map(|line| line["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["flood_sleeping", "flood_dead_address", "flood_dead_letters"]);
    for line in &lines {
        let count = |name: &str| line[name].as_u64().unwrap_or_else(|| panic!("{name}: {line}"));
        assert!(count("sent") >= MESSAGES, "{line}");
        let known = count("delivered") + count("refused") + count("dead");
        assert_eq!(count("sent"), known + count("unknown"), "{line}");
        assert_eq!(count("bound_bytes"), 64 * 1024 * 1024);
        assert!(count("rss_above_idle_bytes") <= count("bound_bytes"), "{line}");
        assert!(line["reference"].is_null() && line["ratio"].is_null(), "{line}");
    }
    let count = |line: usize, name: &str| lines[line][name].as_u64().unwrap();
    // The sleeper takes a part of them once it is woken, and the others come back.
    assert!(count(0, "delivered") > 1 && count(0, "refused") > 0, "{}", lines[0]);
    assert_eq!(count(1, "dead"), MESSAGES);
    assert_eq!(count(2, "dead"), MESSAGES);
}
