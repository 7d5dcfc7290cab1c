//! `actogen logger` and `actogen tail`, as a person runs them, against a mesh that is there.

#![allow(clippy::unwrap_used, reason = "this is all test code")]

use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use actogen::{
    Context, ContextId, Mesh, Text,
    names::{ContextNames, Holder},
};
use serde_json::{Value, json};

/// An identity of a mesh in a folder, with names.
fn identity(home: &Path, id: u64, names: &[&str]) {
    let folder = home.join(format!("node{id}"));
    let names = ContextNames::new(names.iter().map(|&name| name.to_owned())).unwrap();
    let day = Duration::from_secs(86_400);
    Mesh::issue_named(home.join("ca"), &folder, ContextId(id), day, &names, Holder::Stays).unwrap();
}

/// A root with an authority, and identities that were issued before it began: of machines, and of commands.
struct Bus {
    home: tempfile::TempDir,
    root: Context,
}

impl Bus {
    async fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        Mesh::create_authority("fleet.test", home.path().join("ca")).unwrap();
        for (id, names) in
            [(1, &["billing"][..]), (2, &["audit"]), (3, &[]), (100, &[]), (101, &["west"])]
        {
            identity(home.path(), id, names);
        }
        let mesh = Mesh::root(home.path().join("ca")).unwrap();
        let root = Context::builder().mesh(mesh).listen("127.0.0.1:0").start().await.unwrap();
        Self { home, root }
    }

    async fn context(&self, id: u64) -> Context {
        let mesh = Mesh::from_pem(self.home.path().join(format!("node{id}"))).unwrap();
        let builder = Context::builder().mesh(mesh).connect(self.root.endpoint().unwrap());
        builder.start().await.unwrap()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_actogen"));
        command.args(arguments).env("ACTOGEN_CONNECT", self.root.endpoint().unwrap());
        command.env("ACTOGEN_MESH", self.home.path().join("node100"));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs the command with this input, while this thread goes on as the mesh; gives status and standard error.
    async fn run(&self, arguments: &[&str], input: &'static str) -> (i32, String) {
        let mut command = self.command(arguments);
        let running = tokio::task::spawn_blocking(move || {
            let mut child = command.spawn().unwrap();
            // One that does not read it ends before.
            let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
            let output = child.wait_with_output().unwrap();
            (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
        });
        running.await.unwrap()
    }

    /// Starts `tail`; it listens when this returns.
    async fn tail(&self, arguments: &[&str]) -> Tail {
        let mut command = self.command(arguments);
        let starting = tokio::task::spawn_blocking(move || {
            let mut child = command.spawn().unwrap();
            let mut line = String::new();
            BufReader::new(child.stderr.as_mut().unwrap()).read_line(&mut line).unwrap();
            assert_eq!(line, "actogen: listening\n");
            Tail(child)
        });
        starting.await.unwrap()
    }
}

struct Tail(Child);

impl Tail {
    /// What it has shown, once it has ended by itself; or, if it does not, until it is ended.
    async fn shown(mut self) -> Vec<String> {
        let ending = tokio::task::spawn_blocking(move || {
            let begun = Instant::now();
            while self.0.try_wait().unwrap().is_none() && begun.elapsed() < Duration::from_secs(60)
            {
                std::thread::sleep(Duration::from_millis(5));
            }
            let _ = self.0.kill();
            let output = self.0.wait_with_output().unwrap();
            String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
        });
        ending.await.unwrap()
    }
}

/// Has a context give this verdict on every line that is published under `t`.
fn consume(context: &Context, verdict: fn(&str) -> Result<(), &'static str>) {
    let mut deliveries = context.consume::<Text>("t").deliveries().unwrap();
    tokio::task::spawn_local(async move {
        while let Some(delivery) = deliveries.next().await {
            match verdict(&delivery.message().0) {
                Ok(()) => delivery.ok(),
                Err(why) => delivery.reject(why),
            };
        }
    });
}

fn in_mesh(test: impl AsyncFnOnce(Bus)) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, async { test(Bus::new().await).await });
}

/// Who has acknowledged, who is missing, who has rejected, by the last line.
fn partial(err: &str) -> (Value, Value, Value) {
    let last: Value = serde_json::from_str(err.lines().last().unwrap()).unwrap();
    assert!(last["ignored_acks"].is_u64(), "{last}");
    (last["acked"].clone(), last["missing"].clone(), last["rejected"].clone())
}

