//! Replays the fuzzer's committed corpus, so that what it once found stays mended without the fuzzer.

#[path = "../fuzz/targets.rs"]
mod targets;

use std::path::Path;

fn replay(target: &str, run: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut replayed = 0;
    for entry in std::fs::read_dir(&folder).expect("the corpus is committed") {
        let path = entry.expect("the folder can be listed").path();
        run(&std::fs::read(&path).expect("the corpus can be read"));
        replayed += 1;
    }
    assert!(replayed > 0, "{} holds no case", folder.display());
}

#[test]
fn the_corpus_of_frames_is_harmless() {
    replay("frames", targets::frames);
}

#[test]
fn the_corpus_of_control_messages_is_harmless() {
    replay("control", targets::control);
}

#[test]
fn the_corpus_of_bodies_is_harmless() {
    replay("bodies", targets::bodies);
}

#[test]
fn the_corpus_of_enrolments_is_harmless() {
    replay("enrolment", targets::enrolment);
}
