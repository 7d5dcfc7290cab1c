//! What the router and its host say to each other.

use crate::{
    id::{ContextId, Incarnation, LinkId, StreamId},
    offence::Offence,
    pending::Epoch,
    policy::Side,
    route::{path::Way, propagate::Wake},
    wire::{
        control::{LinkMessage, Loss, LossKind},
        direct::Lost,
    },
};

/// What happens to a router.
#[derive(Clone, Debug)]
pub enum Input {
    /// A link stands: both openings have been exchanged.
    LinkUp {
        /// The host's number for it; never used again.
        link: LinkId,
        /// Who is at the other end, proved by the transport.
        peer: ContextId,
        /// How the peer stands to this context.
        side: Side,
    },
    /// A link is gone, and everything that came by it has been read.
    LinkDown {
        /// Which.
        link: LinkId,
        /// Why.
        loss: Loss,
    },
    /// Both ends of a direct link have left it: each has gone over to the tree, and has read all that the other sent by the link. It
    /// may be closed, and nobody waits for anything that was on it.
    GivenUp {
        /// The link.
        link: LinkId,
    },
    /// This context has a newer certificate: those above it shall have that (protocol rule 3).
    Renewed,
    /// The certificates of these contexts are good no more: the authority has said so, as the host has checked (protocol rule 26).
    Revoked {
        /// Which.
        contexts: Vec<ContextId>,
    },
    /// A link's own message has been read on one of its streams.
    Message {
        /// The link.
        link: LinkId,
        /// The stream on which this copy came.
        stream: StreamId,
        /// What it says.
        message: LinkMessage,
    },
    /// A link's peer, or a context behind it, has addressed a context for the first time since that had a route.
    Addressed {
        /// The link.
        link: LinkId,
        /// Who was addressed.
        context: ContextId,
        /// The link by which the message goes on. If the context is found elsewhere by the time of this input, the addresser is
        /// told at once that the way it took is no more.
        via: LinkId,
    },
    /// A context says, by one of the two ways to it, that the other is lost. The host has judged that the context itself says so, on
    /// its own authority ([`crate::route::judge::origin`]).
    Lost {
        /// The link that has brought it.
        link: LinkId,
        /// The context.
        peer: ContextId,
        /// The word.
        lost: Lost,
    },
}

/// What the host shall do, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The context is reached by this link from now on.
    Install {
        /// The context.
        context: ContextId,
        /// Its life.
        incarnation: Incarnation,
        /// The link.
        link: LinkId,
    },
    /// The context has no route any more; what is remembered of who addressed it is forgotten, and, unless there is a direct link
    /// to it, its watches here.
    Remove {
        /// The context.
        context: ContextId,
    },
    /// A context is about to lose its route by this link's word. Streams of the link still speak for it, each until its copy of
    /// the word has [`Effect::Passed`] ([`crate::route::linger::Lingering`]).
    Linger {
        /// The link.
        link: LinkId,
        /// The context.
        context: ContextId,
    },
    /// One stream of a link speaks no more for contexts that linger there.
    Passed {
        /// The link.
        link: LinkId,
        /// The stream.
        stream: StreamId,
        /// The contexts.
        contexts: Vec<ContextId>,
    },
    /// A direct link stands: paths to its peer go over to it ([`crate::route::path::Paths::change`]).
    Change {
        /// The peer.
        context: ContextId,
        /// The way by the link.
        to: Way,
    },
    /// Say by this way, on each stream and before anything else to the context goes by it, that the other one is lost. The word is
    /// of fixed size and finds room where notices do.
    TellLost {
        /// The context.
        context: ContextId,
        /// The way that is left.
        by: Way,
        /// The word.
        lost: Lost,
    },
    /// A way to a context that has a direct link, or had one, is broken ([`crate::route::path::Paths::broken`]).
    Broken {
        /// The context.
        context: ContextId,
        /// The way that is broken.
        way: Way,
        /// The best of what is left.
        other: Option<Way>,
    },
    /// What has no route goes to this link from now on.
    Parent(Option<LinkId>),
    /// These stand above this context now, its parent first: whose authority it obeys.
    Above(Vec<ContextId>),
    /// Waiters that begin from now on belong to this epoch.
    Epoch(Epoch),
    /// Write a message on some streams of a link, behind what they hold.
    Send {
        /// The link.
        link: LinkId,
        /// One stream, or all five.
        stream: Option<StreamId>,
        /// The message.
        message: LinkMessage,
    },
    /// End waits. Those on other lanes end with the copies that are still to come.
    Wake {
        /// The lane, or all of them.
        stream: Option<StreamId>,
        /// Whose, since when, and what they are told.
        wake: Wake,
    },
    /// Ask each watch on a context again, under the same handle: the notice may have been lost with a way to it, and another way is
    /// left. Whoever is watched takes the second request for the same.
    AskAgain {
        /// The context.
        context: ContextId,
    },
    /// Tell whoever listens that a context can be reached.
    Up {
        /// The context.
        context: ContextId,
        /// Its life.
        incarnation: Incarnation,
    },
    /// Tell whoever listens that a context can no longer be reached.
    Down {
        /// The context.
        context: ContextId,
        /// Why.
        loss: Loss,
    },
    /// Close a link; its [`Input::LinkDown`] follows when that has happened.
    Close {
        /// The link.
        link: LinkId,
        /// Why, for the peer and for the loss.
        kind: LossKind,
        /// The text that goes with it.
        text: String,
    },
    /// Count and log a peer's offence.
    Offence(Offence),
}

/// Where effects are collected.
pub type Effects = Vec<Effect>;
