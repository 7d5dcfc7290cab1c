//! `actogen bridge`: a subtree of topics and a stream of NATS JetStream.

use std::{
    io::{self, Write},
    path::PathBuf,
    time::Duration,
};

use actogen::{AckLevel, Context, Phase};
use actogen_nats::{BridgeBuilder, BridgeError, ConnectOptions, Foreign, Mapping, StreamLimits};
use clap::Args;

use crate::{
    Failure, NO_CONNECTION, REJECTED,
    bus::{Door, Level, seconds},
    say,
};

/// Misuse that only shows once two arguments are read together; as clap's.
const USAGE: u8 = 2;

#[derive(Debug, Args)]
#[command(
    after_help = "Messages under the topics go into the stream, and what is in the stream comes into the mesh, each once. Who publishes with `--recipients NAME`, where NAME is bound to this bridge's identity, hears of success only when JetStream has stored the message. It goes on until it is interrupted, and says then what it has carried.\n\nExit status: 0 interrupted, 1 an error, 2 misused, 111 neither mesh nor server answers, 121 refused by one of them.\n\nExamples:\n  actogen --mesh bridge --connect root.example:4433 bridge --nats nats://bus.example --topic 'orders.>' --subject 'mesh.orders.>'\n  actogen bridge --nats tls://bus.example --creds bridge.creds --topic 'build.>' --subject 'ci.build.>' --outward-only\n  actogen bridge --nats bus.example --topic 'orders.>' --subject 'mesh.orders.>' --recipients billing --ack-level durable"
)]
pub(crate) struct Bridge {
    /// Where the NATS server is
    #[arg(long, value_name = "URL")]
    nats: String,
    /// The topics: a subtree such as `orders.>`, or one topic
    #[arg(long)]
    topic: String,
    /// The subjects: a subtree such as `mesh.orders.>`, or one subject
    #[arg(long)]
    subject: String,
    /// What this mesh is called in the stream, instead of its own name: no two meshes on a stream are called the same
    #[arg(long, value_name = "NAME")]
    mesh_name: Option<String>,
    /// The stream, instead of one that is called as the subjects are
    #[arg(long, value_name = "NAME")]
    stream: Option<String>,
    /// The stream must be there, and is not made
    #[arg(long)]
    existing_stream: bool,
    /// The stream's durable consumer, instead of one that is called as mesh and subjects are
    #[arg(long, value_name = "NAME")]
    consumer: Option<String>,
    /// Only from the mesh to NATS
    #[arg(long, conflicts_with = "inward_only")]
    outward_only: bool,
    /// Only from NATS to the mesh
    #[arg(long)]
    inward_only: bool,
    /// A new consumer begins with what comes from now on
    #[arg(long)]
    from_now: bool,
    /// How long messages stay in a stream that is made
    #[arg(long, value_name = "SECONDS", default_value = "604800", value_parser = seconds)]
    max_age: Duration,
    /// How many bytes a stream that is made may have; the oldest messages go then
    #[arg(long, value_name = "BYTES", default_value_t = 1 << 30)]
    max_bytes: u64,
    /// A stream that is made refuses what is new when it is full, instead of dropping what is oldest
    #[arg(long)]
    refuse_when_full: bool,
    /// Messages that no bridge has sent are refused, instead of published as text
    #[arg(long)]
    refuse_foreign: bool,
    /// Who must acknowledge what comes in before JetStream hears that it is taken
    #[arg(long, value_name = "NAME", num_args = 1..)]
    recipients: Vec<String>,
    /// How long that may take before the message is put off
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds, requires = "recipients")]
    ack_timeout: Duration,
    /// How far the recipients must have come
    #[arg(long, value_name = "LEVEL", default_value = "processed", requires = "recipients")]
    ack_level: Level,
    /// A NATS credentials file
    #[arg(long, value_name = "FILE")]
    creds: Option<PathBuf>,
    /// Certificates of the authority that the server's certificate is of, PEM, instead of those of this machine
    #[arg(long, value_name = "FILE")]
    tls_ca: Option<PathBuf>,
    /// The bridge's certificate for the server, PEM
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Its key
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Say on standard error what was carried, from time to time
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    stats_every: Option<Duration>,
}

