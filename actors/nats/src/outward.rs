//! From the mesh into the stream: in order, acknowledged in the mesh only when JetStream has acknowledged.
//!
//! What is under way is a window. When its first message cannot be stored, all behind it are sent again, in their order, once the server is
//! there: those that it had stored nevertheless it knows by their ids. While it is away the consumer in the mesh holds what comes, within its bound.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use actogen::{Consumption, Deliveries, Delivery, Encoded, MessageId, PublishError};
use async_nats::{
    HeaderMap,
    jetstream::{
        self, ErrorCode,
        context::{PublishError as StoreError, PublishErrorKind},
        publish::PublishAck,
    },
};
use bytes::Bytes;
use futures_util::{StreamExt, future::BoxFuture, stream::FuturesOrdered};
use tokio::{sync::watch, time::Instant};

use crate::{
    bridge::Shared,
    headers::{self, Origin},
    settings::{ACK_TIME, BACKOFF},
};

/// No delivery of the mesh is lost to the bridge while it has it: it is acknowledged, or goes down with it.
const NEVER: Duration = Duration::from_secs(365 * 24 * 3600);

/// A message that is to be stored.
struct Item {
    delivery: Delivery<Encoded>,
    subject: String,
    headers: HeaderMap,
    body: Bytes,
}

/// What comes of trying to store one.
enum Stored {
    Yes { again: bool },
    Never(String),
    NotNow(String),
}

fn judged(outcome: Result<PublishAck, StoreError>) -> Stored {
    let error = match outcome {
        Ok(ack) => return Stored::Yes { again: ack.duplicate },
        Err(error) => error,
    };
    let source = std::error::Error::source(&error);
    let code = source
        .and_then(|source| source.downcast_ref::<jetstream::Error>())
        .map(jetstream::Error::error_code);
    let why = source.map_or_else(|| error.to_string(), |source| format!("{error}: {source}"));
    let is_too_large = error.kind() == PublishErrorKind::MaxPayloadExceeded
        || code.is_some_and(|code| {
            code == ErrorCode::STREAM_MESSAGE_EXCEEDS_MAXIMUM
                || code == ErrorCode::STREAM_HEADER_EXCEEDS_MAXIMUM
        });
    if is_too_large { Stored::Never(why) } else { Stored::NotNow(why) }
}

type Acks = FuturesOrdered<BoxFuture<'static, Result<PublishAck, StoreError>>>;

pub(crate) struct Outward {
    shared: Arc<Shared>,
    // Before what was delivered: whatever drops this ends the consumer first, so that nothing counts as rejected.
    deliveries: Deliveries<Encoded>,
    window: VecDeque<Item>,
    /// Acknowledgements of the first of the window.
    acks: Acks,
}

impl Outward {
    pub(crate) fn new(shared: Arc<Shared>) -> Result<Self, PublishError> {
        let (messages, bytes) = shared.settings.queue;
        let deliveries = shared
            .context
            .consume_encoded(&shared.settings.mapping.topics())
            .prefetch(messages, bytes)
            .within(NEVER)
            .deliveries()?;
        Ok(Self { shared, deliveries, window: VecDeque::new(), acks: Acks::new() })
    }

    pub(crate) fn consumption(&self) -> Consumption {
        self.deliveries.consumption()
    }

