//! A peer that speaks the wire by itself: it proves who it is, opens a link as a child would, and then says what it likes.

use std::{fmt, sync::Arc};

use actogen::{
    Context, ContextId, Handle, Incarnation,
    transport::{Connection, Link, LinkEnd, StreamReader, StreamWriter, Transport},
};
use actogen_core::{
    Attachment, Dead, StreamId,
    wire::{
        self, Destination, Frame, FrameReader, Header, Kind,
        control::{
            self, AddRoute, Announcement, Answer, DelRoute, Hello, LinkMessage, Loss, LossKind,
            Outside, Role, Withdrawn,
        },
    },
};
use bytes::Bytes;
use tokio::sync::mpsc;

use crate::{
    mesh::{Fabric, Mesh},
    until::soon,
};

/// A peer that looks like a context and is none.
pub struct Rogue {
    /// Who it is, as its certificate says.
    pub id: ContextId,
    /// The life that it was given.
    pub incarnation: Incarnation,
    /// The life of the context that it has linked to.
    pub parent_incarnation: Incarnation,
    parent: ContextId,
    transport: Arc<dyn Transport>,
    writers: [Box<dyn StreamWriter>; StreamId::COUNT],
    connection: Arc<dyn Connection>,
    frames: mpsc::UnboundedReceiver<(StreamId, Frame)>,
    /// Everything that the link has brought so far, in order per stream.
    pub heard: Vec<(StreamId, Frame)>,
    stamp: u64,
    pings: u64,
}

