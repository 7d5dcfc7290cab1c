//! Meshes, and a NATS server on the loopback with a store of its own.

use std::{
    fmt::Display,
    fs::File,
    io::Write,
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use actogen::{
    Context, ContextId, Encoded, RemoteMessage,
    names::{ContextNames, Holder},
};
use async_nats::jetstream;

/// How long anything may take on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

pub(crate) async fn timely<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(LIMIT, future).await.unwrap_or_else(|_| panic!("{what} does not come"))
}

pub(crate) async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    timely(what, async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

/// Says that a test is skipped, past the harness; where everything must run it is a failure.
fn skip(test: &str) {
    let needs = "nats-server";
    assert!(std::env::var_os("ACTOGEN_REQUIRE_ALL").is_none(), "{test} needs {needs}");
    let mut terminal = File::options().write(true).open("/dev/stderr").unwrap();
    let _ = writeln!(terminal, "SKIPPED {test}: it needs {needs}");
}

/// Runs a test with a server, or says that there is none.
pub(crate) fn run(test: &str, body: impl AsyncFnOnce(Nats)) {
    let Some(program) = program() else {
        skip(test);
        return;
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let mut nats = Nats::new(program);
        nats.start().await;
        body(nats).await;
    });
}

fn program() -> Option<&'static str> {
    ["nats-server", "/usr/sbin/nats-server"].into_iter().find(|program| {
        Command::new(program).arg("--version").stdout(Stdio::null()).status().is_ok()
    })
}

/// A server, killed with its test.
pub(crate) struct Nats {
    program: &'static str,
    home: tempfile::TempDir,
    port: u16,
    server: Option<Child>,
}

impl Nats {
    fn new(program: &'static str) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        Self { program, home: tempfile::tempdir().unwrap(), port, server: None }
    }

