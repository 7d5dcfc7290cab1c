//! Suite `flood`, run as a program, with few messages: that all of them are accounted for, and that what must be told is.

mod support;

use support::{lines, names};

const MESSAGES: u64 = 60_000;

#[test]
fn every_message_is_accounted_for_and_memory_is_bounded() {
    let lines = lines(&["flood", "--json", "--rounds", "1", "--messages", &MESSAGES.to_string()]);
    assert_eq!(names(&lines), ["flood_sleeping", "flood_dead_address", "flood_dead_letters"]);
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
