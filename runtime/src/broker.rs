//! The I/O side: the tasks that accept links, read them, write them, and notice their end.

use std::sync::{Arc, atomic::Ordering};

use actogen_core::{
    Limits, StreamId,
    policy::Side,
    router::Input,
    wire::{
        FrameReader,
        control::{LinkMessage, LossKind, Report},
    },
};

use crate::{
    context::Context,
    enrol,
    inbound::{self, Inbound, Word},
    lane::Taken,
    link::LinkState,
    opening::{self, Opened},
    router::{Attach, Routing},
    transport::{Incoming, LinkEnd, PIPE, StreamReader, StreamWriter},
};

/// After this many envelopes a reader reports how many it has taken over (protocol rule 22).
const REPORT_EVERY: u64 = 256;

/// Short frames are read in pieces of up to this many bytes.
const GATHERED: usize = 64 * 1024;

/// A frame of over this many bytes is gathered from the pieces in which it comes: to put those together first is a copy more.
const LONG: usize = 8 * 1024;

/// Accepts links until the transport closes. One newcomer never holds up another: each opens in a task of its own.
pub(crate) async fn accept(context: Context) {
    let transport = context.0.transport.clone();
    while let Some(incoming) = transport.accept().await {
        match incoming {
            Incoming::Link(link) => {
                let Some(permit) = Handshake::begin(&context) else {
                    tracing::warn!(context = %context.id(), remote = link.remote, "too many links open at once: refused");
                    link.connection.close("too many links open at once");
                    continue;
                };
                let newcomer = context.clone();
                context.spawn(async move {
                    let (peer, remote, connection) = (link.peer, link.remote.clone(), link.connection.clone());
                    let within = newcomer.limits().handshake_time;
                    let opened = tokio::time::timeout(within, opening::accept(&newcomer, link)).await;
                    drop(permit);
                    match opened {
                        Ok(Ok(opened)) => drop(attach(&newcomer, opened).await),
                        Ok(Err(error)) => {
                            tracing::warn!(context = %newcomer.id(), %peer, remote, "a link did not open: {error}");
                            connection.close("the link did not open");
                        }
                        Err(_) => {
                            tracing::warn!(context = %newcomer.id(), %peer, remote, "a link did not open within {within:?}");
                            connection.close("the link did not open in time");
                        }
                    }
                });
            }
            // A door that was opened for direct links lets in nobody else.
            Incoming::Enrolment(enrolment)
                if context.endpoint().is_none() && enrolment.remote != PIPE =>
            {
                (enrolment.respond)(Err(format!("{} takes no newcomers", context.id())));
            }
            Incoming::Enrolment(enrolment) => {
                let parent = context.clone();
                context.spawn(async move { enrol::answer(&parent, enrolment).await });
            }
        }
    }
}

/// A place among the handshakes under way.
struct Handshake(Context);

impl Handshake {
    fn begin(context: &Context) -> Option<Self> {
        let under_way = context.0.handshakes.fetch_add(1, Ordering::AcqRel);
        let place = Self(context.clone());
        (under_way < context.limits().handshakes).then_some(place)
    }
}

