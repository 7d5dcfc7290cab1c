//! `actogen logger` and `actogen tail`: publishing from a shell, and looking at what is published.

use std::{
    io::{self, BufRead, Write},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use actogen::{
    AckLevel, Codec, Context, ContextId, Json, Mesh, Observed, ObservedSignature, Partial, Publish,
    ReliableError, Replayed, StartError, Text, transport::DialError,
};
use clap::{Args, ValueEnum};
use serde_json::json;

use crate::{Failure, NO_CONNECTION, REJECTED, say};

/// Not all have acknowledged in time; as `timeout(1)`.
pub(crate) const TIMEOUT: u8 = 124;

/// How long the way into the mesh, and word of who wants what, may take.
const ENTRY: Duration = Duration::from_secs(10);

/// The longest line that is published, in bytes.
const LONGEST: usize = 1024 * 1024;

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Level {
    /// The recipient has it, in memory
    Received,
    /// The recipient has stored it
    Durable,
    /// The recipient has handled it
    Processed,
}

impl From<Level> for AckLevel {
    fn from(level: Level) -> Self {
        match level {
            Level::Received => Self::Received,
            Level::Durable => Self::Durable,
            Level::Processed => Self::Processed,
        }
    }
}

#[derive(Debug, Args)]
#[command(
    after_help = "Each line of standard input is a message, unless --message gives one.\n\nWith --recipients each message must be acknowledged, signed, by each of them before the next is published. What is not ends the command: status 1 for a name that was never enrolled, 121 for a message that was rejected, 124 when time is over; the last line on standard error says then who has acknowledged, who has rejected and who is missing, as JSON.\n\nExamples:\n  actogen --mesh node7 --connect root.example:4433 logger --topic org.build.done --message ok\n  tail -f build.log | actogen logger --topic org.build.log\n  echo testing | actogen logger --topic t --recipients billing audit --ack-timeout 3"
)]
pub(crate) struct Logger {
    /// The topic: words joined by dots
    #[arg(long)]
    topic: String,
    /// The message, instead of standard input
    #[arg(long, value_name = "TEXT")]
    message: Option<String>,
    /// Messages are JSON, a line each: published as such
    #[arg(long)]
    json_input: bool,
    /// Who must acknowledge each message: names that the mesh's authority has bound to contexts
    #[arg(long, value_name = "NAME", num_args = 1..)]
    recipients: Vec<String>,
    /// How long each message may take to be acknowledged
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds, requires = "recipients")]
    ack_timeout: Duration,
    /// How far the recipients must have come
    #[arg(long, value_name = "LEVEL", default_value = "processed", requires = "recipients")]
    ack_level: Level,
}

#[derive(Debug, Args)]
#[command(
    after_help = "A message is a line: topic, number of the context, names of its signature, text. It goes on until it is interrupted.\n\nExamples:\n  actogen --mesh node7 --connect root.example:4433 tail 'org.build.>'\n  actogen tail '>' --json --verify"
)]
pub(crate) struct Tail {
    /// Topics: `*` stands for one word, a last `>` for one or more
    #[arg(required = true, value_name = "PATTERN")]
    patterns: Vec<String>,
    /// Write lines of JSON
    #[arg(long)]
    json: bool,
    /// Show only what is signed. (A signature that does not hold is never shown.)
    #[arg(long)]
    verify: bool,
    /// End after so many messages
    #[arg(long, value_name = "COUNT")]
    count: Option<u64>,
}

pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "give seconds, such as 3 or 0.5".to_owned())?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

/// Where a command comes into the mesh.
pub(crate) struct Door {
    mesh: PathBuf,
    connect: String,
}

impl Door {
    pub(crate) fn new(mesh: Option<PathBuf>, connect: Option<String>) -> Result<Self, Failure> {
        let mesh = mesh.ok_or(
            "say where this machine's identity is: --mesh DIR, or ACTOGEN_MESH; `actogen join` and `actogen ca issue` make one",
        )?;
        let connect = connect.ok_or("say where the mesh is: --connect ADDR, or ACTOGEN_CONNECT")?;
        Ok(Self { mesh, connect })
    }

    /// What the mesh is called.
    #[cfg(feature = "nats")]
    pub(crate) fn mesh_name(&self) -> Result<String, Failure> {
        Ok(Mesh::from_pem(&self.mesh)?.name().to_owned())
    }

    /// Does something as a context of the mesh, and leaves it in good order.
    pub(crate) fn enter(
        self,
        act: impl AsyncFnOnce(&Context) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let local = tokio::task::LocalSet::new();
        local.block_on(&runtime, async {
            let context = attached(&self.mesh, &self.connect).await?;
            let done = act(&context).await;
            context.shutdown().await;
            done
        })
    }
}