impl fmt::Debug for Rogue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rogue").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Rogue {
    /// Links to a context as a child, asks for a life, and announces nothing.
    ///
    /// # Errors
    /// When the link cannot be made, or is refused.
    pub async fn link<F: Fabric>(mesh: &Mesh<F>, to: &Context, id: u64) -> actogen::Result<Self> {
        let transport = mesh.transport(id).await?;
        Self::link_by(transport, to, None).await
    }

    /// As [`Self::link`], by a transport that is open already, in a life that the rogue claims to have.
    ///
    /// # Errors
    /// When the link cannot be made, or is refused.
    pub async fn link_by(
        transport: Arc<dyn Transport>,
        to: &Context,
        incarnation: Option<Incarnation>,
    ) -> actogen::Result<Self> {
        let id = transport.identity().context();
        let hello = Hello {
            version: control::VERSION,
            capabilities: 0,
            role: Role::Child,
            context: id,
            incarnation,
            yours: None,
            max_message: 1 << 30,
            ancestors: Vec::new(),
        };
        let mut opening = Vec::new();
        control::put_opening(&hello, &mut opening);
        let (answer, mut rogue) = Self::open(transport, to, opening).await?;
        match answer {
            Answer::Welcome(welcome) => {
                rogue.incarnation = welcome.yours;
                rogue.parent_incarnation = welcome.incarnation;
                Ok(rogue)
            }
            Answer::Refusal(refusal) => Err(refusal.text.into()),
        }
    }

    /// Links with whatever bytes as an opening.
    ///
    /// # Errors
    /// When the link cannot be made, or ends before it is answered.
    pub async fn open(
        transport: Arc<dyn Transport>,
        to: &Context,
        opening: Vec<u8>,
    ) -> actogen::Result<(Answer, Self)> {
        let endpoint = to.endpoint().ok_or("the context cannot be dialled")?;
        let link = soon("a link", transport.dial(endpoint, Some(to.id()))).await?;
        let Link { peer, mut writers, readers, connection, .. } = link;
        let (sender, frames) = mpsc::unbounded_channel();
        for (stream, reader) in StreamId::all().zip(readers) {
            tokio::spawn(read(stream, reader, sender.clone()));
        }
        drop(sender);
        writers[StreamId::CONTROL.index()].write(opening.into()).await?;
        let mut rogue = Self {
            id: transport.identity().context(),
            incarnation: Incarnation::ANY,
            parent_incarnation: Incarnation::ANY,
            parent: peer,
            transport,
            writers,
            connection,
            frames,
            heard: Vec::new(),
            stamp: 0,
            pings: 0,
        };
        let (_, first) = rogue.next().await.ok_or("the link ended before it opened")?;
        let answer = control::take_opening(&first.header, &first.payload)?;
        Ok((answer, rogue))
    }

    /// As [`Self::link`], and is routed to: it has announced itself and the parent knows it.
    ///
    /// # Errors
    /// When the link cannot be made, or is refused.
    pub async fn child_of<F: Fabric>(
        mesh: &Mesh<F>,
        parent: &Context,
        id: u64,
    ) -> actogen::Result<Self> {
        let mut rogue = Self::link(mesh, parent, id).await?;
        rogue.announce(Attachment(1)).await?;
        Ok(rogue)
    }

    /// Announces itself, as every child does first, and waits until that has been read.
    ///
    /// # Errors
    /// When the link has ended.
    pub async fn announce(&mut self, attachment: Attachment) -> actogen::Result<()> {
        let announcement = self.announcement(self.id, attachment, self.parent);
        self.add_route(announcement).await?;
        self.heard_out().await
    }

    /// An announcement, signed with the rogue's own key whoever it is about.
    pub fn announcement(
        &self,
        about: ContextId,
        attachment: Attachment,
        parent: ContextId,
    ) -> Announcement {
        let identity = self.transport.identity();
        let mut announcement = Announcement {
            context: about,
            incarnation: self.incarnation,
            attachment,
            parent,
            certificate: identity.certificate(),
            signature: Vec::new(),
        };
        announcement.signature = identity.sign(&announcement.claim());
        announcement
    }

    /// Announces a route on all streams.
    ///
    /// # Errors
    /// When the link has ended.
    pub async fn add_route(&mut self, announcement: Announcement) -> actogen::Result<()> {
        let stamp = self.next_stamp();
        self.own(&LinkMessage::AddRoute(AddRoute { stamp, announcement })).await
    }

    /// Withdraws routes on all streams.
    ///
    /// # Errors
    /// When the link has ended.
    pub async fn del_route(&mut self, routes: Vec<Withdrawn>) -> actogen::Result<()> {
        let stamp = self.next_stamp();
        let loss = Loss::new(LossKind::LinkClosed, self.id, "a rogue says so");
        let outside = Outside::None;
        self.own(&LinkMessage::DelRoute(DelRoute { stamp, routes, outside, loss })).await
    }

    /// The stamp of the next route message.
    pub fn next_stamp(&mut self) -> u64 {
        self.stamp += 1;
        self.stamp
    }

    /// Writes a message of the link's own on all streams.
    ///
    /// # Errors
    /// When the link has ended.
    pub async fn own(&mut self, message: &LinkMessage) -> actogen::Result<()> {
        for stream in StreamId::all() {
            self.own_on(stream, message).await?;
        }
        Ok(())
    }

    /// Writes a message of the link's own on one stream.
    ///
    /// # Errors
    /// When the link has ended.
    pub async fn own_on(&mut self, stream: StreamId, message: &LinkMessage) -> actogen::Result<()> {
        let mut bytes = Vec::new();
        message.put(&mut bytes);
        self.write(stream, bytes).await
    }

    /// Writes a frame on the stream of its handle.
    ///
    /// # Errors
    /// When the link has ended.
    pub async fn frame(&mut self, header: &Header, payload: &[u8]) -> actogen::Result<()> {
        let mut bytes = Vec::new();
        wire::put_frame(header, &[payload], &mut bytes);
        self.write(header.handle.stream(), bytes).await
    }

    /// Writes a message: a tag and a body.
    ///
    /// # Errors
    /// When the link has ended.
    pub async fn message(&mut self, header: &Header, tag: u64, body: &[u8]) -> actogen::Result<()> {
        self.frame(header, &[&tag.to_le_bytes(), body].concat()).await
    }

    /// Writes a dead reply to a handle of another context, in the name of `source`.
    ///
    /// # Errors
    /// When the link has ended.
    pub async fn dead_reply(
        &mut self,
        to: ContextId,
        handle: Handle,
        source: Option<ContextId>,
        dead: &Dead,
    ) -> actogen::Result<()> {
        let mut header = self.header_to(to, handle).kind(Kind::Dead);
        header.source = source;
        header.by_router = source.is_some();
        let mut payload = Vec::new();
        dead.encode(&mut payload);
        self.frame(&header, &payload).await
    }

    /// The header of a message to a mailbox of any context.
    pub fn header_to(&self, to: ContextId, handle: Handle) -> Header {
        let mut header = Header::to(handle);
        if to != self.parent {
            header.destination = Some(Destination { context: to, incarnation: None });
        }
        header
    }

    /// Writes bytes on a stream.
    ///
    /// # Errors
    /// When the link has ended.
    pub async fn write(&mut self, stream: StreamId, bytes: Vec<u8>) -> actogen::Result<()> {
        Ok(soon("a write", self.writers[stream.index()].write(bytes.into())).await?)
    }

    /// The next frame on whatever stream; `None` when the link has ended.
    pub async fn next(&mut self) -> Option<(StreamId, Frame)> {
        let next = soon("a frame", self.frames.recv()).await?;
        self.heard.push(next.clone());
        Some(next)
    }

    /// The next answer to a handle.
    ///
    /// # Errors
    /// When the link has ended.
    pub async fn answer_to(&mut self, handle: Handle) -> actogen::Result<Frame> {
        loop {
            let (_, frame) = self.next().await.ok_or("the link ended before the answer")?;
            if frame.header.handle == handle && frame.header.kind != Kind::Message {
                return Ok(frame);
            }
        }
    }

    /// The next answer to a handle, which must be a dead reply.
    ///
    /// # Errors
    /// When the link has ended, or the answer is another.
    pub async fn dead_answer_to(&mut self, handle: Handle) -> actogen::Result<Dead> {
        let frame = self.answer_to(handle).await?;
        if frame.header.kind != Kind::Dead {
            return Err(format!("answered by {:?}", frame.header).into());
        }
        Ok(Dead::decode(&frame.payload)?)
    }

    /// Waits until the parent has read everything that was written so far, and everything that it had written before it answered
    /// has been heard: a round trip on each lane.
    ///
    /// # Errors
    /// When the link has ended.
    pub async fn heard_out(&mut self) -> actogen::Result<()> {
        self.pings += 1;
        let nonce = 0x5049_4e47_0000_0000 + (self.pings << 2);
        for lane in 0..StreamId::LANES as u64 {
            // The handle 118 lies on one lane; any other of the rogue's own making does for the rest, since a dead reply comes
            // back just as well.
            let asked = Handle(0xdead_beef_0000_0000 | lane);
            let header = Header::to(asked).reply_to(Handle(nonce | lane));
            self.message(&header, 0, &[]).await?;
        }
        for lane in 0..StreamId::LANES as u64 {
            let handle = Handle(nonce | lane);
            if !self.heard.iter().any(|(_, frame)| frame.header.handle == handle) {
                self.answer_to(handle).await?;
            }
        }
        // The control stream: a watch of a mailbox that never was is answered at once.
        let handle = Handle(nonce | (1 << 40));
        let watch = Header::to(Handle::WATCH).reply_to(handle);
        self.message(&watch, 0, &asked_for_nothing()).await?;
        self.answer_to(handle).await?;
        Ok(())
    }

    /// The route withdrawals heard so far, by stream.
    pub fn withdrawals(&self) -> Vec<(StreamId, DelRoute)> {
        let own = self.heard.iter().filter(|(_, frame)| {
            frame.header.kind == Kind::Message && frame.header.handle == Handle::DEL_ROUTE
        });
        own.filter_map(|(stream, frame)| match LinkMessage::decode(&frame.header, &frame.payload) {
            Ok(LinkMessage::DelRoute(del)) => Some((*stream, del)),
            _ => None,
        })
        .collect()
    }

    /// How the link ended.
    pub async fn closed(&self) -> LinkEnd {
        soon("the link's end", self.connection.closed()).await
    }

    /// Breaks the link off without a word.
    pub async fn cut(self) -> Arc<dyn Transport> {
        self.connection.close("the rogue has had enough");
        let _ = self.connection.closed().await;
        self.transport
    }

    /// The transport, for another link beside this one.
    pub fn transport(&self) -> Arc<dyn Transport> {
        self.transport.clone()
    }
}

fn asked_for_nothing() -> [u8; 8] {
    0xdead_beef_dead_beef_u64.to_le_bytes()
}

async fn read(
    stream: StreamId,
    mut reader: Box<dyn StreamReader>,
    frames: mpsc::UnboundedSender<(StreamId, Frame)>,
) {
    let mut cut = FrameReader::new();
    while let Ok(Some(chunk)) = reader.read(0).await {
        cut.feed(Bytes::clone(&chunk));
        while let Ok(Some(frame)) = cut.next() {
            if frames.send((stream, frame)).is_err() {
                return;
            }
        }
    }
}