impl Drop for Handshake {
    fn drop(&mut self) {
        self.0.0.handshakes.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Puts an opened link to work.
pub(crate) async fn attach(context: &Context, opened: Opened) -> Arc<LinkState> {
    let Opened { link, peer, incarnation, side, control } = opened;
    let limits = context.limits();
    let state = Arc::new(LinkState::new(
        context.next_link(),
        (peer, incarnation),
        side,
        link.remote,
        link.connection,
        limits,
        // 48 bits of chance are enough to differ, and travel in 7 bytes.
        context.0.mint.lock().draw_any().0 >> 16,
    ));
    context.0.links.lock().insert(state.id, state.clone());
    if let Some(router) = context.0.router.get() {
        // Only a router that has ended does not answer; the link is cut by then.
        let _ = router.send(Attach(state.clone())).await;
    }
    context.tell_revocations(&state);
    tracing::debug!(context = %context.id(), %peer, ?side, remote = state.remote, "a link stands");
    for (stream, writer) in StreamId::all().zip(link.writers) {
        context.spawn(write(state.clone(), stream, writer));
    }
    let reassembly = inbound::reassembly(limits, context.max_message());
    let readers: Vec<_> = StreamId::all()
        .zip(link.readers)
        .map(|(stream, reader)| {
            let frames = if stream == StreamId::CONTROL { None } else { Some(FrameReader::new()) };
            let inbound = Inbound::new(context.clone(), state.clone(), stream, reassembly.clone());
            (stream, reader, frames, inbound)
        })
        .collect();
    let mut control = Some(control);
    let mut tasks = tokio::task::JoinSet::new();
    for (stream, reader, frames, inbound) in readers {
        let frames = frames.or_else(|| control.take()).unwrap_or_default();
        let (owner, link) = (context.clone(), state.clone());
        let task = async move {
            read(owner, link.clone(), stream, reader, frames, inbound).await;
            link.stream_ended();
        };
        tasks.spawn_on(task, &context.0.broker);
    }
    let (owner, link) = (context.clone(), state.clone());
    let idle = limits.reassembly_idle;
    context.spawn(async move {
        let expire = async {
            loop {
                tokio::time::sleep(idle / 4).await;
                reassembly.lock().expire(owner.now());
            }
        };
        tokio::select! {
            () = end(&owner, &link, tasks) => {}
            () = expire => {}
        }
    });
    state
}

/// Waits for a link's end, reads out what it still brought, and tells the Router.
async fn end(context: &Context, link: &Arc<LinkState>, mut readers: tokio::task::JoinSet<()>) {
    let end = link.connection().closed().await;
    let (kind, text) = match end {
        LinkEnd::Silent => {
            let limit = context.limits().detection_time;
            (LossKind::Silent, format!("silent for {limit:?}"))
        }
        LinkEnd::Closed(text) => (LossKind::LinkClosed, text),
        LinkEnd::Local => (LossKind::LinkClosed, "this side closed the link".to_owned()),
    };
    // A goodbye that is still unread gives the better reason.
    while readers.join_next().await.is_some() {}
    link.settle_loss(kind, text);
    link.close_lanes(true);
    {
        let mut links = context.0.links.lock();
        links.remove(&link.id);
        context.count_sent(link.sent());
    }
    if let Some(router) = context.0.router.get() {
        let _ = router.send(Routing(Input::LinkDown { link: link.id, loss: link.loss() })).await;
    }
    tracing::debug!(context = %context.id(), peer = %link.peer, "a link is gone: {}", link.loss());
}

async fn write(link: Arc<LinkState>, stream: StreamId, mut writer: Box<dyn StreamWriter>) {
    let lane = link.lane(stream);
    while let Some(Taken { frames, fragment }) = lane.take().await {
        let mut written = writer.write(frames).await;
        if let Some(fragment) = fragment.filter(|_| written.is_ok()) {
            written = writer.write(fragment).await;
        }
        if written.is_err() {
            lane.close(true);
            break;
        }
    }
    writer.finish().await;
    link.stream_ended();
}

async fn read(
    context: Context,
    link: Arc<LinkState>,
    stream: StreamId,
    mut reader: Box<dyn StreamReader>,
    mut frames: FrameReader,
    mut inbound: Inbound,
) {
    let mut reported = 0;
    loop {
        let mut taken = 0;
        loop {
            taken += inbound.take_run(&mut frames);
            let message = match frames.next_placed() {
                Ok(Some(frame)) => {
                    if !LinkMessage::is_for(frame.header.handle) {
                        taken += 1;
                    }
                    inbound.take(&frame)
                }
                Ok(None) => break,
                Err(error) => Err(error),
            };
            match message {
                Ok(None) => {}
                Ok(Some(Word::Link(message))) => {
                    own_message(&context, &link, stream, message).await;
                }
                Ok(Some(Word::Lost(peer, lost))) => {
                    apply(&context, Input::Lost { link: link.id, peer, lost }).await;
                }
                Err(error) => {
                    inbound.flush();
                    let text = inbound::violation(&context, &link, &error);
                    return link.cut(LossKind::Violation, &text);
                }
            }
        }
        inbound.flush();
        let total = link.count_taken(stream, taken);
        if total - reported >= REPORT_EVERY {
            reported = total;
            link.send_own(
                Some(StreamId::CONTROL),
                &LinkMessage::Report(Report { taken: link.taken() }),
            );
        }
        let gather = if frames.under_way() > LONG { 0 } else { GATHERED };
        match reader.read(gather).await {
            Ok(Some(chunk)) => frames.feed(chunk),
            Ok(None) | Err(_) => return,
        }
    }
}

/// Hands a link's own message to the Router and waits until it is applied, so that nothing on the stream precedes it.
async fn own_message(
    context: &Context,
    link: &Arc<LinkState>,
    stream: StreamId,
    message: LinkMessage,
) {
    if let LinkMessage::Goodbye(goodbye) = &message {
        link.settle_loss(goodbye.kind, goodbye.text.clone());
        if link.side == Side::Direct && goodbye.kind == LossKind::Detached {
            if link.is_closing() {
                // Before the end of the link is noticed, which may come right behind this.
                context.direct_is_left(link).await;
                return take_leave(context, link);
            }
            let (context, link) = (context.clone(), link.clone());
            context.clone().spawn(async move {
                context.direct_is_left(&link).await;
                take_leave(&context, &link);
            });
            return;
        }
        context.set_free(link, goodbye.kind);
        // The peer writes no more, and waits until this side has nothing more to say either. What it wrote before may still be on its
        // way on the other streams.
        link.say_goodbye(LossKind::LinkClosed, "the peer has said goodbye");
        return take_leave(context, link);
    }
    apply(context, Input::Message { link: link.id, stream, message }).await;
}

/// Closes a link by which both sides have said goodbye, when all that they wrote before has come.
fn take_leave(context: &Context, link: &Arc<LinkState>) {
    let farewell = link.clone();
    let limit = context.limits().shutdown_time;
    context.spawn(async move {
        let _ = tokio::time::timeout(limit, farewell.streams_ended()).await;
        farewell.connection().close("goodbye");
    });
}

/// Tells the Router, and waits until it has done what follows.
async fn apply(context: &Context, input: Input) {
    if let Some(router) = context.0.router.get() {
        let _ = router.send(Routing(input)).await;
    }
}

impl Context {
    pub(crate) fn link_count(&self) -> usize {
        self.0.links.lock().len()
    }

    /// The links that stand.
    pub(crate) fn links(&self) -> Vec<Arc<LinkState>> {
        self.0.links.lock().values().cloned().collect()
    }

    /// The links to children.
    pub(crate) fn child_links(&self) -> Vec<Arc<LinkState>> {
        self.links().into_iter().filter(|link| link.side == Side::Child).collect()
    }

    /// The bounds for what a parent grants: the smaller of both limits.
    pub(crate) fn inherit(limits: &Limits, granted: u64) -> usize {
        usize::try_from(granted).unwrap_or(usize::MAX).min(limits.max_message)
    }
}