async fn attached(mesh: &Path, connect: &str) -> Result<Context, Failure> {
    let builder = Context::builder().mesh(Mesh::from_pem(mesh)?).connect(connect);
    let started = tokio::time::timeout(ENTRY, builder.start()).await;
    let late =
        |_| Failure::with_status(format!("{connect} has not answered in time"), NO_CONNECTION);
    started.map_err(late)?.map_err(|error| {
        let status = match &error {
            StartError::Dial(DialError::Unreachable { .. } | DialError::Address { .. }) => {
                NO_CONNECTION
            }
            StartError::Dial(_) | StartError::Join { .. } => REJECTED,
            _ => 1,
        };
        Failure::with_status(&error, status)
    })
}

pub(crate) fn log(logger: Logger, door: Door) -> Result<(), Failure> {
    door.enter(async move |context| {
        if !logger.recipients.is_empty() {
            return logger.publish_all(context).await;
        }
        know(context).await?;
        logger.publish_all(context).await?;
        // What was published has gone out before this is asked, and has come in before it is answered.
        know(context).await
    })
}

/// Waits until it is known who wants what.
pub(crate) async fn know(context: &Context) -> Result<(), Failure> {
    let known = tokio::time::timeout(ENTRY, context.know_subscriptions()).await;
    Ok(known.map_err(|_| "nobody says in time who wants what")??)
}

impl Logger {
    async fn publish_all(&self, context: &Context) -> Result<(), Failure> {
        if let Some(message) = &self.message {
            return self.publish(context, message).await;
        }
        let mut lines = Lines::begin();
        while let Some(line) = lines.next().await? {
            self.publish(context, &line).await?;
        }
        Ok(())
    }

    async fn publish(&self, context: &Context, line: &str) -> Result<(), Failure> {
        if self.json_input {
            let value =
                serde_json::from_str(line).map_err(|error| format!("this is no JSON: {error}"))?;
            self.send(context.publish(&self.topic, &Json(value))).await
        } else {
            self.send(context.publish(&self.topic, &Text(line.to_owned()))).await
        }
    }

    async fn send(&self, publish: Publish<'_>) -> Result<(), Failure> {
        if self.recipients.is_empty() {
            return Ok(publish.await?);
        }
        let reliable = publish.require(self.recipients.clone()).level(self.ack_level.into());
        reliable.within(self.ack_timeout).await.map(drop).map_err(failed)
    }
}

/// Says why a message is not confirmed; and, where it was sent, by whom it is.
fn failed(error: ReliableError) -> Failure {
    let (status, partial) = match &error {
        ReliableError::Timeout(partial) => (TIMEOUT, Some(partial)),
        ReliableError::Rejected(partial) => (REJECTED, Some(partial)),
        _ => (1, None),
    };
    let mut why = error.to_string();
    if let Some(partial) = partial {
        let Partial { acked, rejected, missing, ignored_acks, .. } = &**partial;
        let (acked, rejected): (Vec<_>, Vec<_>) =
            (acked.keys().collect(), rejected.keys().collect());
        let line = json!({
            "acked": acked,
            "rejected": rejected,
            "missing": missing,
            "ignored_acks": ignored_acks.total(),
        });
        why = format!("{why}\n{line}");
    }
    Failure::with_status(why, status)
}

/// The lines of standard input, read by a thread of their own: the mesh is not kept waiting.
struct Lines(tokio::sync::mpsc::Receiver<io::Result<String>>);

impl Lines {
    fn begin() -> Self {
        let (sender, lines) = tokio::sync::mpsc::channel(16);
        std::thread::spawn(move || {
            let mut input = io::BufReader::new(io::stdin().lock());
            while let Some(line) = next_line(&mut input) {
                if sender.blocking_send(line).is_err() {
                    return;
                }
            }
        });
        Self(lines)
    }

    async fn next(&mut self) -> io::Result<Option<String>> {
        self.0.recv().await.transpose()
    }
}

fn next_line(input: &mut impl BufRead) -> Option<io::Result<String>> {
    let mut line = Vec::new();
    let read = io::Read::take(&mut *input, LONGEST as u64 + 1).read_until(b'\n', &mut line);
    match read {
        Ok(0) => None,
        Ok(_) if line.len() > LONGEST && line.last() != Some(&b'\n') => {
            Some(Err(io::Error::other(format!("a line is longer than {LONGEST} bytes"))))
        }
        Ok(_) => {
            if line.last() == Some(&b'\n') {
                line.pop();
            }
            Some(String::from_utf8(line).map_err(|_| io::Error::other("a line is not UTF-8")))
        }
        Err(error) => Some(Err(error)),
    }
}