    pub(crate) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    pub(crate) async fn start(&mut self) {
        let store = self.home.path().to_str().unwrap().to_owned();
        self.start_with(&["-js", "-sd", &store]).await;
        let client = self.client().await;
        timely("JetStream", async {
            while client.request("$JS.API.INFO", "".into()).await.is_err() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
    }

    /// A server that wants this token.
    pub(crate) async fn start_guarded(&mut self, token: &str) {
        let store = self.home.path().to_str().unwrap().to_owned();
        self.start_with(&["-js", "-sd", &store, "--auth", token]).await;
    }

    pub(crate) async fn start_without_jetstream(&mut self) {
        self.start_with(&[]).await;
    }

    async fn start_with(&mut self, arguments: &[&str]) {
        let port = self.port.to_string();
        let mut command = Command::new(self.program);
        command.args(["-a", "127.0.0.1", "-p", &port]).args(arguments);
        self.server = Some(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
        let (begun, port) = (Instant::now(), self.port);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(begun.elapsed() < LIMIT, "nats-server does not listen");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Ends it as a crash would.
    pub(crate) fn kill(&mut self) {
        if let Some(mut server) = self.server.take() {
            server.kill().unwrap();
            server.wait().unwrap();
        }
    }

    async fn client(&self) -> async_nats::Client {
        timely("a connection", async_nats::connect(self.url())).await.unwrap()
    }

    async fn jetstream(&self) -> jetstream::Context {
        jetstream::new(self.client().await)
    }

    /// How many messages a stream has.
    pub(crate) async fn stored(&self, stream: &str) -> u64 {
        let stream = self.jetstream().await.get_stream(stream).await.unwrap();
        stream.cached_info().state.messages
    }

    /// What a stream has, in order.
    pub(crate) async fn numbers<M: RemoteMessage + Into<u64>>(&self, stream: &str) -> Vec<u64> {
        let stream = self.jetstream().await.get_stream(stream).await.unwrap();
        let state = &stream.cached_info().state;
        let mut numbers = Vec::new();
        for sequence in state.first_sequence..=state.last_sequence {
            let message = stream.get_raw_message(sequence).await.unwrap();
            numbers.push(M::decode(M::CODEC, &message.payload).unwrap().into());
        }
        numbers
    }

    /// Puts a message there that no bridge has sent.
    pub(crate) async fn put(&self, subject: impl Into<String>, body: &[u8]) {
        let context = self.jetstream().await;
        let body = bytes::Bytes::copy_from_slice(body);
        context.publish(subject.into(), body).await.unwrap().await.unwrap();
    }

    /// Puts a message there as a bridge of another mesh would, with a number for its id.
    pub(crate) async fn put_bridged(
        &self,
        subject: &'static str,
        mesh: impl Display,
        number: u64,
        message: &Encoded,
    ) {
        let mut headers = async_nats::HeaderMap::new();
        headers.insert("Nats-Msg-Id", format!("{mesh}.5.{number}"));
        headers.insert("Actogen-Mesh", mesh.to_string());
        headers.insert("Actogen-From", "5");
        headers.insert("Actogen-Topic", "orders.new");
        headers.insert("Actogen-Tag", format!("{:016x}", message.tag));
        headers.insert("Actogen-Codec", message.codec.to_string());
        let context = self.jetstream().await;
        ensure(&context).await;
        let body = message.body.clone();
        context.publish_with_headers(subject, headers, body).await.unwrap().await.unwrap();
    }

    /// Waits until a consumer has acknowledged all that its stream has.
    pub(crate) async fn all_acknowledged(&self, stream: &str, consumer: &str) {
        let stream = self.jetstream().await.get_stream(stream).await.unwrap();
        timely("all is acknowledged", async {
            loop {
                let info = stream.consumer_info(consumer).await.unwrap();
                if info.num_pending == 0 && info.num_ack_pending == 0 {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
    }
}

/// The stream as a bridge would make it.
async fn ensure(context: &jetstream::Context) {
    let config = jetstream::stream::Config {
        name: "mesh_orders".into(),
        subjects: vec!["mesh.orders.>".into()],
        ..Default::default()
    };
    context.get_or_create_stream(config).await.unwrap();
}

impl Drop for Nats {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A root that publishes, a context called `billing`, and one called `bridge`.
pub(crate) struct Mesh {
    pub(crate) root: Context,
    pub(crate) billing: Context,
    pub(crate) bridge: Context,
    home: tempfile::TempDir,
}

fn identity(home: &Path, id: u64, name: &str) {
    let names = ContextNames::new([name.to_owned()]).unwrap();
    let (folder, day) = (home.join(name), Duration::from_secs(86_400));
    let (ca, id) = (home.join("ca"), ContextId(id));
    actogen::Mesh::issue_named(ca, folder, id, day, &names, Holder::Stays).unwrap();
}

async fn member(root: &Context, home: &Path, name: &str) -> Context {
    let mesh = actogen::Mesh::from_pem(home.join(name)).unwrap();
    let endpoint = root.endpoint().unwrap();
    Context::builder().mesh(mesh).connect(endpoint).start().await.unwrap()
}

impl Mesh {
    pub(crate) async fn new(name: &str) -> Self {
        let home = tempfile::tempdir().unwrap();
        let path = home.path();
        actogen::Mesh::create_authority(&format!("{name}.test"), path.join("ca")).unwrap();
        identity(path, 1, "billing");
        identity(path, 2, "bridge");
        let mesh = actogen::Mesh::root(path.join("ca")).unwrap();
        let root = Context::builder().mesh(mesh).listen("127.0.0.1:0").start().await.unwrap();
        let billing = member(&root, path, "billing").await;
        let bridge = member(&root, path, "bridge").await;
        Self { root, billing, bridge, home }
    }

    /// Ends the bridge's context, and begins another life of it.
    pub(crate) async fn begin_bridge_anew(&mut self) {
        self.bridge.shutdown().await;
        self.bridge = member(&self.root, self.home.path(), "bridge").await;
    }

    /// Waits until all know who wants what.
    pub(crate) async fn know(&self) {
        for context in [&self.billing, &self.bridge, &self.root] {
            timely("word of who wants what", context.know_subscriptions()).await.unwrap();
        }
    }
}
