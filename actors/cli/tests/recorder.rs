//! `actogen record` and `actogen replay`, as a person runs them, against a mesh that is there.

#![allow(clippy::unwrap_used, reason = "this is all test code")]

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use actogen::{
    AckLevel, Context, ContextId, Mesh, Text,
    names::{ContextNames, Holder},
};
use serde_json::Value;

/// The identities of the mesh: of the recorder, of who replays, and of a publisher in this process.
const NAMED: [(u64, &[&str]); 3] = [(1, &["builder"]), (100, &["recorder"]), (101, &[])];

struct Bus {
    home: tempfile::TempDir,
    root: Context,
}

impl Bus {
    async fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        Mesh::create_authority("fleet.test", home.path().join("ca")).unwrap();
        for (id, names) in NAMED {
            let folder = home.path().join(format!("node{id}"));
            let names = ContextNames::new(names.iter().map(|&name| name.to_owned())).unwrap();
            let (ca, day) = (home.path().join("ca"), Duration::from_secs(86_400));
            Mesh::issue_named(ca, &folder, ContextId(id), day, &names, Holder::Stays).unwrap();
        }
        let mesh = Mesh::root(home.path().join("ca")).unwrap();
        let root = Context::builder().mesh(mesh).listen("127.0.0.1:0").start().await.unwrap();
        Self { home, root }
    }

    fn path(&self, name: &str) -> String {
        self.home.path().join(name).display().to_string()
    }

    async fn publisher(&self) -> Context {
        let mesh = Mesh::from_pem(Path::new(&self.path("node1"))).unwrap();
        let builder = Context::builder().mesh(mesh).connect(self.root.endpoint().unwrap());
        builder.start().await.unwrap()
    }

    fn command(&self, node: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_actogen"));
        command.args(arguments).env("ACTOGEN_CONNECT", self.root.endpoint().unwrap());
        command.env("ACTOGEN_MESH", self.path(node));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Starts a recorder over the file; it records when this returns.
    async fn record(&self, more: &[&str]) -> Recording {
        let file = self.path("topics.redb");
        let arguments = [&["record", "--topic", "org.>", "--file", &file][..], more].concat();
        let mut command = self.command("node100", &arguments);
        let starting = tokio::task::spawn_blocking(move || {
            let mut child = command.spawn().unwrap();
            let mut line = String::new();
            BufReader::new(child.stderr.as_mut().unwrap()).read_line(&mut line).unwrap();
            assert_eq!(line, "actogen: recording\n");
            Recording(child)
        });
        starting.await.unwrap()
    }

    /// Runs a command; gives status, lines and standard error.
    async fn run(&self, node: &str, arguments: &[&str]) -> (i32, Vec<String>, String) {
        let mut command = self.command(node, arguments);
        let running = tokio::task::spawn_blocking(move || {
            let output = command.output().unwrap();
            let out = String::from_utf8(output.stdout).unwrap();
            let lines = out.lines().map(str::to_owned).collect();
            (output.status.code().unwrap(), lines, String::from_utf8(output.stderr).unwrap())
        });
        running.await.unwrap()
    }

    async fn replay(&self, more: &[&str]) -> (i32, Vec<String>, String) {
        self.run("node101", &[&["replay"][..], more].concat()).await
    }
}

struct Recording(Child);

impl Recording {
    /// Ends it as a crash does.
    fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn in_mesh(test: impl AsyncFnOnce(Bus)) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, async { test(Bus::new().await).await });
}

/// Publishes lines, each until the recorder has it on its disk.
async fn publish(from: &Context, topic: &str, numbers: impl IntoIterator<Item = u32>) {
    for number in numbers {
        let line = Text(format!("line {number}"));
        let publish = from.publish(topic, &line).require(["recorder"]);
        publish.level(AckLevel::Durable).within(Duration::from_secs(60)).await.unwrap();
    }
}

fn lines(topic: &str, numbers: impl IntoIterator<Item = u32>) -> Vec<String> {
    let line = |number| format!("{topic}\t1\tbuilder\tline {number}");
    numbers.into_iter().map(line).collect()
}

#[test]
fn g17_what_a_killed_recorder_has_acknowledged_is_replayed_in_order() {
    in_mesh(async |bus| {
        let publisher = bus.publisher().await;
        let recording = bus.record(&[]).await;
        publish(&publisher, "org.build", 1..=20).await;
        // Nobody else has part in the file.
        let file = bus.path("topics.redb");
        let second = ["record", "--topic", "a", "--file", &file, "--name", "other"];
        let (code, _, err) = bus.run("node101", &second).await;
        assert!(code == 1 && err.contains("open in another process"), "{code}: {err}");
        recording.kill();
        let recording = bus.record(&[]).await;
        publish(&publisher, "org.build", 21..=40).await;
        publish(&publisher, "org.test", 41..=42).await;
        let (code, shown, err) = bus.replay(&["--topic", "org.build"]).await;
        assert_eq!((code, shown, err.as_str()), (0, lines("org.build", 1..=40), ""));
        let (_, shown, _) = bus.replay(&["--last", "3"]).await;
        assert_eq!(shown, [lines("org.build", [40]), lines("org.test", [41, 42])].concat());
        let some = ["--topic", "org.build", "--publisher", "1", "--sequence", "39", "--json"];
        let (_, shown, _) = bus.replay(&some).await;
        let shown: Vec<Value> =
            shown.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
        let sequences: Vec<_> = shown.iter().map(|line| line["sequence"].clone()).collect();
        assert_eq!(sequences, [39, 40]);
        assert_eq!((&shown[0]["message"], &shown[0]["position"]), (&"line 39".into(), &39.into()));
        // What is plain has no signature to verify.
        publisher.publish("org.build", &Text("plain".into())).await.unwrap();
        publish(&publisher, "org.build", [43]).await;
        let (_, shown, _) = bus.replay(&["--last", "2", "--verify"]).await;
        assert_eq!(shown, lines("org.build", [43]));
        let (code, shown, _) = bus.replay(&["--since", "1h"]).await;
        assert_eq!((code, shown.len()), (0, 44));
        drop(recording);
        bus.root.shutdown().await;
    });
}

#[test]
fn g17_what_is_not_kept_any_more_is_said_and_misuse_too() {
    in_mesh(async |bus| {
        for arguments in [
            &["record", "--topic", "a"][..],
            &["record", "--file", "f"],
            &["record", "--topic", "a", "--file", "f", "--keep-for", "long"],
            &["replay", "--last", "1", "--since", "1h"],
            &["replay", "--sequence", "1"],
        ] {
            assert_eq!(bus.run("node101", arguments).await.0, 2, "{arguments:?}");
        }
        let (code, _, err) = bus.replay(&["--patience", "0.2s"]).await;
        assert!(code == 111 && err.contains("does not answer"), "{code}: {err}");
        let (code, _, err) = bus.replay(&["--topic", "a..b"]).await;
        assert!(code == 1 && err.contains("a word is empty"), "{code}: {err}");
        let publisher = bus.publisher().await;
        let _recording = bus.record(&["--keep-last", "5", "--name", "short"]).await;
        publish(&publisher, "org.build", 1..=12).await;
        let (code, shown, err) = bus.replay(&["--from", "short"]).await;
        assert_eq!((code, shown), (0, lines("org.build", 8..=12)));
        assert!(err.contains("kept from @"), "{err}");
        bus.root.shutdown().await;
    });
}