pub(crate) fn tail(tail: Tail, door: Door) -> Result<(), Failure> {
    door.enter(async move |context| {
        let (sender, mut messages) = tokio::sync::mpsc::channel(256);
        for pattern in &tail.patterns {
            let mut observation = context.observe(pattern)?;
            let sender = sender.clone();
            tokio::task::spawn_local(async move {
                while sender.send(observation.next().await).await.is_ok() {}
            });
        }
        // Who looks on may publish now, and will be seen.
        know(context).await?;
        let _ = writeln!(io::stderr(), "actogen: listening");
        let mut shown = 0;
        let mut interrupted = std::pin::pin!(tokio::signal::ctrl_c());
        while tail.count.is_none_or(|count| shown < count) {
            let message = tokio::select! {
                message = messages.recv() => message,
                _ = &mut interrupted => return Ok(()),
            };
            match message {
                Some(Ok(observed)) if tail.verify && observed.signature.is_none() => {}
                Some(Ok(observed)) => {
                    Shown::from(&observed).show(tail.json);
                    shown += 1;
                }
                Some(Err(dropped)) => {
                    let _ = writeln!(io::stderr(), "actogen: {dropped} messages were dropped");
                }
                None => return Ok(()),
            }
        }
        Ok(())
    })
}

/// A message as it is shown.
pub(crate) struct Shown<'a> {
    topic: &'a str,
    from: ContextId,
    tag: u64,
    codec: Option<Codec>,
    body: &'a [u8],
    signature: Option<&'a ObservedSignature>,
    /// Where a recorder has it, and since when.
    recorded: Option<(u64, SystemTime)>,
}

impl<'a> From<&'a Observed> for Shown<'a> {
    fn from(observed: &'a Observed) -> Self {
        let Observed { topic, from, tag, codec, body, signature, .. } = observed;
        let (from, tag, codec, signature) = (*from, *tag, *codec, signature.as_ref());
        Self { topic, from, tag, codec, body, signature, recorded: None }
    }
}

impl<'a> From<&'a Replayed> for Shown<'a> {
    fn from(replayed: &'a Replayed) -> Self {
        let Replayed { position, at, topic, from, tag, codec, body, signature, .. } = replayed;
        let (from, tag, codec, signature) = (*from, *tag, *codec, signature.as_ref());
        Self { topic, from, tag, codec, body, signature, recorded: Some((*position, *at)) }
    }
}

impl Shown<'_> {
    pub(crate) fn show(&self, as_json: bool) {
        let message = self.message();
        let names = self.signature.map(|signature| signature.names.clone());
        if as_json {
            let mut line = json!({
                "topic": self.topic,
                "from": self.from.0,
                "id": self.signature.map(|signature| signature.id.to_string()),
                "names": names,
                "message": message,
            });
            if let (Some((position, at)), Some(line)) = (self.recorded, line.as_object_mut()) {
                let at = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
                line.insert("position".into(), position.into());
                line.insert("recorded".into(), at.as_secs_f64().into());
                let sequence = self.signature.map(|signature| signature.sequence);
                line.insert("series".into(), sequence.map(|it| it.series).into());
                line.insert("sequence".into(), sequence.map(|it| it.number).into());
            }
            say(line);
            return;
        }
        let text = match &message {
            serde_json::Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let names = names.map_or("-".to_owned(), |names| match names.is_empty() {
            true => "signed".to_owned(),
            false => names.join(","),
        });
        // What came from elsewhere does not steer a terminal.
        let text = text.chars().flat_map(|c| match c.is_control() {
            true => c.escape_default().collect::<Vec<_>>(),
            false => vec![c],
        });
        let text = text.collect::<String>();
        say(format_args!("{}\t{}\t{names}\t{text}", self.topic, self.from.0));
    }

    /// Text as text, JSON as it is; of anything else its type's tag and its bytes.
    fn message(&self) -> serde_json::Value {
        use actogen::RemoteMessage;
        let decoded = |value: Option<serde_json::Value>| {
            value.unwrap_or_else(|| {
                let bytes: String = self.body.iter().map(|byte| format!("{byte:02x}")).collect();
                json!({ "tag": format!("{:#018x}", self.tag), "body": bytes })
            })
        };
        if self.tag == Text::TAG.get() {
            let text = self.codec.and_then(|codec| codec.decode::<String>(self.body).ok());
            return decoded(text.map(Into::into));
        }
        if self.codec == Some(Codec::Json) {
            return decoded(serde_json::from_slice(self.body).ok());
        }
        decoded(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_bounded_and_text() {
        let mut input = io::Cursor::new(b"one\n\ntwo".to_vec());
        let mut lines = Vec::new();
        while let Some(line) = next_line(&mut input) {
            lines.push(line.unwrap());
        }
        assert_eq!(lines, ["one", "", "two"]);
        let mut long = io::Cursor::new(vec![b'a'; LONGEST + 1]);
        assert!(next_line(&mut long).unwrap().unwrap_err().to_string().contains("longer"));
        let mut binary = io::Cursor::new(vec![0xff, b'\n']);
        assert!(next_line(&mut binary).unwrap().unwrap_err().to_string().contains("UTF-8"));
    }

    #[test]
    fn seconds_may_have_parts() {
        assert_eq!(seconds("0.5"), Ok(Duration::from_millis(500)));
        assert!(seconds("-1").is_err() && seconds("soon").is_err());
    }
}
