//! `actogen bridge`, as a person runs it, between a mesh and a real NATS server.

#![cfg(feature = "nats")]
#![allow(clippy::unwrap_used, reason = "this is all test code")]

use std::{
    fs::File,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use actogen::{
    Context, ContextId, Mesh, Text,
    names::{ContextNames, Holder},
};

const LIMIT: Duration = Duration::from_secs(60);

/// Says that a test is skipped, past the harness; where everything must run it is a failure.
fn skip(test: &str) {
    let needs = "nats-server";
    assert!(std::env::var_os("ACTOGEN_REQUIRE_ALL").is_none(), "{test} needs {needs}");
    let mut terminal = File::options().write(true).open("/dev/stderr").unwrap();
    let _ = writeln!(terminal, "SKIPPED {test}: it needs {needs}");
}

/// A process that does not outlive its test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn server(port: u16, store: &Path) -> Option<Running> {
    let start = |program: &&str| {
        let mut command = Command::new(program);
        command.args(["-js", "-a", "127.0.0.1", "-p", &port.to_string(), "-sd"]).arg(store);
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().ok()
    };
    let child = ["nats-server", "/usr/sbin/nats-server"].iter().find_map(start)?;
    let running = Running(child);
    let begun = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(begun.elapsed() < LIMIT, "nats-server does not listen");
        std::thread::sleep(Duration::from_millis(10));
    }
    Some(running)
}

/// The command, with a mesh at this endpoint.
fn bridge(home: &Path, mesh: &str, nats: &str, topic: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_actogen"));
    command.args(["bridge", "--nats", nats, "--topic", topic, "--subject", "mesh.t.>"]);
    command.env("ACTOGEN_CONNECT", mesh).env("ACTOGEN_MESH", home.join("node"));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs a bridge that does not come to stand; gives status and standard error.
async fn failing(mut command: Command) -> (i32, String) {
    let running = tokio::task::spawn_blocking(move || {
        let output = command.output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    });
    running.await.unwrap()
}

#[test]
fn a_bridge_runs_until_it_is_ended_and_says_why_it_cannot() {
    let home = tempfile::tempdir().unwrap();
    let port = free_port();
    let Some(_server) = server(port, &home.path().join("store")) else {
        return skip("a_bridge_runs_until_it_is_ended_and_says_why_it_cannot");
    };
    let nats = format!("nats://127.0.0.1:{port}");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let home = home.path();
        Mesh::create_authority("fleet.test", home.join("ca")).unwrap();
        let names = ContextNames::new(["bridge".to_owned()]).unwrap();
        let (day, id) = (Duration::from_secs(86_400), ContextId(100));
        Mesh::issue_named(home.join("ca"), home.join("node"), id, day, &names, Holder::Stays)
            .unwrap();
        let mesh = Mesh::root(home.join("ca")).unwrap();
        let root = Context::builder().mesh(mesh).listen("127.0.0.1:0").start().await.unwrap();
        let at = root.endpoint().unwrap();

        let (code, err) = failing(bridge(home, &at, &nats, "t")).await;
        assert_eq!(code, 2, "{err}");
        assert!(err.contains("one is a subtree"), "{err}");
        let nobody = format!("nats://127.0.0.1:{}", free_port());
        let (code, err) = failing(bridge(home, &at, &nobody, "t.>")).await;
        assert_eq!(code, 111, "{err}");
        assert!(err.contains("nats-server -js"), "{err}");
        let mut missing = bridge(home, &at, &nats, "t.>");
        missing.arg("--existing-stream");
        let (code, err) = failing(missing).await;
        assert_eq!(code, 1, "{err}");

        let mut command = bridge(home, &at, &nats, "t.>");
        let starting = tokio::task::spawn_blocking(move || {
            let mut child = command.spawn().unwrap();
            let mut line = String::new();
            BufReader::new(child.stderr.as_mut().unwrap()).read_line(&mut line).unwrap();
            assert_eq!(line, "actogen: bridging t.> and mesh.t.>\n");
            Running(child)
        });
        let mut running = starting.await.unwrap();
        let published = root.publish("t.a", &Text("stored".into())).require(["bridge"]);
        published.within(LIMIT).await.unwrap();
        let client = async_nats::connect(&nats).await.unwrap();
        let jetstream = async_nats::jetstream::new(client);
        let stream = jetstream.get_stream("mesh_t").await.unwrap();
        assert_eq!(stream.cached_info().state.messages, 1);

        let pid = running.0.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        let ending = tokio::task::spawn_blocking(move || {
            let mut said = String::new();
            BufReader::new(running.0.stdout.as_mut().unwrap()).read_line(&mut said).unwrap();
            (running.0.wait().unwrap().code(), said)
        });
        let (code, said) = ending.await.unwrap();
        assert_eq!(code, Some(0), "{said}");
        assert!(said.starts_with("sent=1 sent_duplicates=0 send_refused=0"), "{said}");
    });
}
