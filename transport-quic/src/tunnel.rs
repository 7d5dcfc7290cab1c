//! Datagrams through a pair of pipes, for where UDP does not pass (protocol rule 31).
//!
//! Each datagram goes with its length in front (u16, little endian). Both ends have the same made-up address, since there is nobody else.
//! Nothing is lost on the way and nothing overtakes: a queue that is full makes QUIC wait, and a pipe that has ended ends the endpoint and its link.
//!
//! What is between the queues and the pipes is the caller's: tasks over asynchronous pipes ([`Tunnel::over`]), or threads over plain
//! files.

use std::{
    collections::VecDeque,
    io::{self, Read, Write},
    net::{Ipv6Addr, SocketAddr},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
};

use actogen_runtime::transport::{BoxFuture, PIPE};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    sync::Notify,
};

use crate::socket::DatagramSocket;

/// The text by which the other end of a tunnel is dialled.
pub const TUNNEL_ENDPOINT: &str = "[100::ac7]:1";

/// A datagram is never longer: QUIC is told so, and what says otherwise is no tunnel.
const LONGEST: usize = 1500;

/// What either queue holds, in bytes: a few round trips of a pipe, and no more delay than that for what comes behind.
const QUEUE: usize = 256 * 1024;

/// The address of both ends, from the block that is discarded everywhere (RFC 6666).
fn address() -> SocketAddr {
    SocketAddr::from((Ipv6Addr::new(0x100, 0, 0, 0, 0, 0, 0, 0xac7), 1))
}

/// A peer's address, for people: one at the other end of a pipe has none.
pub(crate) fn describe(remote: SocketAddr) -> String {
    if remote == address() { PIPE.to_owned() } else { remote.to_string() }
}

/// A queue between QUIC and a pipe.
#[derive(Debug, Default)]
struct Queue {
    held: Mutex<Held>,
    /// Somebody may take, or put: for tasks and for threads.
    changed: Notify,
    changed_here: Condvar,
}

#[derive(Debug, Default)]
struct Held {
    datagrams: VecDeque<Vec<u8>>,
    bytes: usize,
    ended: bool,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Held> {
        // Nothing that can panic runs under the lock.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self) {
        self.changed.notify_waiters();
        self.changed_here.notify_all();
    }

