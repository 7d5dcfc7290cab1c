//! The connection with the server, the stream, and the stream's consumer.

use std::time::Duration;

use async_nats::{
    Client, ConnectErrorKind, ConnectOptions, HeaderMap,
    connection::State,
    jetstream::{
        self,
        consumer::{AckPolicy, DeliverPolicy, PullConsumer, pull},
        context::{
            CreateStreamErrorKind, GetStreamErrorKind, PublishAckFuture, PublishError,
            RequestErrorKind,
        },
        response::Response,
        stream::{self, DiscardPolicy, StorageType},
    },
};
use bytes::Bytes;
use serde::de::IgnoredAny;

use crate::{
    error::BridgeError,
    mapping::covers,
    settings::{ACK_TIME, BACKOFF, Settings},
};

/// How long a question to the server may take.
const ANSWER: Duration = Duration::from_secs(5);

/// The most acknowledgements of JetStream that are awaited: more than may be under way, since those of messages that are sent again come
/// as well.
const MOST_ACKS: usize = 100_000;

#[derive(Debug)]
pub(crate) struct Server {
    client: Client,
    jetstream: jetstream::Context,
    address: String,
}

/// The address without the password that may be in it.
fn shown(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").map_or(("", url), |(scheme, rest)| (scheme, rest));
    let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    if scheme.is_empty() { host.to_owned() } else { format!("{scheme}://{host}") }
}

impl Server {
    pub(crate) async fn connect(url: &str, options: ConnectOptions) -> Result<Self, BridgeError> {
        let server = shown(url);
        let options = options.reconnect_delay_callback(|attempt| match attempt {
            0 | 1 => Duration::ZERO,
            attempt => BACKOFF.1.min(BACKOFF.0 * 2_u32.saturating_pow(attempt.min(10) as u32 - 2)),
        });
        let client = options.connect(url).await.map_err(|error| {
            let (server, why) = (server.clone(), error.to_string());
            match error.kind() {
                ConnectErrorKind::Authentication
                | ConnectErrorKind::AuthorizationViolation
                | ConnectErrorKind::Tls => BridgeError::Refused { server, why },
                ConnectErrorKind::ServerParse => {
                    BridgeError::Settings(format!("`{server}` is no address of a NATS server"))
                }
                _ => BridgeError::NoServer { server, why },
            }
        })?;
        let jetstream = jetstream::ContextBuilder::new()
            .timeout(ANSWER)
            .ack_timeout(ACK_TIME)
            .max_ack_inflight(MOST_ACKS)
            .build(client.clone());
        // Not `query_account`: what older servers answer lacks fields that it wants.
        let asked = jetstream.request("INFO", &()).await;
        let why = match asked {
            Ok(Response::<IgnoredAny>::Ok(_)) => None,
            Ok(Response::Err { error }) => Some(error.to_string()),
            Err(error) if error.kind() == RequestErrorKind::TimedOut => {
                let why = "it does not answer in time".into();
                return Err(BridgeError::NoServer { server, why });
            }
            Err(error) => Some(error.to_string()),
        };
        if let Some(why) = why {
            return Err(BridgeError::NoJetStream { server, why });
        }
        Ok(Self { client, jetstream, address: server })
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.client.connection_state() == State::Connected
    }

    /// The largest message that the server takes, in bytes, with its headers.
    fn max_payload(&self) -> usize {
        self.client.max_payload()
    }

    /// Looks at the stream, or makes it.
    pub(crate) async fn ensure_stream(
        &self,
        settings: &Settings,
    ) -> Result<stream::Stream, BridgeError> {
        let name = &settings.stream;
        let failed = |why: String| BridgeError::Stream { stream: name.clone(), why };
        let wanted = settings.mapping.subjects();
        let stream = match self.jetstream.get_stream(name).await {
            Ok(stream) => stream,
            Err(error) => match error.kind() {
                GetStreamErrorKind::JetStream(said) if said.code() == 404 && settings.creates => {
                    self.create_stream(settings).await?
                }
                _ => return Err(failed(error.to_string())),
            },
        };
        let config = &stream.cached_info().config;
        if !config.subjects.iter().any(|subject| covers(subject, &wanted)) {
            let (stream, has) = (name.clone(), config.subjects.clone());
            return Err(BridgeError::OtherSubjects { stream, has, wanted });
        }
        if config.no_ack {
            return Err(failed(
                "it acknowledges nothing (no_ack), and a bridge relies on that".into(),
            ));
        }
        Ok(stream)
    }

