//! The asker's side of a direct link: a ticket through the tree, a dial past it, the link; and giving that up.

use std::{sync::Arc, sync::atomic::Ordering, time::Duration};

use actogen_core::{
    ContextId, Dead, DeadReason, Handle, StreamId,
    policy::Side,
    route::path::{FLUSH_TIME, Way},
    router::Input,
    wire::{
        control::{LossKind, Role},
        direct::{Ask, Body, Grant},
    },
};

use crate::{
    broker,
    builtin::Place,
    context::Context,
    link::LinkState,
    opening::{self, OpenError},
    transport::DialError,
};

/// How long a dial that was refused for the peer's own waits for that one: the peer's may take the time of a handshake.
const OTHERS_DIAL: Duration = Duration::from_secs(5);

/// Why a direct link did not come to stand.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// A context has no link to itself.
    #[error("{0} is this context itself, and needs no link to itself")]
    Itself(ContextId),
    /// The context, or a router on the way to it, gives no ticket, or it cannot be asked.
    #[error("{peer} could not be asked for a direct link: {dead}. Messages go on by the tree")]
    NoTicket {
        /// Who was asked.
        peer: ContextId,
        /// The answer.
        dead: Dead,
    },
    /// The context cannot be dialled.
    #[error(
        "{peer} has no address to be dialled at: no UDP reaches it (its own link goes through a pipe, say). Have it listen on an address, or let it connect to this context instead; messages go on by the tree"
    )]
    NoAddress {
        /// Which.
        peer: ContextId,
    },
    /// None of its addresses answered.
    #[error(
        "{peer} was reached at none of its {} addresses; the last: {error}. Messages go on by the tree", .places.len()
    )]
    Unreachable {
        /// Which.
        peer: ContextId,
        /// Where it was dialled.
        places: Vec<String>,
        /// What came of the last of them.
        error: DialError,
    },
    /// It was reached, and did not let this context in.
    #[error("{peer} did not take the direct link: {why}. Messages go on by the tree")]
    Refused {
        /// Which.
        peer: ContextId,
        /// Its text.
        why: String,
    },
    /// As many links are being opened as may be.
    #[error("{me} holds or opens as many links as it may: close some, or raise the limit `links`")]
    Quota {
        /// This context.
        me: ContextId,
    },
    /// It took too long.
    #[error(
        "the direct link to {peer} did not stand within {within:?}. Messages go on by the tree; try again later"
    )]
    Timeout {
        /// To whom.
        peer: ContextId,
        /// The limit.
        within: Duration,
    },
}

/// Why a direct link could not be given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DisconnectError {
    /// There is none.
    #[error("there is no direct link to {0}")]
    NoLink(ContextId),
    /// The other way was not there in time: the link has been cut, and what was under way by it is in doubt.
    #[error(
        "the way by the tree to {0} did not answer in time, so the direct link was cut: what was under way by it is in doubt"
    )]
    Cut(ContextId),
}

/// A dial under way. Whichever way it ends, the peer's own that waits for it is answered.
struct Dialling<'a> {
    context: &'a Context,
    peer: ContextId,
    is_over: bool,
}

impl<'a> Dialling<'a> {
    fn begin(context: &'a Context, peer: ContextId) -> Option<Self> {
        let begun = context.0.direct.admission.lock().dials.begin(context.now(), peer);
        begun.then_some(Self { context, peer, is_over: false })
    }

    /// It has opened; false if it had been given up for the peer's.
    fn opened(mut self) -> bool {
        self.is_over = true;
        let (stands, held) = {
            let mut admission = self.context.0.direct.admission.lock();
            admission.dials.opened(self.context.now(), self.peer)
        };
        self.context.tell_held(held, false);
        stands
    }
}

impl Drop for Dialling<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            let held = self.context.0.direct.admission.lock().dials.failed(self.peer);
            self.context.tell_held(held, true);
        }
        self.context.0.direct.changed.notify_waiters();
    }
}

