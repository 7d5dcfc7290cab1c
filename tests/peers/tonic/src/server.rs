//! The second process: counts and answers.

use std::{net::Ipv4Addr, pin::Pin};

use futures_util::Stream;
use measure::{Error, note::Tally, second};
use tokio::net::TcpListener;
use tonic::{
    Request, Response, Status, Streaming,
    transport::{Server, server::TcpIncoming},
};

use crate::{
    WINDOW,
    wire::{
        Counted, Frame,
        service::sink_server::{Sink, SinkServer},
    },
};

struct Counter;

#[tonic::async_trait]
impl Sink for Counter {
    type EchoStream = Pin<Box<dyn Stream<Item = Result<Frame, Status>> + Send>>;

    async fn tell(&self, request: Request<Streaming<Frame>>) -> Result<Response<Counted>, Status> {
        let mut frames = request.into_inner();
        let mut tally = Tally::default();
        while let Some(frame) = frames.message().await? {
            tally.count(frame.number, &frame.payload);
        }
        Ok(Response::new(tally.into()))
    }

    async fn ask(&self, request: Request<Frame>) -> Result<Response<Frame>, Status> {
        Ok(Response::new(request.into_inner()))
    }

    async fn echo(
        &self,
        request: Request<Streaming<Frame>>,
    ) -> Result<Response<Self::EchoStream>, Status> {
        Ok(Response::new(Box::pin(request.into_inner())))
    }
}

/// Serves until the first process has gone.
///
/// # Errors
/// What the system or tonic refused.
pub(crate) async fn serve() -> Result<(), Error> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    second::say(&listener.local_addr()?.port().to_string())?;
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    Server::builder()
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .add_service(SinkServer::new(Counter))
        .serve_with_incoming(incoming)
        .await?;
    Ok(())
}
