//! The simulated network as the QUIC transport wants it.

use std::{
    collections::VecDeque,
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Weak},
};

use actogen::{quic::DatagramSocket, transport::BoxFuture};
use parking_lot::Mutex;
use tokio::{sync::Notify, task::JoinHandle};
use turmoil::net::UdpSocket;

/// Where every context listens on its host.
pub(crate) const PORT: u16 = 4433;

/// A socket of the host, held by the host's program: when the host crashes the port is free, whatever else still knows the wire.
#[derive(Debug)]
pub(crate) struct Plug {
    pub(crate) wire: Arc<Wire>,
    reading: JoinHandle<()>,
}

/// Carries datagrams for as long as its [`Plug`] lives.
#[derive(Debug)]
pub(crate) struct Wire {
    socket: Weak<UdpSocket>,
    address: SocketAddr,
    inbox: Mutex<VecDeque<(Vec<u8>, SocketAddr)>>,
    arrived: Notify,
}

impl Plug {
    /// Opens the host's port.
    pub(crate) async fn open() -> io::Result<Self> {
        let socket = Arc::new(UdpSocket::bind((Ipv4Addr::UNSPECIFIED, PORT)).await?);
        let wire = Arc::new(Wire {
            socket: Arc::downgrade(&socket),
            address: socket.local_addr()?,
            inbox: Mutex::default(),
            arrived: Notify::new(),
        });
        let inbox = wire.clone();
        let reading = tokio::task::spawn_local(async move {
            let mut buffer = [0; 2048];
            while let Ok((len, from)) = socket.recv_from(&mut buffer).await {
                inbox.inbox.lock().push_back((buffer[..len].to_vec(), from));
                inbox.arrived.notify_one();
            }
        });
        Ok(Self { wire, reading })
    }

    /// Closes the host's port, so that it can be opened again. What is given back tells whether anything still holds the wire.
    pub(crate) async fn close(mut self) -> Weak<Wire> {
        self.reading.abort();
        // It was told to end, so it ends with an error.
        let _ = (&mut self.reading).await;
        self.wire.arrived.notify_one();
        Arc::downgrade(&self.wire)
    }
}

impl Drop for Plug {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

fn unplugged() -> io::Error {
    io::Error::new(io::ErrorKind::NotConnected, "the host has gone")
}

impl DatagramSocket for Wire {
    fn try_send_to(&self, datagram: &[u8], to: SocketAddr) -> io::Result<()> {
        let socket = self.socket.upgrade().ok_or_else(unplugged)?;
        socket.try_send_to(datagram, to).map(drop)
    }

    fn try_recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        match self.inbox.lock().pop_front() {
            Some((datagram, from)) => {
                let len = datagram.len().min(buffer.len());
                buffer[..len].copy_from_slice(&datagram[..len]);
                Ok((len, from))
            }
            None if self.socket.strong_count() == 0 => Err(unplugged()),
            None => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    fn readable(self: Arc<Self>) -> BoxFuture<'static, io::Result<()>> {
        Box::pin(async move {
            while self.inbox.lock().is_empty() && self.socket.strong_count() > 0 {
                self.arrived.notified().await;
            }
            Ok(())
        })
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}
