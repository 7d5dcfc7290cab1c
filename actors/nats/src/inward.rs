//! From the stream into the mesh: acknowledged to JetStream only when the mesh has it.

use std::{sync::Arc, time::Duration};

use actogen::{
    Context, ContextEvent, ContextEvents, ContextId, Encoded, MessageId, NotSent, PublishError,
    ReliableError, Text,
};
use async_nats::jetstream::{self, AckKind};
use futures_util::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use tokio::{sync::watch, time::Instant};

use crate::{
    bridge::Shared,
    error::BridgeError,
    headers::{self, MSG_ID, Read},
    settings::{ACK_TIME, BACKOFF, Foreign, Required},
};

/// How long the neighbours may take to say that they have what was published.
const HANDED_OVER: Duration = Duration::from_secs(10);

/// So many bytes are published before the neighbours are asked: what is published finds no room on a way where more waits, and is lost.
const ROUND: usize = 64 * 1024;

/// How soon it is looked for room again.
const ROOM: Duration = Duration::from_millis(10);

/// How soon a message is to come again that could not be brought in, the first time and at most.
const AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// A message of the stream on its way into the mesh.
struct Incoming {
    message: jetstream::Message,
    topic: String,
    id: MessageId,
    encoded: Encoded,
}

/// What has become of a message.
enum Outcome {
    Taken,
    Refused(String),
    NotNow(String),
}

pub(crate) struct Inward {
    shared: Arc<Shared>,
    events: ContextEvents,
    stop: watch::Receiver<bool>,
}

impl Inward {
    pub(crate) fn new(shared: Arc<Shared>, stop: watch::Receiver<bool>) -> Self {
        Self { events: shared.context.events(), shared, stop }
    }