    async fn create_stream(&self, settings: &Settings) -> Result<stream::Stream, BridgeError> {
        let limits = &settings.limits;
        let discard = if limits.refuse_when_full { DiscardPolicy::New } else { DiscardPolicy::Old };
        let config = stream::Config {
            name: settings.stream.clone(),
            subjects: vec![settings.mapping.subjects()],
            max_age: limits.max_age,
            max_bytes: limits.max_bytes.try_into().unwrap_or(i64::MAX),
            duplicate_window: limits.duplicate_window,
            num_replicas: limits.replicas,
            storage: StorageType::File,
            discard,
            description: Some("bridged with a mesh of Actogen".into()),
            ..Default::default()
        };
        let made = self.jetstream.create_stream(config).await;
        made.map_err(|error| match error.kind() {
            CreateStreamErrorKind::JetStreamUnavailable => {
                BridgeError::NoJetStream { server: self.address.clone(), why: error.to_string() }
            }
            _ => BridgeError::Stream { stream: settings.stream.clone(), why: error.to_string() },
        })
    }

    /// The stream's durable consumer of this mesh, and what tells the stream from an earlier one of its name.
    pub(crate) async fn consumer(
        &self,
        settings: &Settings,
    ) -> Result<(PullConsumer, i128), BridgeError> {
        let stream = self.ensure_stream(settings).await?;
        let wanted = settings.mapping.subjects();
        let within = settings.required.as_ref().map_or(Duration::ZERO, |required| required.within);
        let config = pull::Config {
            durable_name: Some(settings.consumer.clone()),
            filter_subject: wanted.clone(),
            ack_policy: AckPolicy::Explicit,
            ack_wait: settings.ack_wait + within,
            max_ack_pending: settings.in_flight.0 as i64,
            deliver_policy: match settings.from_now {
                true => DeliverPolicy::New,
                false => DeliverPolicy::All,
            },
            description: Some("bridged with a mesh of Actogen".into()),
            ..Default::default()
        };
        let failed = |why: String| BridgeError::Stream { stream: settings.stream.clone(), why };
        let consumer: PullConsumer = stream
            .get_or_create_consumer(&settings.consumer, config)
            .await
            .map_err(|error| failed(error.to_string()))?;
        let has = &consumer.cached_info().config;
        if has.filter_subject != wanted || has.ack_policy != AckPolicy::Explicit {
            return Err(BridgeError::OtherConsumer {
                stream: settings.stream.clone(),
                consumer: settings.consumer.clone(),
                wanted,
            });
        }
        Ok((consumer, stream.cached_info().created.unix_timestamp_nanos()))
    }

    /// The messages of the consumer, as many as may be under way.
    pub(crate) async fn messages(
        &self,
        consumer: &PullConsumer,
        settings: &Settings,
    ) -> Result<pull::Stream, BridgeError> {
        let (messages, bytes) = settings.in_flight;
        // One that is larger than what is asked for would never come.
        let bytes = bytes.max(self.max_payload() + 64 * 1024);
        let stream = consumer
            .stream()
            .max_messages_per_batch(messages)
            .max_bytes_per_batch(bytes)
            .expires(Duration::from_secs(10))
            .heartbeat(Duration::from_secs(2))
            .messages();
        stream.await.map_err(|error| BridgeError::Stream {
            stream: settings.stream.clone(),
            why: error.to_string(),
        })
    }

    pub(crate) async fn publish(
        &self,
        subject: String,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<PublishAckFuture, PublishError> {
        self.jetstream.publish_with_headers(subject, headers, body).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_not_shown() {
        assert_eq!(shown("nats://me:secret@bus:4222"), "nats://bus:4222");
        assert_eq!(shown("bus:4222"), "bus:4222");
    }
}
