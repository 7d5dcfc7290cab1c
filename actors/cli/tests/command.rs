//! The command as a person runs it.

#![allow(clippy::unwrap_used, reason = "this is all test code")]

use std::{
    fs,
    path::Path,
    process::{Command, Output},
    time::{Duration, SystemTime},
};

fn actogen(home: &Path, arguments: &[&str]) -> (i32, String, String) {
    let Output { status, stdout, stderr } = Command::new(env!("CARGO_BIN_EXE_actogen"))
        .args(arguments)
        .current_dir(home)
        .env("XDG_CACHE_HOME", home)
        .env_remove("ACTOGEN_MESH")
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

#[test]
fn an_authority_is_made_and_issues_identities() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let (code, out, err) = actogen(home, &["--mesh", "ca", "ca", "init", "fleet.test"]);
    assert_eq!((code, out.as_str()), (0, "the authority of fleet.test is in ca\n"), "{err}");
    let issue = ["--mesh", "ca", "ca", "issue", "70000", "--out", "node", "--days", "3"];
    let (code, out, err) = actogen(home, &issue);
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("context 70000") && out.contains("3 days"), "{out}");
    let identity = actogen::Mesh::from_pem(home.join("node")).unwrap();
    assert_eq!(identity.name(), "fleet.test");
    // Neither is overwritten, and no id is given out twice.
    let (code, _, err) = actogen(home, &["--mesh", "ca", "ca", "init", "other.test"]);
    assert_eq!(code, 1);
    assert!(err.contains("exists already"), "{err}");
    let (code, _, err) = actogen(home, &["--mesh", "ca", "ca", "issue", "70000", "--out", "again"]);
    assert_eq!(code, 1);
    assert!(err.contains("first free one is 70001"), "{err}");
}

#[test]
fn misuse_is_told_with_the_remedy() {
    let home = tempfile::tempdir().unwrap();
    let (code, _, err) = actogen(home.path(), &["ca", "init", "fleet.test"]);
    assert_eq!(code, 1);
    assert!(err.contains("--mesh DIR, or ACTOGEN_MESH"), "{err}");
    for misuse in [&[][..], &["ca"], &["ca", "issue", "0", "--out", "x"], &["cache", "burn"]] {
        assert_eq!(actogen(home.path(), misuse).0, 2, "{misuse:?}");
    }
    assert_eq!(actogen(home.path(), &["ca", "issue", "--help"]).0, 0);
}

#[test]
fn the_cache_is_listed_and_cleaned() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    assert_eq!(actogen(home, &["cache", "list"]), (0, String::new(), String::new()));
    fs::create_dir(home.join("actogen")).unwrap();
    let put = |digit: &str, days: u64| {
        let path = home.join("actogen").join(digit.repeat(64));
        fs::write(&path, "program").unwrap();
        let used = SystemTime::now() - Duration::from_secs(days * 86_400 + 60);
        fs::File::options().write(true).open(&path).unwrap().set_modified(used).unwrap();
        path
    };
    let (new, old) = (put("a", 1), put("b", 40));
    let (_, out, _) = actogen(home, &["cache", "list"]);
    assert_eq!(out, format!("7\t1\t{}\n7\t40\t{}\n", new.display(), old.display()));
    let (code, out, _) = actogen(home, &["cache", "clean", "--older-than", "30"]);
    assert_eq!((code, out.as_str()), (0, "removed: 1, bytes freed: 7\n"));
    assert!(new.exists() && !old.exists());
    assert_eq!(actogen(home, &["cache", "clean"]).1, "removed: 1, bytes freed: 7\n");
}