    pub(crate) async fn run(mut self) {
        let mut stop = self.stop.clone();
        let mut failures = 0;
        while !*stop.borrow() {
            if let Err(error) = self.pull(&mut stop, &mut failures).await {
                self.shared.counts.outages.add(1);
                tracing::warn!(attempt = failures + 1, "nothing comes from NATS: {error}");
            }
            let pause = BACKOFF.1.min(BACKOFF.0 * 2_u32.saturating_pow(failures.min(10)));
            failures += 1;
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                _ = stop.wait_for(|stop| *stop) => {}
            }
        }
    }

    /// Takes what comes until it is to stop, or the server is not there.
    async fn pull(
        &mut self,
        stop: &mut watch::Receiver<bool>,
        failures: &mut u32,
    ) -> Result<(), BridgeError> {
        let shared = self.shared.clone();
        let settings = &shared.settings;
        let (consumer, epoch) = shared.server.consumer(settings).await?;
        let mut messages = shared.server.messages(&consumer, settings).await?;
        let mut reliably = FuturesUnordered::new();
        let most = settings.in_flight.0;
        loop {
            shared.counts.take_pending.set(reliably.len());
            let next = tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => break,
                Some(()) = reliably.next() => continue,
                next = messages.next(), if reliably.len() < most => next,
            };
            let mut round = Vec::new();
            let mut bytes = 0;
            let mut coming = next;
            let mut ended = None;
            // What is there already goes together.
            loop {
                match coming {
                    Some(Ok(message)) => {
                        bytes += message.payload.len();
                        round.push(message);
                    }
                    Some(Err(error)) => ended = Some(error.to_string()),
                    None => ended = Some("the consumer's messages have ended".into()),
                }
                if ended.is_some() || bytes >= ROUND || round.len() + reliably.len() >= most {
                    break;
                }
                match messages.next().now_or_never() {
                    Some(more) => coming = more,
                    None => break,
                }
            }
            if !round.is_empty() {
                *failures = 0;
            }
            let mut incoming = Vec::new();
            for message in round {
                incoming.extend(self.judge(message, epoch).await);
            }
            match &settings.required {
                None => self.take(incoming).await,
                Some(required) => reliably.extend(
                    incoming
                        .into_iter()
                        .map(|it| take_reliably(shared.clone(), it, required.clone())),
                ),
            }
            if let Some(why) = ended {
                return Err(BridgeError::Stream { stream: settings.stream.clone(), why });
            }
        }
        // What is under way is waited for; what is not done then comes again.
        let rest = async { while reliably.next().await.is_some() {} };
        let _ = tokio::time::timeout(ACK_TIME, rest).await;
        Ok(())
    }

    /// What a message is for the mesh; `None` when it has gone as far as it goes.
    async fn judge(&self, message: jetstream::Message, epoch: i128) -> Option<Incoming> {
        let Shared { settings, counts, brought, .. } = &*self.shared;
        let read = headers::read(message.headers.as_ref(), &message.payload);
        let known = message.headers.as_ref().and_then(|headers| headers.get(MSG_ID));
        let (encoded, origin) = match read {
            Read::Bridged(_, origin) if origin.mesh == settings.mesh => {
                counts.looped.add(1);
                answer(&message, AckKind::Ack).await;
                return None;
            }
            Read::Bridged(encoded, origin) => (encoded, Some(*origin)),
            Read::Odd(header) => {
                self.refuse(&message, &format!("its header {header} is missing or odd")).await;
                return None;
            }
            Read::Foreign => match foreign(settings.foreign, &message) {
                Ok(encoded) => (encoded, None),
                Err(why) => {
                    self.refuse(&message, why).await;
                    return None;
                }
            },
        };
        let Some(topic) = settings.mapping.topic_of(&message.subject) else {
            self.refuse(&message, "its subject is not mapped").await;
            return None;
        };
        let id = match known {
            Some(known) => {
                let parts =
                    [known.as_str().as_bytes(), message.subject.as_bytes(), &message.payload];
                headers::inward_id(&parts)
            }
            None => {
                let sequence = message.info().map_or(0, |info| info.stream_sequence);
                let parts = [
                    settings.stream.as_bytes(),
                    &epoch.to_le_bytes()[..],
                    &sequence.to_le_bytes()[..],
                ];
                headers::inward_id(&parts)
            }
        };
        if !brought.lock().begin(id, origin.as_ref()) {
            counts.take_duplicates.add(1);
            answer(&message, AckKind::Ack).await;
            return None;
        }
        Some(Incoming { message, topic, id, encoded })
    }

    async fn refuse(&self, message: &jetstream::Message, why: &str) {
        self.shared.counts.take_refused.add(1);
        tracing::warn!(subject = %message.subject, "a message of the stream is refused: {why}");
        answer(message, AckKind::Term).await;
    }

    /// Publishes messages, and acknowledges them once the neighbours have them.
    async fn take(&mut self, incoming: Vec<Incoming>) {
        if incoming.is_empty() {
            return;
        }
        self.shared.counts.take_pending.set(incoming.len());
        self.await_mesh().await;
        let mut published = Vec::new();
        let mut is_stuck = false;
        for it in incoming {
            // What is behind one that is put off is put off with it, and keeps its place.
            let outcome = match is_stuck {
                true => Err(Outcome::NotNow("one before it was put off".into())),
                false => publish(&self.shared.context, &it).await,
            };
            match outcome {
                Ok(()) => published.push(it),
                Err(outcome) => {
                    is_stuck |= matches!(outcome, Outcome::NotNow(_));
                    settle(&self.shared, it, outcome).await;
                }
            }
        }
        let handed_over = self.hand_over().await;
        for it in published {
            let outcome = match &handed_over {
                Ok(()) => Outcome::Taken,
                Err(why) => Outcome::NotNow((*why).into()),
            };
            settle(&self.shared, it, outcome).await;
        }
        self.shared.counts.take_pending.set(0);
    }

    /// Waits until this context is in the mesh, and knows who wants what.
    async fn await_mesh(&mut self) {
        let context = &self.shared.context;
        let mut was_outside = false;
        while is_outside(context) && !*self.stop.borrow() {
            was_outside = true;
            tokio::time::sleep(BACKOFF.0).await;
        }
        if self.has_moved() || was_outside {
            let _ =
                tokio::time::timeout(HANDED_OVER, self.shared.context.know_subscriptions()).await;
        }
    }

    /// Waits until the neighbours have what was published: the question behind it follows the same way.
    async fn hand_over(&mut self) -> Result<(), &'static str> {
        let asked = self.shared.context.know_subscriptions();
        match tokio::time::timeout(HANDED_OVER, asked).await {
            Ok(Ok(())) if self.has_moved() || is_outside(&self.shared.context) => {
                Err("the context has lost its parent meanwhile")
            }
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err("the context ends"),
            Err(_) => Err("the neighbours do not answer"),
        }
    }

    /// Whether the context stands elsewhere than when this was asked before.
    fn has_moved(&mut self) -> bool {
        let mut moved = false;
        while let Some(event) = self.events.try_next() {
            // Some are lost: it may have.
            moved |= matches!(event, Ok(ContextEvent::Moved { .. }) | Err(_));
        }
        moved
    }
}