#[test]
fn g16_the_exit_status_tells_who_has_acknowledged() {
    in_mesh(async |bus| {
        let (billing, _audit) = (bus.context(1).await, bus.context(2).await);
        // It has the messages too, and no name.
        let other = bus.context(3).await;
        consume(&other, |_| Ok(()));
        consume(&billing, |line| if line == "bad" { Err("it is bad") } else { Ok(()) });
        let logger = |seconds: &'static str, recipients: &[&'static str]| {
            let mut arguments =
                vec!["logger", "--topic", "t", "--ack-timeout", seconds, "--recipients"];
            arguments.extend(recipients);
            arguments
        };
        let (code, err) = bus.run(&logger("60", &["billing"]), "testing\nonce more\n").await;
        assert_eq!((code, err.as_str()), (0, ""));

        let (code, err) = bus.run(&logger("60", &["billing"]), "fine\nbad\nnever sent\n").await;
        assert_eq!(code, 121, "{err}");
        assert!(err.contains("it is bad"), "{err}");
        assert_eq!(partial(&err), (json!([]), json!([]), json!(["billing"])));

        // One that is enrolled, and has no consumer; as one that is offline.
        let begun = Instant::now();
        let (code, err) = bus.run(&logger("5", &["billing", "audit"]), "testing\n").await;
        assert_eq!(code, 124, "{err}");
        assert!(begun.elapsed() >= Duration::from_secs(5));
        assert_eq!(partial(&err), (json!(["billing"]), json!(["audit"]), json!([])));

        let begun = Instant::now();
        let (code, err) = bus.run(&logger("60", &["nobody"]), "testing\n").await;
        assert_eq!(code, 1);
        assert!(err.contains(r#"no context has been given the names ["nobody"]"#), "{err}");
        assert!(begun.elapsed() < Duration::from_secs(60), "it is known at once");
        bus.root.shutdown().await;
    });
}

#[test]
fn g11_misuse_is_told_and_a_mesh_that_does_not_answer() {
    in_mesh(async |bus| {
        for arguments in [
            &["logger", "--topic", "t", "--recipients"][..],
            &["logger", "--topic", "t", "--ack-timeout", "3"],
            &["logger", "--topic", "t", "--recipients", "a", "--ack-level", "read"],
            &["logger", "--message", "m"],
            &["tail"],
        ] {
            assert_eq!(bus.run(arguments, "").await.0, 2, "{arguments:?}");
        }
        let (code, err) = bus.run(&["logger", "--topic", "a..b", "--message", "m"], "").await;
        assert!(code == 1 && err.contains("a word is empty"), "{err}");
        let (code, err) = bus.run(&["logger", "--topic", "t", "--json-input"], "{\n").await;
        assert!(code == 1 && err.contains("this is no JSON"), "{err}");
        let nobody = ["--connect", "127.0.0.1:1", "logger", "--topic", "t", "--message", "m"];
        let (code, err) = bus.run(&nobody, "").await;
        assert_eq!(code, 111, "{err}");
        bus.root.shutdown().await;
    });
}

#[test]
fn what_is_logged_is_seen_by_who_looks_on() {
    in_mesh(async |bus| {
        let tail = bus.tail(&["tail", "org.*", "alerts", "--count", "4"]).await;
        // Another identity: two commands of one would be two lives of one context.
        let west = bus.home.path().join("node101");
        let log = |arguments: &[&str]| -> Vec<String> {
            let folder = west.to_str().unwrap();
            let all = [&["--mesh", folder, "logger", "--topic"][..], arguments].concat();
            all.into_iter().map(str::to_owned).collect()
        };
        for (arguments, input) in [
            (log(&["org.build"]), "one\n\u{1b}[2Jtwo"),
            (log(&["org.not.this", "--message", "unseen"]), ""),
            (log(&["alerts", "--json-input"]), "{\"level\": 3}\n"),
            (log(&["org.done", "--message", "last"]), ""),
        ] {
            let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
            let (code, err) = bus.run(&arguments, input).await;
            assert_eq!((code, err.as_str()), (0, ""));
        }
        let shown = tail.shown().await;
        let expected = [
            "org.build\t101\t-\tone",
            "org.build\t101\t-\t\\u{1b}[2Jtwo",
            "alerts\t101\t-\t{\"level\":3}",
            "org.done\t101\t-\tlast",
        ];
        assert_eq!(shown, expected);

        // What is required is signed; what is not is not shown to who wants signatures.
        let billing = bus.context(1).await;
        consume(&billing, |_| Ok(()));
        let tail = bus.tail(&["tail", "t", "--verify", "--json", "--count", "1"]).await;
        for arguments in [
            log(&["t", "--message", "plain"]),
            log(&["t", "--message", "signed", "--recipients", "billing"]),
        ] {
            let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
            let (code, err) = bus.run(&arguments, "").await;
            assert_eq!((code, err.as_str()), (0, ""));
        }
        let shown: Vec<Value> =
            tail.shown().await.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(shown.len(), 1);
        assert_eq!(
            (&shown[0]["message"], &shown[0]["names"][0]),
            (&"signed".into(), &"west".into())
        );
        bus.root.shutdown().await;
    });
}