impl Context {
    /// Opens a link straight to another context, beside the tree, and returns when it stands and this context's messages take it. It
    /// is preferred to the tree from then on, by both ends; what was sent before arrives first. When it breaks, messages go by the
    /// tree again. To a neighbour in the tree, and where there is a direct link already, there is nothing to do.
    ///
    /// The other context is asked for a one-time ticket through the tree, so each context on the way has its say
    /// ([`crate::Builder::direct_links`]), as has one in one-way mode. Takes at most the limit for requests.
    ///
    /// # Errors
    /// [`ConnectError`]; messages go on by the tree then.
    pub async fn connect(&self, to: impl Into<Place>) -> Result<(), ConnectError> {
        let to = to.into();
        let (peer, within) = (to.context, self.limits().request_time);
        if peer == self.id() {
            return Err(ConnectError::Itself(peer));
        }
        let connected = tokio::time::timeout(within, self.connect_in_time(to)).await;
        connected.unwrap_or(Err(ConnectError::Timeout { peer, within }))
    }

    async fn connect_in_time(&self, to: Place) -> Result<(), ConnectError> {
        let peer = to.context;
        if self.routes().link_towards(peer).is_some_and(|link| link.peer == peer) {
            return Ok(());
        }
        if !self.is_linked(peer) {
            self.old_link_gone(peer).await;
            if self.link_count() >= self.limits().links {
                return Err(ConnectError::Quota { me: self.id() });
            }
            let ask = Ask { incarnation: self.incarnation() }.to_bytes();
            let granted = self.ask(to.address(Handle::TICKET), &ask).await;
            let grant = granted.map_err(|dead| ConnectError::NoTicket { peer, dead })?;
            let grant = Grant::from_bytes(&grant).map_err(|error| {
                let text = format!("{peer} gave a ticket that does not decode: {error}");
                ConnectError::NoTicket { peer, dead: self.dead(DeadReason::Malformed, text) }
            })?;
            if grant.places.is_empty() {
                return Err(ConnectError::NoAddress { peer });
            }
            self.dial_direct(peer, grant).await?;
        }
        // The way is there; it is taken lane by lane, as the old one is flushed.
        for lane in StreamId::lanes() {
            self.path_settled(peer, Handle::flush(lane)).await;
        }
        Ok(())
    }

    async fn dial_direct(&self, peer: ContextId, grant: Grant) -> Result<(), ConnectError> {
        // The peer has been as fast.
        if self.is_linked(peer) {
            return Ok(());
        }
        let Some(dialling) = Dialling::begin(self, peer) else {
            // Somebody else of this context is at it.
            return self.others_dial(peer).await;
        };
        let Grant { ticket, places } = grant;
        let within = self.limits().handshake_time;
        let role = Role::Direct(ticket);
        let mut hello =
            opening::hello(self.id(), Some(self.incarnation()), role, self.max_message());
        hello.capabilities = self.capabilities();
        let mut error = DialError::Closed;
        for place in &places {
            let once = async {
                let link = self.0.transport.dial(place.clone(), Some(peer)).await?;
                Ok::<_, DialError>(opening::dial(link, &hello).await)
            };
            match tokio::time::timeout(within, once).await {
                Ok(Ok(Ok((opened, _)))) => {
                    let connection = opened.link.connection.clone();
                    if dialling.opened() {
                        broker::attach(self, opened).await;
                        return Ok(());
                    }
                    connection.close("the peer's dial stands");
                    return self.others_dial(peer).await;
                }
                Ok(Ok(Err(OpenError::Simultaneous))) => {
                    drop(dialling);
                    return self.others_dial(peer).await;
                }
                // It has been there: the ticket is used, or no good.
                Ok(Ok(Err(refused))) => {
                    // The peer's own dial may have made this one needless.
                    drop(dialling);
                    if self.is_linked(peer) {
                        return Ok(());
                    }
                    if self.0.direct.admission.lock().dials.is_coming(self.now(), peer) {
                        return self.others_dial(peer).await;
                    }
                    return Err(ConnectError::Refused { peer, why: refused.to_string() });
                }
                Ok(Err(failed)) => error = failed,
                Err(_) => {
                    let why = format!("no answer within {within:?}");
                    error = DialError::Unreachable { endpoint: place.clone(), why };
                }
            }
        }
        Err(ConnectError::Unreachable { peer, places, error })
    }

