//! The side that is asked for a direct link: tickets, and who is let in with one.

use std::time::Duration;

use actogen_core::{
    ContextId, DeadReason, Handled, Incarnation, LinkId,
    dead::MAX_TEXT,
    route::{
        dial::{Come, HOLD},
        ticket::NotAdmitted,
    },
    wire::{
        control::{Refusal, RefusalReason},
        direct::{Ask, Body, Grant, MAX_PLACES, Ticket},
    },
};
use tokio::sync::oneshot;

use crate::{context::Context, envelope::Envelope, transport::Connection};

/// Somebody asks for a ticket. Opening a door may take a moment, and holds nobody else up.
pub(super) fn asked(context: &Context, envelope: Envelope, body: &[u8]) {
    let origin = envelope.origin;
    let me = context.id();
    let refuse =
        |envelope, reason, text: String| context.refuse(envelope, reason, Handled::No, text);
    let Ok(Ask { incarnation }) = Ask::from_bytes(body) else {
        let text = "the request for a ticket does not decode".to_owned();
        return refuse(envelope, DeadReason::Malformed, text);
    };
    if origin.authority != origin.source || origin.source == me {
        let text = format!("{} may ask {me} for a direct link for itself alone", origin.source);
        return refuse(envelope, DeadReason::Refused, text);
    }
    if !context.is_running() {
        return refuse(envelope, DeadReason::Shutdown, format!("{me} is shutting down"));
    }
    if context.link_count() >= context.limits().links {
        let text =
            format!("{me} holds as many links as it may: close some, or raise the limit `links`");
        return refuse(envelope, DeadReason::Refused, text);
    }
    let context = context.clone();
    context.clone().spawn(async move {
        let grant = context.grant(origin.source, incarnation).await;
        match (grant, envelope) {
            (Ok(grant), Envelope { reply: Some(port), .. }) => port.value(&grant.to_bytes()),
            (Ok(_), _) => {}
            (Err(text), envelope) => {
                context.refuse(envelope, DeadReason::Refused, Handled::No, text);
            }
        }
    });
}

impl Context {
    async fn grant(&self, asker: ContextId, life: Incarnation) -> Result<Grant, String> {
        self.old_link_gone(asker).await;
        let seen_from = self.links().iter().map(|link| link.remote.clone()).collect();
        let mut places = self.0.transport.places(seen_from).await;
        places.retain(|place| place.len() <= MAX_TEXT);
        places.truncate(MAX_PLACES);
        let mut secret = [0; 32];
        getrandom::fill(&mut secret)
            .map_err(|error| format!("{} has no randomness: {error}", self.id()))?;
        let ticket = Ticket::new(secret);
        if !places.is_empty() {
            let issued =
                self.0.direct.admission.lock().tickets.issue(self.now(), asker, life, ticket);
            issued.map_err(|_| {
                format!("{} has given as many tickets as it may: ask again later", self.id())
            })?;
        }
        Ok(Grant { ticket, places })
    }

    /// Judges a dial for a direct link. It may have to wait for this context's own dial to the same peer.
    pub(crate) async fn admit_direct(
        &self,
        (peer, connection): (ContextId, &dyn Connection),
        life: Option<Incarnation>,
        ticket: Ticket,
    ) -> Result<Incarnation, Refusal> {
        let refuse = |reason, text: String| Err(Refusal { reason, text });
        let me = self.id();
        let held = {
            let mut admission = self.0.direct.admission.lock();
            let spent = match life {
                Some(life) => {
                    admission.tickets.spend(self.now(), peer, life, ticket).map(|()| life)
                }
                None => Err(NotAdmitted::None),
            };
            let life = match spent {
                Ok(life) => life,
                Err(why) => {
                    let why = match why {
                        NotAdmitted::None => "has no ticket, or has used it, or it has run out",
                        NotAdmitted::Other => "shows another ticket than it was given",
                    };
                    let text =
                        format!("{peer} {why}: ask {me} for one through the tree (`connect`)");
                    return refuse(RefusalReason::Ticket, text);
                }
            };
            let dial = self.next_link();
            match admission.dials.come(self.now(), peer, dial) {
                Come::Welcome => return Ok(life),
                Come::Refuse => {
                    let text = format!("the dial of {me} to {peer} stands");
                    return refuse(RefusalReason::Simultaneous, text);
                }
                Come::Hold(older) => {
                    if let Some(older) = older.and_then(|older| admission.held.remove(&older)) {
                        let _ = older.send(false);
                    }
                    let (told, verdict) = oneshot::channel();
                    admission.held.insert(dial, told);
                    (dial, verdict, life)
                }
            }
        };
        let (dial, verdict, life) = held;
        let context = self.clone();
        self.spawn(async move {
            // A little later than the rule says, so that the clock has reached it.
            tokio::time::sleep(HOLD + Duration::from_millis(1)).await;
            context.answer_held();
        });
        tokio::select! {
            verdict = verdict => match verdict {
                Ok(true) => Ok(life),
                _ => refuse(RefusalReason::Simultaneous, format!("the dial of {me} to {peer} stands")),
            },
            _ = connection.closed() => {
                let mut admission = self.0.direct.admission.lock();
                admission.dials.gone(peer, dial);
                admission.held.remove(&dial);
                refuse(RefusalReason::Simultaneous, format!("{peer} has given its dial up"))
            }
        }
    }

    /// Welcomes the dials that have waited for long enough; the own ones are given up for them.
    fn answer_held(&self) {
        let mut admission = self.0.direct.admission.lock();
        for given in admission.dials.expire(self.now()) {
            if let Some(told) = admission.held.remove(&given.held) {
                let _ = told.send(true);
            }
        }
    }

    /// Tells a dial that was held what becomes of it.
    pub(super) fn tell_held(&self, held: Option<LinkId>, is_welcome: bool) {
        let told = held.and_then(|held| self.0.direct.admission.lock().held.remove(&held));
        if let Some(told) = told {
            let _ = told.send(is_welcome);
        }
    }
}
