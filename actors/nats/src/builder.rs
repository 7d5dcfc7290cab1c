//! Setting up a bridge.

use std::{collections::BTreeSet, time::Duration};

use actogen::{AckLevel, Context, ContextId};
use async_nats::ConnectOptions;

use crate::{
    bridge::Bridge,
    error::BridgeError,
    mapping::Mapping,
    settings::{Foreign, Required, Settings, StreamLimits},
};

/// A bridge to be. End it with [`Self::start`].
#[must_use = "nothing is bridged before `start`"]
#[derive(Debug)]
pub struct BridgeBuilder {
    url: String,
    options: ConnectOptions,
    settings: Settings,
}

/// A word for names of streams and consumers, in which NATS allows no dots.
fn word(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' }).collect()
}

/// Whether it names a stream, a consumer or a mesh.
fn is_name(text: &str, also: &[char]) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_' || also.contains(&c);
    (1..=64).contains(&text.len()) && text.chars().all(is_plain)
}

impl BridgeBuilder {
    pub(crate) fn new(url: String, mesh: String, mapping: Mapping) -> Self {
        let subtree = word(mapping.subjects().trim_end_matches(".>"));
        let settings = Settings {
            stream: subtree.clone(),
            consumer: format!("actogen-{}-{subtree}", word(&mesh)),
            mesh,
            mapping,
            limits: StreamLimits::default(),
            creates: true,
            outward: true,
            inward: true,
            queue: (4096, 16 * 1024 * 1024),
            in_flight: (256, 4 * 1024 * 1024),
            foreign: Foreign::default(),
            required: None,
            left_out: BTreeSet::new(),
            from_now: false,
            ack_wait: Duration::from_secs(30),
        };
        Self { url, options: ConnectOptions::new(), settings }
    }

    /// How the client connects: credentials, TLS. The first connection must stand; later ones it makes anew by itself, after up to 5 s, whatever the options
    /// say of that.
    pub fn connect_options(mut self, options: ConnectOptions) -> Self {
        self.options = options;
        self
    }

    /// The stream; unless this is said it is called as the subjects are, with `_` for dots.
    pub fn stream(mut self, name: impl Into<String>) -> Self {
        self.settings.stream = name.into();
        self
    }

    /// The bounds of the stream where the bridge makes it.
    pub fn limits(mut self, limits: StreamLimits) -> Self {
        self.settings.limits = limits;
        self
    }

    /// The stream must be there: the bridge does not make it.
    pub fn existing_stream(mut self) -> Self {
        self.settings.creates = false;
        self
    }

    /// The stream's durable consumer, which remembers what this mesh has taken. Unless this is said, mesh and subjects name it. Two bridges of
    /// one mesh with the same one share what comes in between them.
    pub fn consumer(mut self, name: impl Into<String>) -> Self {
        self.settings.consumer = name.into();
        self
    }

    /// Only from the mesh to NATS.
    pub fn outward_only(mut self) -> Self {
        (self.settings.outward, self.settings.inward) = (true, false);
        self
    }

    /// Only from NATS to the mesh.
    pub fn inward_only(mut self) -> Self {
        (self.settings.outward, self.settings.inward) = (false, true);
        self
    }

    /// A consumer that is new begins with what comes from now on, not with all that the stream has.
    pub fn from_now_on(mut self) -> Self {
        self.settings.from_now = true;
        self
    }

    /// So many messages, and so many bytes, of the mesh wait at most while they cannot go out; 4,096 and 16 MiB unless this is said. What comes
    /// above that is not taken: who requires the bridge sends it again, other messages are lost, and counted.
    pub fn queue(mut self, messages: usize, bytes: usize) -> Self {
        self.settings.queue = (messages.max(1), bytes);
        self
    }

    /// So many messages may be under way each way, without acknowledgement; 256 unless this is said. Inward so many bytes as well, 4 MiB, or one
    /// message.
    pub fn in_flight(mut self, messages: usize, bytes: usize) -> Self {
        self.settings.in_flight = (messages.clamp(1, 10_000), bytes);
        self
    }

    /// What comes in is published reliably: it is acknowledged to JetStream when these recipients have acknowledged it, at this level and in this
    /// time, and comes again otherwise. What one of them rejects does not come again.
    pub fn require<S: Into<String>>(
        mut self,
        names: impl IntoIterator<Item = S>,
        level: AckLevel,
        within: Duration,
    ) -> Self {
        let names = names.into_iter().map(Into::into).collect();
        self.settings.required = Some(Required { names, level, within });
        self
    }

    /// How long after a crash of the bridge what it had under way comes again: JetStream waits so long for an acknowledgement, and so long as
    /// required recipients may take; 30 s unless this is said. A consumer that is there keeps its own.
    pub fn ack_wait(mut self, time: Duration) -> Self {
        self.settings.ack_wait = time.max(Duration::from_millis(100));
        self
    }

    /// What becomes of messages that no bridge has put into the stream.
    pub fn foreign(mut self, foreign: Foreign) -> Self {
        self.settings.foreign = foreign;
        self
    }

    /// What this context publishes does not go out: for another bridge of the same mesh, whose messages would come round otherwise.
    pub fn leave_out(mut self, context: ContextId) -> Self {
        self.settings.left_out.insert(context);
        self
    }

    /// Connects, looks at the stream or makes it, and carries messages until the bridge is dropped.
    ///
    /// # Errors
    /// [`BridgeError`].
    ///
    /// # Panics
    /// Outside of a tokio runtime, such as an actix `System`, that has its drivers enabled.
    pub async fn start(self, context: &Context) -> Result<Bridge, BridgeError> {
        let Settings { mesh, stream, consumer, .. } = &self.settings;
        let wrong = |what: &str, name: &str| {
            let name = name.escape_debug();
            Err(BridgeError::Settings(format!(
                "`{name}` names no {what}: give 1 to 64 letters, digits, `-` and `_`"
            )))
        };
        if !is_name(mesh, &['.']) {
            return wrong("mesh", mesh);
        }
        if !is_name(stream, &[]) {
            return wrong("stream", stream);
        }
        if !is_name(consumer, &[]) {
            return wrong("consumer", consumer);
        }
        Bridge::open(context, &self.url, self.options, self.settings).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stream_and_consumer_have_names_that_nats_takes() {
        let mapping = Mapping::new("orders.>", "mesh.orders.>").unwrap();
        let builder = BridgeBuilder::new(String::new(), "fleet.example".into(), mapping);
        assert_eq!(builder.settings.stream, "mesh_orders");
        assert_eq!(builder.settings.consumer, "actogen-fleet_example-mesh_orders");
        assert!(is_name("a-B_9", &[]) && !is_name("a.b", &[]) && !is_name("", &[]));
    }
}