fn is_outside(context: &Context) -> bool {
    context.id() != ContextId::ROOT && context.parent().is_none()
}

fn foreign(how: Foreign, message: &jetstream::Message) -> Result<Encoded, &'static str> {
    match how {
        Foreign::Refuse => Err("no bridge has sent it"),
        Foreign::Text => {
            let text = std::str::from_utf8(&message.payload).map_err(|_| "it is no text")?;
            Encoded::of(&Text(text.to_owned())).map_err(|_| "it is no text")
        }
    }
}

/// Publishes a message under its id, signed by this context. Waits for room: asks the neighbours, behind whose
/// answer there is some.
async fn publish(context: &Context, it: &Incoming) -> Result<(), Outcome> {
    let until = Instant::now() + HANDED_OVER;
    loop {
        match context.publish_encoded(&it.topic, &it.encoded).signed().id(it.id).await {
            Ok(_) => return Ok(()),
            Err(error @ PublishError::Topic(_)) => {
                return Err(Outcome::Refused(error.to_string()));
            }
            Err(error) if Instant::now() > until => return Err(Outcome::NotNow(error.to_string())),
            Err(_) => {
                let _ = tokio::time::timeout(HANDED_OVER, context.know_subscriptions()).await;
                tokio::time::sleep(ROOM).await;
            }
        }
    }
}

/// Publishes a message until the required recipients have acknowledged it.
fn take_reliably(shared: Arc<Shared>, it: Incoming, required: Required) -> BoxFuture<'static, ()> {
    Box::pin(async move {
        let published = shared
            .context
            .publish_encoded(&it.topic, &it.encoded)
            .require(required.names)
            .level(required.level)
            .within(required.within)
            .id(it.id)
            .await;
        let outcome = match published {
            Ok(_) => Outcome::Taken,
            Err(error @ ReliableError::Rejected(_)) => Outcome::Refused(error.to_string()),
            Err(ReliableError::NotSent(NotSent::Publish(error @ PublishError::Topic(_)))) => {
                Outcome::Refused(error.to_string())
            }
            Err(error) => Outcome::NotNow(error.to_string()),
        };
        settle(&shared, it, outcome).await;
    })
}

async fn settle(shared: &Shared, it: Incoming, outcome: Outcome) {
    let Incoming { message, id, .. } = it;
    match outcome {
        Outcome::Taken => {
            shared.counts.taken.add(1);
            shared.brought.lock().done(id);
            answer(&message, AckKind::Ack).await;
        }
        Outcome::Refused(why) => {
            shared.counts.take_refused.add(1);
            tracing::warn!(subject = %message.subject, "a message of the stream is refused: {why}");
            shared.brought.lock().done(id);
            answer(&message, AckKind::Term).await;
        }
        Outcome::NotNow(why) => {
            shared.counts.take_retries.add(1);
            tracing::warn!(subject = %message.subject, "a message of the stream is put off: {why}");
            let delivered = message.info().map_or(1, |info| info.delivered.max(1));
            let factor = 2_u32.saturating_pow(delivered.min(10) as u32 - 1);
            let again = AGAIN.1.min(AGAIN.0 * factor);
            answer(&message, AckKind::Nak(Some(again))).await;
        }
    }
}

/// Tells JetStream. If that is lost the message comes again, and is known.
async fn answer(message: &jetstream::Message, kind: AckKind) {
    match tokio::time::timeout(ACK_TIME, message.ack_with(kind)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!("JetStream is not told: {error}"),
        Err(_) => tracing::warn!("JetStream is not told: the client has no room"),
    }
}
