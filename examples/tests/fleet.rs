//! A fleet whose root is killed at any instant leaves nothing behind.

#![allow(clippy::unwrap_used, reason = "this is all test code")]

use std::{
    collections::BTreeSet,
    fs,
    io::Write,
    os::unix::fs::MetadataExt,
    path::PathBuf,
    process::{Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

/// How often the root is killed, unless `FLEET_KILLS` says otherwise.
const KILLS: u64 = 5;

/// The instants lie in these times by turns, from the start on: a run of the fleet takes most of the first, and grows in the second.
const SPANS: [Duration; 2] = [Duration::from_millis(8000), Duration::from_millis(400)];

/// Whoever is left after this is left for good: longer than an orphan may take to end.
const PATIENCE: Duration = Duration::from_secs(20);

/// The processes that carry a run's id.
fn of_run(run: &str) -> Vec<u32> {
    let sought = format!("ACTOGEN_RUN={run}");
    let carries = |pid: &u32| {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.split(|&byte| byte == 0).any(|variable| variable == sought.as_bytes())
    };
    let names = fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().file_name());
    names.filter_map(|name| name.to_str()?.parse().ok()).filter(carries).collect()
}

/// What programs of ours have put below `/tmp`.
fn temporary() -> BTreeSet<PathBuf> {
    let entries = fs::read_dir("/tmp").unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.to_string_lossy().contains("/actogen")).collect()
}

/// The next of a row of numbers that depends on nothing but the first (xorshift, 64 bits).
fn next(seed: &mut u64) -> u64 {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    *seed
}

#[test]
fn m18_a_fleet_whose_root_is_killed_leaves_nothing_behind() {
    if fs::metadata("/proc/self").unwrap().uid() != 0
        || Command::new("sudo").arg("-V").output().is_err()
    {
        assert!(std::env::var_os("ACTOGEN_REQUIRE_ALL").is_none(), "this test needs root and sudo");
        let mut terminal = fs::OpenOptions::new().write(true).open("/dev/stderr").unwrap();
        let _ = writeln!(
            terminal,
            "SKIPPED m18_a_fleet: it needs root, and sudo to be another user by"
        );
        return;
    }
    let number =
        |name: &str, usual| std::env::var(name).map_or(usual, |text| text.parse().unwrap());
    let (first, kills) = (number("FLEET_SEED", 4711), number("FLEET_KILLS", KILLS));
    println!("FLEET_SEED={first} FLEET_KILLS={kills}");
    let (mut seed, before) = (first, temporary());
    for kill in 0..kills {
        let span = SPANS[kill as usize % SPANS.len()];
        let after = Duration::from_millis(next(&mut seed) % span.as_millis() as u64);
        let run = format!("fleet-{}-{kill}", std::process::id());
        let mut fleet = Command::new(env!("CARGO_BIN_EXE_fleet"))
            .args(["--on", "local/sudo:nobody/local/local", "--on", "local/local"])
            .args(["--", "sleep", "30"])
            .env("ACTOGEN_RUN", &run)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        sleep(after);
        fleet.kill().unwrap();
        fleet.wait().unwrap();
        let begun = Instant::now();
        loop {
            let (left, files) = (of_run(&run), &temporary() - &before);
            if left.is_empty() && files.is_empty() {
                break;
            }
            assert!(
                begun.elapsed() < PATIENCE,
                "killed after {after:?}: {left:?} and {files:?} are left"
            );
            sleep(Duration::from_millis(20));
        }
    }
}