    /// Puts a datagram in, if there is room; says whether.
    fn put(&self, datagram: &[u8]) -> io::Result<()> {
        let mut held = self.lock();
        if held.ended {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        if held.bytes >= QUEUE {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        held.bytes += datagram.len();
        held.datagrams.push_back(datagram.to_vec());
        drop(held);
        self.tell();
        Ok(())
    }

    fn take(&self) -> io::Result<Vec<u8>> {
        let mut held = self.lock();
        match held.datagrams.pop_front() {
            Some(datagram) => {
                held.bytes -= datagram.len();
                drop(held);
                self.tell();
                Ok(datagram)
            }
            None if held.ended => Err(io::ErrorKind::UnexpectedEof.into()),
            None => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    fn end(&self) {
        self.lock().ended = true;
        self.tell();
    }

    /// Waits until this holds, or the queue has ended.
    async fn until(&self, holds: impl Fn(&Held) -> bool) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            {
                let held = self.lock();
                if held.ended || holds(&held) {
                    return;
                }
            }
            changed.await;
        }
    }

    fn block_until(&self, holds: impl Fn(&Held) -> bool) {
        let mut held = self.lock();
        while !held.ended && !holds(&held) {
            held = self.changed_here.wait(held).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

fn is_not_empty(held: &Held) -> bool {
    !held.datagrams.is_empty()
}

fn has_room(held: &Held) -> bool {
    held.bytes < QUEUE
}

/// One end of a tunnel.
#[derive(Debug, Default)]
pub struct Tunnel {
    received: Queue,
    sent: Queue,
}

impl Tunnel {
    /// One end, over an asynchronous pair; tasks of the current runtime carry what passes until either pipe ends.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn over(
        input: impl AsyncRead + Send + Unpin + 'static,
        output: impl AsyncWrite + Send + Unpin + 'static,
    ) -> Arc<Self> {
        let tunnel = Arc::new(Self::default());
        let (receiver, sender) = (tunnel.clone(), tunnel.clone());
        tokio::spawn(async move {
            let _ = receiver.receive(input).await;
            receiver.end();
        });
        tokio::spawn(async move {
            let _ = sender.send(output).await;
            sender.end();
        });
        tunnel
    }

    /// Ends it, in both directions.
    pub fn end(&self) {
        self.received.end();
        self.sent.end();
    }

    async fn receive(&self, mut input: impl AsyncRead + Unpin) -> io::Result<()> {
        let mut datagram = vec![0; LONGEST];
        loop {
            let length = usize::from(input.read_u16_le().await?);
            input.read_exact(slot(&mut datagram, length)?).await?;
            self.received.until(has_room).await;
            self.received.put(&datagram[..length])?;
        }
    }

    async fn send(&self, mut output: impl AsyncWrite + Unpin) -> io::Result<()> {
        let mut framed = Vec::new();
        loop {
            self.sent.until(is_not_empty).await;
            gather(&self.sent, &mut framed)?;
            output.write_all(&framed).await?;
            output.flush().await?;
        }
    }

    /// Carries what comes from a plain pipe, on the calling thread, until it ends.
    ///
    /// # Errors
    /// Those of the pipe, and `InvalidData` for what is no datagram; its end is `UnexpectedEof`.
    pub fn receive_from(&self, mut input: impl Read) -> io::Result<()> {
        let mut datagram = vec![0; LONGEST];
        loop {
            let mut length = [0; 2];
            input.read_exact(&mut length)?;
            let length = usize::from(u16::from_le_bytes(length));
            input.read_exact(slot(&mut datagram, length)?)?;
            self.received.block_until(has_room);
            self.received.put(&datagram[..length])?;
        }
    }

    /// Carries what is to be sent to a plain pipe, on the calling thread, until either ends.
    ///
    /// # Errors
    /// Those of the pipe; the tunnel's end is `UnexpectedEof`.
    pub fn send_to(&self, mut output: impl Write) -> io::Result<()> {
        let mut framed = Vec::new();
        loop {
            self.sent.block_until(is_not_empty);
            gather(&self.sent, &mut framed)?;
            output.write_all(&framed)?;
            output.flush()?;
        }
    }
}

/// The room for a datagram of such a length.
fn slot(buffer: &mut [u8], length: usize) -> io::Result<&mut [u8]> {
    let text = "a length that no datagram has: this is no tunnel";
    buffer.get_mut(..length).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, text))
}

/// Takes what waits, as it goes into the pipe.
fn gather(queue: &Queue, framed: &mut Vec<u8>) -> io::Result<()> {
    framed.clear();
    loop {
        match queue.take() {
            Ok(datagram) => {
                framed.extend((datagram.len() as u16).to_le_bytes());
                framed.extend(datagram);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(_) if !framed.is_empty() => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

impl DatagramSocket for Tunnel {
    fn try_send_to(&self, datagram: &[u8], _: SocketAddr) -> io::Result<()> {
        if datagram.len() > LONGEST {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        self.sent.put(datagram)
    }

    fn try_recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let datagram = self.received.take()?;
        let length = datagram.len().min(buffer.len());
        buffer[..length].copy_from_slice(&datagram[..length]);
        Ok((length, address()))
    }

    fn readable(self: Arc<Self>) -> BoxFuture<'static, io::Result<()>> {
        Box::pin(async move {
            self.received.until(is_not_empty).await;
            Ok(())
        })
    }

    fn writable(self: Arc<Self>) -> BoxFuture<'static, io::Result<()>> {
        Box::pin(async move {
            self.sent.until(has_room).await;
            Ok(())
        })
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(address())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Gives what it holds in pieces of such lengths.
    struct Chopped<'a>(&'a [u8], Vec<usize>);

    impl Read for Chopped<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let piece = self.1.pop().unwrap_or(1).clamp(1, buffer.len()).min(self.0.len());
            let (now, later) = self.0.split_at(piece);
            buffer[..piece].copy_from_slice(now);
            self.0 = later;
            Ok(piece)
        }
    }

    fn received(tunnel: &Tunnel) -> Vec<Vec<u8>> {
        std::iter::from_fn(|| tunnel.received.take().ok()).collect()
    }

    proptest! {
        #[test]
        fn datagrams_survive_whatever_pieces_a_pipe_makes(
            datagrams in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..64), 0..20),
            pieces in proptest::collection::vec(1_usize..40, 0..200),
        ) {
            let mut pipe = Vec::new();
            let sender = Tunnel::default();
            for datagram in &datagrams {
                sender.try_send_to(datagram, address()).unwrap();
            }
            sender.sent.end();
            let _ = sender.send_to(&mut pipe);
            let receiver = Tunnel::default();
            let error = receiver.receive_from(Chopped(&pipe, pieces)).unwrap_err();
            prop_assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
            prop_assert_eq!(received(&receiver), datagrams);
        }
    }

    #[test]
    fn a_length_that_no_datagram_has_ends_the_tunnel() {
        let error = Tunnel::default().receive_from(&[0xff, 0xff, 1, 2][..]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn a_full_queue_makes_the_sender_wait_and_an_ended_one_refuses() {
        let tunnel = Tunnel::default();
        let mut sent = 0;
        while tunnel.try_send_to(&[0; 1400], address()).is_ok() {
            sent += 1400;
        }
        assert!((QUEUE..QUEUE + LONGEST).contains(&sent));
        let full = tunnel.try_send_to(&[0], address()).unwrap_err();
        assert_eq!(full.kind(), io::ErrorKind::WouldBlock);
        tunnel.sent.take().unwrap();
        tunnel.try_send_to(&[0], address()).unwrap();
        tunnel.end();
        let ended = tunnel.try_send_to(&[0], address()).unwrap_err();
        assert_eq!(ended.kind(), io::ErrorKind::BrokenPipe);
    }
}
