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
fn a_name_goes_to_one_context_until_it_is_taken_over() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let ca = |arguments: &[&str]| actogen(home, &[&["--mesh", "ca"], arguments].concat());
    assert_eq!(ca(&["ca", "init", "fleet.test"]).0, 0);
    let issue = |id: &str, out: &str, rest: &[&str]| {
        ca(&[&["ca", "issue", id, "--out", out, "--name", "west"], rest].concat())
    };
    let (code, _, err) = issue("7", "node7", &["--name", "node-7"]);
    assert_eq!(code, 0, "{err}");
    let holder = |name: &str| actogen::Mesh::holder_of(home.join("ca"), name).unwrap();
    assert_eq!(holder("node-7"), Some(actogen::ContextId(7)));
    let (code, _, err) = issue("8", "node8", &[]);
    assert_eq!(code, 1);
    assert!(err.contains("`west` is bound to context 7") && err.contains("--take-over"), "{err}");
    assert!(!home.join("node8").join("key.pem").exists());
    let (code, _, err) = ca(&["token", "create", "--name", "west"]);
    assert_eq!(code, 1);
    assert!(err.contains("`west` is bound to context 7"), "{err}");
    assert_eq!(ca(&["token", "create", "--name", "west", "--take-over"]).0, 0);
    assert_eq!(holder("west"), Some(actogen::ContextId(7)), "nobody has come with the token");
    let (code, _, err) = issue("8", "node8", &["--take-over"]);
    assert_eq!(code, 0, "{err}");
    assert_eq!(holder("west"), Some(actogen::ContextId(8)));
    let (_, out, _) = ca(&["ca", "revoke", "7"]);
    assert_eq!(out, "context 7 was already revoked\n");
    let (code, _, err) = ca(&["ca", "issue", "9", "--out", "node9", "--name", "No Name"]);
    assert_eq!(code, 1);
    assert!(err.contains("`No Name` cannot be a context's name"), "{err}");
    assert_eq!(ca(&["ca", "issue", "9", "--out", "node9", "--take-over"]).0, 2);
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

/// Runs the command with a text on standard input.
fn with_input(home: &Path, arguments: &[&str], input: &str) -> (i32, String, String) {
    use std::{io::Write, process::Stdio};
    let mut child = Command::new(env!("CARGO_BIN_EXE_actogen"))
        .args(arguments)
        .current_dir(home)
        .env_remove("ACTOGEN_MESH")
        .env_remove("ACTOGEN_CONNECT")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // One that does not read it ends before.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[test]
fn a_token_joins_once_and_the_identity_lasts() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    actogen::Mesh::create_authority("fleet.test", home.join("ca")).unwrap();
    let (code, token, err) = actogen(home, &["--mesh", "ca", "token", "create", "--minutes", "5"]);
    assert_eq!(code, 0, "{err}");
    assert!(token.starts_with("actogen1:") && token.ends_with(":fleet.test\n"), "{token}");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async {
        let mesh = actogen::Mesh::root(home.join("ca")).unwrap();
        let builder = actogen::Context::builder().mesh(mesh).listen("127.0.0.1:0");
        let root = builder.start().await.unwrap();
        let endpoint = root.endpoint().unwrap();
        let home = home.to_owned();
        let joining = tokio::task::spawn_blocking(move || {
            let join = |out: &str, input: &str| {
                with_input(&home, &["--connect", &endpoint, "join", "--out", out], input)
            };
            let joined = join("node", &token);
            (joined, join("other", &token), join("node", &token), join("third", "nonsense"))
        });
        let (joined, again, there, nonsense) = joining.await.unwrap();
        assert_eq!(joined.0, 0, "{}", joined.2);
        assert!(joined.1.contains("of fleet.test is in node"), "{}", joined.1);
        assert_eq!(again.0, 121);
        assert!(again.2.contains("ask for a new one"), "{}", again.2);
        assert_eq!(there.0, 1);
        assert!(there.2.contains("holds a key already"), "{}", there.2);
        assert_eq!(nonsense.0, 1);
        assert!(nonsense.2.contains("this is no token"), "{}", nonsense.2);
        root.shutdown().await;
    });
    assert_eq!(actogen::Mesh::from_pem(home.join("node")).unwrap().name(), "fleet.test");
    assert!(!home.join("other").exists());
    let (code, token, _) = actogen(home, &["--mesh", "ca", "token", "create"]);
    assert_eq!(code, 0);
    let id = token.split(':').nth(2).unwrap();
    assert_eq!(actogen(home, &["--mesh", "ca", "token", "revoke", id]).0, 0);
    let (code, _, err) = actogen(home, &["--mesh", "ca", "token", "revoke", id]);
    assert_eq!(code, 1);
    assert!(err.contains("never given, or has expired"), "{err}");
    let (code, _, err) = with_input(home, &["join", "--out", "x"], &token);
    assert_eq!(code, 1);
    assert!(err.contains("--connect ADDR"), "{err}");
}

#[test]
fn a_context_is_revoked_once_and_never_the_root() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    assert_eq!(actogen(home, &["--mesh", "ca", "ca", "init", "fleet.test"]).0, 0);
    let revoke = |id| actogen(home, &["--mesh", "ca", "ca", "revoke", id]);
    assert_eq!(revoke("7"), (0, "context 7 is revoked\n".to_owned(), String::new()));
    assert_eq!(revoke("7").1, "context 7 was already revoked\n");
    assert_eq!(revoke("0").0, 2);
    fs::write(home.join("ca/ca-revoked"), "nonsense\n").unwrap();
    let (code, _, err) = revoke("8");
    assert_eq!(code, 1);
    assert!(err.contains("ca-revoked: line 1 is not"), "{err}");
}

#[test]
fn a_shell_completes_and_pages_are_written() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    for shell in ["bash", "zsh", "fish"] {
        let (code, out, err) = actogen(home, &["completions", shell]);
        assert!(code == 0 && out.contains("dead-letters"), "{shell}: {err}");
    }
    assert_eq!(actogen(home, &["completions", "dos"]).0, 2);
    let (code, _, err) = actogen(home, &["man", "--out", "man1"]);
    assert_eq!(code, 0, "{err}");
    let page = std::fs::read_to_string(home.join("man1/actogen-logger.1")).unwrap();
    assert!(page.contains("recipients") && page.contains("was never enrolled"), "{page}");
    std::fs::write(home.join("file"), "").unwrap();
    let (code, _, err) = actogen(home, &["man", "--out", "file"]);
    assert!(code == 1 && err.contains("file: "), "{err}");
}
