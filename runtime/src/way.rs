//! Ways: where a message for an address goes from here, found once and kept until the routes change.

use std::sync::Arc;

use actogen_core::{
    Address, ContextId, Dead, DeadReason, Handle, Handled,
    id::PathEpoch,
    limits::{MAX_HEADER, MAX_HOPS},
    policy::Policy,
    route::judge::{self, Verdict},
    wire::{Destination, Header, TraceContext},
};

use crate::{
    context::Context,
    direct::Lead,
    link::LinkState,
    mailbox::{Bound, Mailbox, StopReason},
};

/// Where a message for an address goes from here.
#[derive(Clone, Debug)]
pub enum Way {
    /// Into a mailbox of this context.
    Here(LocalMailbox),
    /// Over a link.
    Away(AwayLink),
}

/// A mailbox of this context, found bound.
#[derive(Clone, Debug)]
pub struct LocalMailbox {
    pub(crate) bound: Arc<Bound>,
}

impl LocalMailbox {
    /// The mailbox.
    #[inline]
    pub fn mailbox(&self) -> &Arc<dyn Mailbox> {
        &self.bound.mailbox
    }

    /// Whether anybody may send there.
    pub fn is_open(&self) -> bool {
        matches!(self.bound.policy, Policy::Anyone)
    }

    /// Waits until there is room, or the mailbox has ended.
    pub async fn room(&self) {
        self.bound.mailbox.room().await;
    }

    /// Asks the receiver to end.
    pub fn end(&self, reason: StopReason) {
        self.bound.mailbox.end(reason);
    }
}

/// A link that leads towards an address.
#[derive(Clone, Debug)]
pub struct AwayLink {
    pub(crate) link: Arc<LinkState>,
    pub(crate) to: Address,
    /// The generation of the routes under which it was found.
    pub(crate) generation: u64,
    /// Of the path that it belongs to.
    pub(crate) epoch: PathEpoch,
    /// Nothing leaves by it before its path has changed.
    pub(crate) waits: bool,
}

/// A way as it was found, for the next message to the same address.
#[derive(Debug)]
pub struct KnownWay {
    generation: u64,
    pub(crate) way: Way,
    /// The kind of message that was sent last, and what its frames begin with: header and tag.
    pub(crate) head: Option<(u64, u8, Vec<u8>)>,
}

impl KnownWay {
    /// Where it leads.
    pub fn way(&self) -> &Way {
        &self.way
    }
}

impl AwayLink {
    /// The header of a message that goes this way.
    pub(crate) fn header(
        &self,
        codec: u8,
        reply: Option<Handle>,
        trace: Option<&TraceContext>,
    ) -> Header {
        let Self { link, to, epoch, .. } = self;
        let mut header = Header::to(to.handle);
        header.reply = reply;
        header.codec = codec;
        header.trace = trace.copied();
        header.epoch = *epoch;
        if link.peer != to.context {
            header.destination =
                Some(Destination { context: to.context, incarnation: to.incarnation.meant() });
        }
        header
    }

    /// What the frame of a one-way message begins with: header and tag.
    pub(crate) fn head(&self, tag: u64, codec: u8) -> Vec<u8> {
        let mut head = vec![0; MAX_HEADER];
        let len = self.header(codec, None, None).encode(&mut head);
        head.truncate(len);
        head.extend(tag.to_le_bytes());
        head
    }
}

impl Context {
    /// Finds the way to an address, or takes the known one while nothing has changed that could make it another.
    ///
    /// # Errors
    /// As [`Self::way`]; then nothing is known.
    pub fn way_known<'a>(
        &self,
        to: Address,
        known: &'a mut Option<Box<KnownWay>>,
    ) -> Result<&'a mut KnownWay, Dead> {
        // Read before the search, so that a change during it makes what is found an old way.
        let generation = self.routes().generation();
        if known.as_ref().is_none_or(|known| known.generation != generation) {
            *known = None;
            let way = self.way(to)?;
            *known = Some(Box::new(KnownWay { generation, way, head: None }));
        }
        match known {
            Some(known) => Ok(known),
            None => unreachable!("it was there, or was found"),
        }
    }

    /// Finds the way to an address.
    ///
    /// # Errors
    /// The dead reply that a request there would get from this context.
    pub fn way(&self, to: Address) -> Result<Way, Dead> {
        if !self.is_running() && to.context != self.id() {
            return Err(self.dead(DeadReason::Shutdown, format!("{} is shutting down", self.id())));
        }
        let generation = self.routes().generation();
        let away = |link: Arc<LinkState>, epoch, waits| {
            self.is_life_at(&link, to)?;
            Ok(Way::Away(AwayLink { link, to, generation, epoch, waits }))
        };
        let epoch = match self.lead(to.context, to.handle) {
            Lead::Tree(epoch) => epoch,
            Lead::Direct(link, epoch) => return away(link, epoch, false),
            Lead::Waits(link) => return away(link, PathEpoch::FIRST, true),
            Lead::Gone => return Err(self.link_went(to.context)),
        };
        match self.routes().judge(None, to.context, to.incarnation.meant(), MAX_HOPS) {
            Verdict::Dead(dead) => Err(dead),
            Verdict::Deliver => {
                self.local(to.handle).map(|bound| Way::Here(LocalMailbox { bound }))
            }
            Verdict::Forward(id) => {
                let link = self.routes().link_to(to.context, id);
                away(link.ok_or_else(|| self.link_went(to.context))?, epoch, false)
            }
        }
    }

    /// Whether the life that an address means is the one at the other end of a link, if that leads straight there.
    fn is_life_at(&self, link: &LinkState, to: Address) -> Result<(), Dead> {
        let meant = to.incarnation.meant().filter(|_| link.peer == to.context);
        let other = meant
            .and_then(|meant| judge::other_life(self.id(), to.context, meant, link.incarnation));
        other.map_or(Ok(()), Err)
    }

    fn link_went(&self, to: ContextId) -> Dead {
        self.dead(DeadReason::RouteLost, format!("the link to {to} went this moment"))
    }

    fn local(&self, handle: Handle) -> Result<Arc<Bound>, Dead> {
        self.mailboxes().get(handle).ok_or_else(|| {
            let me = self.id();
            match self.mailboxes().stopped(handle) {
                Some(reason) => self.dead(
                    DeadReason::Stopped,
                    format!("the actor {me}/{handle} is gone: {reason}"),
                ),
                None => self.dead(DeadReason::NoHandle, format!("{me} has no mailbox {handle}")),
            }
        })
    }

    pub(crate) fn dead(&self, reason: DeadReason, text: String) -> Dead {
        Dead::new(reason, Handled::No, self.id(), text)
    }
}