pub(crate) fn run(arguments: Bridge, door: Door) -> Result<(), Failure> {
    let mapping = Mapping::new(&arguments.topic, &arguments.subject);
    let mapping = mapping.map_err(|error| Failure::with_status(error, USAGE))?;
    let mesh = match &arguments.mesh_name {
        Some(name) => name.clone(),
        None => door.mesh_name()?,
    };
    door.enter(async move |context| {
        let every = arguments.stats_every;
        let builder = arguments.builder(mesh, mapping.clone()).await?;
        carry(context, builder, &mapping, every).await
    })
}

impl Bridge {
    async fn builder(self, mesh: String, mapping: Mapping) -> Result<BridgeBuilder, Failure> {
        let mut options = ConnectOptions::new().name(format!("actogen bridge of {mesh}"));
        if let Some(creds) = &self.creds {
            let read = options.credentials_file(creds).await;
            options = read.map_err(|error| format!("{}: {error}", creds.display()))?;
        }
        if let Some(authority) = self.tls_ca {
            options = options.add_root_certificates(authority).require_tls(true);
        }
        if let (Some(certificate), Some(key)) = (self.tls_cert, self.tls_key) {
            options = options.add_client_certificate(certificate, key).require_tls(true);
        }
        let mut limits = StreamLimits::default();
        limits.max_age = self.max_age;
        limits.max_bytes = self.max_bytes;
        limits.refuse_when_full = self.refuse_when_full;
        let builder = actogen_nats::Bridge::builder(self.nats, mesh, mapping);
        let mut builder = builder.connect_options(options).limits(limits);
        if let Some(stream) = self.stream {
            builder = builder.stream(stream);
        }
        if self.existing_stream {
            builder = builder.existing_stream();
        }
        if let Some(consumer) = self.consumer {
            builder = builder.consumer(consumer);
        }
        if self.outward_only {
            builder = builder.outward_only();
        }
        if self.inward_only {
            builder = builder.inward_only();
        }
        if self.from_now {
            builder = builder.from_now_on();
        }
        if self.refuse_foreign {
            builder = builder.foreign(Foreign::Refuse);
        }
        if !self.recipients.is_empty() {
            let level: AckLevel = self.ack_level.into();
            builder = builder.require(self.recipients, level, self.ack_timeout);
        }
        Ok(builder)
    }
}

async fn carry(
    context: &Context,
    builder: BridgeBuilder,
    mapping: &Mapping,
    every: Option<Duration>,
) -> Result<(), Failure> {
    let bridge = builder.start(context).await.map_err(|error| {
        let status = match &error {
            BridgeError::NoServer { .. } => NO_CONNECTION,
            BridgeError::Refused { .. } => REJECTED,
            BridgeError::Settings(_) => USAGE,
            _ => 1,
        };
        Failure::with_status(error, status)
    })?;
    let (topics, subjects) = (mapping.topics(), mapping.subjects());
    let _ = writeln!(io::stderr(), "actogen: bridging {topics} and {subjects}");
    let mut phase = context.phase();
    let mut interrupted = std::pin::pin!(tokio::signal::ctrl_c());
    let mut terminated = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    loop {
        tokio::select! {
            _ = &mut interrupted => break,
            _ = terminated.recv() => break,
            _ = phase.wait_for(|phase| *phase != Phase::Running) => {
                say(bridge.stop().await);
                return Err("the mesh is gone".into());
            }
            () = tokio::time::sleep(every.unwrap_or(Duration::MAX)), if every.is_some() => {
                let _ = writeln!(io::stderr(), "actogen: {}", bridge.stats());
            }
        }
    }
    say(bridge.stop().await);
    Ok(())
}