    pub(crate) async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let most = self.shared.settings.in_flight.0;
        let mut until = None;
        let mut failures = 0;
        loop {
            if until.is_none() && *stop.borrow() {
                until = Some(Instant::now() + ACK_TIME);
            }
            if until.is_some_and(|until| self.window.is_empty() || until <= Instant::now()) {
                break;
            }
            tokio::select! {
                biased;
                Some(outcome) = self.acks.next() => match judged(outcome) {
                    Stored::NotNow(why) => {
                        self.acks = Acks::new();
                        self.shared.counts.send_retries.add(1);
                        tracing::warn!(attempt = failures + 1, "a message is not stored, and is sent again: {why}");
                        let shared = self.shared.clone();
                        recover(&shared, failures, &mut stop).await;
                        failures += 1;
                    }
                    stored => {
                        failures = 0;
                        self.settle(stored);
                    }
                },
                delivery = self.deliveries.next(), if until.is_none() && self.window.len() < most => {
                    let Some(delivery) = delivery else { break };
                    self.take(delivery);
                }
                _ = stop.changed(), if until.is_none() => {}
                () = tokio::time::sleep_until(until.unwrap_or_else(Instant::now)), if until.is_some() => {}
            }
            self.send_new().await;
        }
    }

    /// Makes ready what has come from the mesh, or gives its verdict.
    fn take(&mut self, delivery: Delivery<Encoded>) {
        let Shared { context, settings, counts, brought, .. } = &*self.shared;
        let from = delivery.from();
        let is_own = from == context.id() && delivery.id().is_some_and(|id| brought.lock().has(id));
        if is_own {
            counts.looped.add(1);
            delivery.ok();
            return;
        }
        if settings.left_out.contains(&from) {
            counts.looped.add(1);
            delivery.reject(format!("this bridge leaves out what context {from} publishes"));
            return;
        }
        let Some(subject) = settings.mapping.subject_of(delivery.topic()) else {
            // The pattern and the mapping are of one tree.
            delivery.reject("it is not mapped");
            return;
        };
        let message = delivery.message();
        let origin = Origin {
            mesh: settings.mesh.clone(),
            context: from,
            topic: delivery.topic().to_owned(),
            id: delivery.id(),
            proof: message.proof.clone(),
        };
        // A plain message has no id; this one keeps it single when the bridge sends it again.
        let id = origin.id.unwrap_or_else(|| MessageId::fresh(context));
        let msg_id = headers::msg_id(&origin, id, message);
        let (headers, body) = (headers::write(&origin, message, &msg_id), message.body.clone());
        self.window.push_back(Item { delivery, subject, headers, body });
    }

    /// Sends those of the window that are not sent yet.
    async fn send_new(&mut self) {
        while let Some(item) = self.window.get(self.acks.len()) {
            let (subject, headers, body) =
                (item.subject.clone(), item.headers.clone(), item.body.clone());
            // When the client has no room for so long, its connection is gone.
            let sending = self.shared.server.publish(subject, headers, body);
            let sent = match tokio::time::timeout(ACK_TIME, sending).await {
                Ok(sent) => sent,
                Err(_) => Err(StoreError::new(PublishErrorKind::TimedOut)),
            };
            let has_failed = sent.is_err();
            self.acks.push_back(Box::pin(async move { sent?.await }));
            if has_failed {
                // What comes of it is judged in its turn.
                return;
            }
        }
    }

    fn settle(&mut self, stored: Stored) {
        let counts = &self.shared.counts;
        let Some(item) = self.window.pop_front() else { return };
        match stored {
            Stored::Yes { again } => {
                counts.sent.add(1);
                counts.sent_duplicates.add(again.into());
                item.delivery.ok();
            }
            Stored::Never(why) => {
                counts.send_refused.add(1);
                item.delivery.reject(format!("NATS does not take it: {why}"));
            }
            Stored::NotNow(_) => unreachable!("it is not settled"),
        }
    }
}

/// Waits until the server is there again, and the stream.
async fn recover(shared: &Shared, failures: u32, stop: &mut watch::Receiver<bool>) {
    let Shared { server, settings, counts, .. } = shared;
    let pause = BACKOFF.1.min(BACKOFF.0 * 2_u32.saturating_pow(failures.min(10)));
    let recovered = async {
        tokio::time::sleep(pause).await;
        while !server.is_connected() {
            tokio::time::sleep(BACKOFF.0).await;
        }
        if failures > 0
            && let Err(error) = server.ensure_stream(settings).await
        {
            counts.outages.add(1);
            tracing::warn!("{error}");
        }
    };
    tokio::select! {
        () = recovered => {}
        _ = stop.wait_for(|stop| *stop) => {}
    }
}
