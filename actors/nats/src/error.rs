//! Why a bridge does not stand.

use actogen::PublishError;

use crate::mapping::MappingError;

/// Why a bridge was not built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BridgeError {
    /// Topic and subject cannot be mapped.
    #[error(transparent)]
    Mapping(#[from] MappingError),
    /// The bridge cannot be set up so.
    #[error("{0}")]
    Settings(String),
    /// No server answers.
    #[error(
        "no NATS server answers at {server} ({why}): start it with `nats-server -js`, or correct the address"
    )]
    NoServer {
        /// Where.
        server: String,
        /// What the client says.
        why: String,
    },
    /// The server does not let this client in.
    #[error(
        "the NATS server at {server} does not let the bridge in ({why}): give it credentials that the server knows, or its certificate"
    )]
    Refused {
        /// Where.
        server: String,
        /// What the client says.
        why: String,
    },
    /// The server has no JetStream, or none for this account.
    #[error(
        "the NATS server at {server} has no JetStream ({why}): start it with `-js`, or enable JetStream for the account"
    )]
    NoJetStream {
        /// Where.
        server: String,
        /// What it answers.
        why: String,
    },
    /// The stream is there and has other subjects.
    #[error(
        "the stream {stream} has the subjects {has:?} and not `{wanted}`: give the bridge another stream, or add the subject to this one"
    )]
    OtherSubjects {
        /// The stream.
        stream: String,
        /// Its subjects.
        has: Vec<String>,
        /// The mapped ones.
        wanted: String,
    },
    /// The stream's consumer is there and is another one.
    #[error(
        "the consumer {consumer} of the stream {stream} is none of a bridge of `{wanted}`: give the bridge another name for its consumer"
    )]
    OtherConsumer {
        /// The stream.
        stream: String,
        /// The consumer.
        consumer: String,
        /// The mapped subjects.
        wanted: String,
    },
    /// The stream can be neither used nor made.
    #[error("the stream {stream} cannot be used: {why}")]
    Stream {
        /// The stream.
        stream: String,
        /// What the server answers.
        why: String,
    },
    /// The context's topics could not be reached.
    #[error(transparent)]
    Mesh(#[from] PublishError),
}