    /// Another dial is to bring the link.
    async fn others_dial(&self, peer: ContextId) -> Result<(), ConnectError> {
        let linked = async {
            loop {
                let changed = self.0.direct.changed.notified();
                tokio::pin!(changed);
                changed.as_mut().enable();
                if self.is_linked(peer) {
                    return;
                }
                changed.await;
            }
        };
        let limit = tokio::time::timeout(OTHERS_DIAL, linked).await;
        limit.map_err(|_| ConnectError::Timeout { peer, within: OTHERS_DIAL })
    }

    /// Waits until a direct link that is being given up is gone: another one would replace it, and cut off what is still on it.
    pub(super) async fn old_link_gone(&self, peer: ContextId) {
        loop {
            let changed = self.0.direct.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let is_old = |link: &Arc<LinkState>| {
                link.side == Side::Direct
                    && link.peer == peer
                    && link.leaves.load(Ordering::Acquire)
            };
            if !self.0.links.lock().values().any(is_old) {
                return;
            }
            changed.await;
        }
    }

    /// A direct link is gone, and the Router has done what follows.
    pub(crate) fn direct_gone(&self) {
        self.0.direct.changed.notify_waiters();
    }

    /// Whether there is a direct link to a context, which its messages take, or are about to.
    pub fn is_linked(&self, peer: ContextId) -> bool {
        self.0.direct.is_in_use() && self.0.direct.state.lock().peers.contains_key(&peer)
    }

    /// The contexts to which there are direct links, in order.
    pub fn direct_links(&self) -> Vec<ContextId> {
        self.0.direct.state.lock().peers.keys().copied().collect()
    }

    /// Gives the direct link to a context up. What was sent by it arrives first and what is asked by it is answered, by the tree;
    /// nothing is lost, and nothing overtakes. Returns when this context's messages go by the tree.
    ///
    /// # Errors
    /// [`DisconnectError`].
    pub async fn disconnect(&self, peer: ContextId) -> Result<(), DisconnectError> {
        let link = self.0.direct.state.lock().peers.get(&peer).cloned();
        let link = link.ok_or(DisconnectError::NoLink(peer))?;
        if self.leave_direct(&link).await { Ok(()) } else { Err(DisconnectError::Cut(peer)) }
    }

    /// Takes this context's paths off a direct link, and says goodbye on it behind them. False if that took too long: it is cut then.
    async fn leave_direct(&self, link: &Arc<LinkState>) -> bool {
        let peer = link.peer;
        if !link.leaves.swap(true, Ordering::AcqRel) {
            let mut state = self.0.direct.state.lock();
            let is_present = state.peers.get(&peer).is_some_and(|present| present.id == link.id);
            if is_present {
                state.peers.remove(&peer);
            }
            drop(state);
            // Where a newer link has taken its place, that one has its paths.
            if is_present {
                self.change_path(peer, Way::Tree);
            }
        }
        let left = async {
            for lane in StreamId::lanes() {
                self.path_settled(peer, Handle::flush(lane)).await;
            }
        };
        // A change that takes longer goes back to where it was.
        let is_late = tokio::time::timeout(FLUSH_TIME, left).await.is_err();
        let has_left = !is_late && self.has_left(link);
        if has_left {
            link.say_goodbye(LossKind::Detached, "the direct link is given up");
        } else {
            link.cut(
                LossKind::LinkClosed,
                "the direct link was given up, and the way by the tree did not answer",
            );
        }
        has_left
    }

    fn has_left(&self, link: &LinkState) -> bool {
        StreamId::lanes().all(|lane| match self.lead(link.peer, Handle::flush(lane)) {
            super::Lead::Direct(by, _) | super::Lead::Waits(by) => by.id != link.id,
            super::Lead::Tree(_) | super::Lead::Gone => true,
        })
    }

    /// The peer has left a direct link, having said all that it had to say by it. This side leaves as well; then the link is at its end, and nobody is woken for it.
    pub(crate) async fn direct_is_left(&self, link: &Arc<LinkState>) {
        if link.side == Side::Direct && self.leave_direct(link).await {
            self.tell_router(Input::GivenUp { link: link.id });
        }
    }
}
