#![no_main]

#[path = "../targets.rs"]
#[allow(dead_code, reason = "each program runs one of the targets")]
mod targets;

libfuzzer_sys::fuzz_target!(
    // Once it has freed something large, glibc keeps as much for later. Otherwise it gives each run's bodies back to the system, and
    // most of the time goes into page faults.
    init: drop(std::hint::black_box(vec![0_u8; 16 << 20])),
    |data: &[u8]| targets::bodies(data)
);
