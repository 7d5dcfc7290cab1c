//! A tree over all methods that there are here, four deep, whose root is killed at any instant, leaves nothing behind.

#![allow(clippy::unwrap_used, reason = "this is all test code")]

mod support;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use support::{Container, Sshd, is_there, skip};

/// How often the root is killed, unless `FLEET_KILLS` says otherwise.
const KILLS: u64 = 3;

/// The instants lie in these times by turns: a fleet is complete in the first, and grows in the others.
const SPANS: [u64; 3] = [12_000, 4000, 800];

/// Whoever is left after this is left for good: longer than an orphan may take to end.
const PATIENCE: Duration = Duration::from_secs(30);

/// The processes that carry a run's id, in containers too.
fn of_run(run: &str) -> Vec<String> {
    let sought = format!("ACTOGEN_RUN={run}");
    let carries = |pid: &u32| {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.split(|&byte| byte == 0).any(|variable| variable == sought.as_bytes())
    };
    let names = fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().file_name());
    let pids = names.filter_map(|name| name.to_str()?.parse().ok()).filter(carries);
    let name = |pid: u32| fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    pids.map(|pid| format!("{pid} {}", name(pid).replace('\0', " "))).collect()
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
fn m18_a_fleet_over_all_methods_whose_root_is_killed_leaves_nothing_behind() {
    if !is_there("sudo") {
        return skip("m18_a_fleet_over_all_methods", "sudo");
    }
    let Some(sshd) = Sshd::start("m18_a_fleet_over_all_methods") else { return };
    let program = Path::new(env!("CARGO_BIN_EXE_fleet-of-tests"));
    let container = Container::start_for("m18_a_fleet_over_all_methods", "none", program);
    let Some(container) = container else { return };
    let number =
        |name: &str, usual| std::env::var(name).map_or(usual, |text| text.parse().unwrap());
    let (first, kills) = (number("FLEET_SEED", 4711), number("FLEET_KILLS", KILLS));
    println!("FLEET_SEED={first} FLEET_KILLS={kills}");
    let there = format!("ssh:127.0.0.1:{}", sshd.port());
    let deepest = format!("{there}/{there}/sudo:nobody/local");
    let docker = format!("docker:{}", container.name());
    let fleet = |run: &str, command: &[&str]| {
        let mut fleet = Command::new(program);
        fleet.args(["--on", "local", "--on", &deepest, "--on", &docker]);
        for argument in sshd.arguments() {
            fleet.args(["--ssh-argument", &argument]);
        }
        fleet.arg("--").args(command).env("ACTOGEN_RUN", run).stdin(Stdio::null());
        fleet
    };
    // One that is let be reaches all of them.
    let whole = fleet("fleets-whole", &["sh", "-c", "echo here"]).output().unwrap();
    let said = String::from_utf8_lossy(&whole.stdout).into_owned();
    let errors = String::from_utf8_lossy(&whole.stderr);
    assert!(whole.status.success() && said.matches("here").count() >= 3, "{said}{errors}");

    let (mut seed, before) = (first, temporary());
    for kill in 0..kills {
        let after = Duration::from_millis(next(&mut seed) % SPANS[kill as usize % SPANS.len()]);
        let run = format!("fleets-{}-{kill}", std::process::id());
        let mut root = fleet(&run, &["sleep", "30"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // The instant is the point: whatever it is just doing then.
        sleep(after);
        root.kill().unwrap();
        root.wait().unwrap();
        let begun = Instant::now();
        loop {
            let (left, files) = (of_run(&run), &temporary() - &before);
            let contained = container.temporary();
            if left.is_empty() && files.is_empty() && contained.is_empty() {
                break;
            }
            assert!(
                begun.elapsed() < PATIENCE,
                "kill {kill}, after {after:?}: left are {left:#?}, {files:?}, {contained:?}"
            );
            sleep(Duration::from_millis(50));
        }
    }
}
