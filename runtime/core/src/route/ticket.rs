//! Tickets for direct links (protocol rule 11): who may ask whom, and whom the acceptor admits.
//!
//! A context that wants a direct link asks the other for a ticket, through the tree. Every router on the way sees the request,
//! and refuses it where its policy does not hold ([`may_pass`]); the one who is asked has a policy of its own, and may decline.
//! The ticket names the asker: nobody else can use it, since a link's peer is proved by the transport. It is good for one link,
//! for [`TICKET_TIME`].

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crate::{
    Dead, DeadReason, Handled,
    id::{ContextId, Handle, Incarnation},
    policy::{Family, Origin, Policy},
    time::Moment,
    wire::{Header, Kind, direct::Ticket},
};

/// How long a ticket is good: as long as a request may take, for its way back and the dial.
pub const TICKET_TIME: Duration = Duration::from_secs(30);

/// Whether a router lets a frame pass that it forwards, or takes for itself. Only requests for tickets are judged: by the
/// router's policy, and on the asker's own authority alone, since that is all that a direct link speaks for.
///
/// # Errors
/// The dead reply for whoever asks.
pub fn may_pass(
    policy: &Policy,
    header: &Header,
    origin: &Origin,
    family: &Family,
) -> Result<(), Dead> {
    if header.handle != Handle::TICKET || header.kind != Kind::Message {
        return Ok(());
    }
    let refused = |text: String| Err(Dead::new(DeadReason::Refused, Handled::No, family.me, text));
    if origin.authority != origin.source {
        return refused(format!(
            "{} asks for a direct link on the authority of {}, for which that would not speak",
            origin.source, origin.authority
        ));
    }
    policy.check(origin, family).or_else(|refusal| refused(refusal.to_string()))
}

/// As many tickets are out as may be: nobody else gets one before some are used or over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooMany;

/// Why a dialler is not admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotAdmitted {
    /// No ticket is out for this context and life: none was given, or it has been used, or its time is over.
    None,
    /// A ticket is out for it, but another one.
    Other,
}

#[derive(Clone, Copy, Debug)]
struct Issued {
    ticket: Ticket,
    incarnation: Incarnation,
    until: Moment,
}

/// The tickets that one context has given out and that have not been used.
#[derive(Debug)]
pub struct Tickets {
    limit: usize,
    issued: BTreeMap<ContextId, Issued>,
    ends: BTreeSet<(Moment, ContextId)>,
}

impl Tickets {
    /// None is out yet, and never more than `limit`.
    pub fn new(limit: usize) -> Self {
        Self { limit, issued: BTreeMap::new(), ends: BTreeSet::new() }
    }

    /// Gives a ticket to one life of a context, in place of an earlier one. The host draws it.
    ///
    /// # Errors
    /// [`TooMany`].
    pub fn issue(
        &mut self,
        now: Moment,
        holder: ContextId,
        incarnation: Incarnation,
        ticket: Ticket,
    ) -> Result<(), TooMany> {
        self.expire(now);
        self.revoke(holder);
        if self.issued.len() >= self.limit {
            return Err(TooMany);
        }
        let until = now + TICKET_TIME;
        self.issued.insert(holder, Issued { ticket, incarnation, until });
        self.ends.insert((until, holder));
        Ok(())
    }

    /// A dialler, proved to be this context, shows a ticket. It is admitted, and the ticket used up.
    ///
    /// # Errors
    /// [`NotAdmitted`]; a ticket that is out stays so, since a late dial with an earlier one must not spoil it.
    pub fn spend(
        &mut self,
        now: Moment,
        holder: ContextId,
        incarnation: Incarnation,
        ticket: Ticket,
    ) -> Result<(), NotAdmitted> {
        self.expire(now);
        let issued = self.issued.get(&holder).filter(|issued| issued.incarnation == incarnation);
        let issued = issued.ok_or(NotAdmitted::None)?;
        if !issued.ticket.is(ticket) {
            return Err(NotAdmitted::Other);
        }
        self.revoke(holder);
        Ok(())
    }

    /// Takes a context's ticket back. Whenever a direct link to it opens, whoever dialled: the next one needs a new ticket, which
    /// comes behind all that is said of this link's end (protocol rule 9).
    pub fn revoke(&mut self, holder: ContextId) {
        if let Some(issued) = self.issued.remove(&holder) {
            self.ends.remove(&(issued.until, holder));
        }
    }

    /// How many tickets are out, as far as none has run out since one was asked for or shown.
    pub fn len(&self) -> usize {
        self.issued.len()
    }

    /// Whether none is out.
    pub fn is_empty(&self) -> bool {
        self.issued.is_empty()
    }

    fn expire(&mut self, now: Moment) {
        while let Some(&(until, holder)) = self.ends.first()
            && until <= now
        {
            self.revoke(holder);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Neighbour, Side};

    const A: ContextId = ContextId(3);
    const B: ContextId = ContextId(4);
    const LIFE: Incarnation = Incarnation::new(1, 3);

    fn at(seconds: u64) -> Moment {
        Moment::START + Duration::from_secs(seconds)
    }

    fn ticket(n: u8) -> Ticket {
        Ticket::new([n; 32])
    }

    #[test]
    fn a_ticket_admits_the_life_that_it_names_once_and_in_time() {
        let mut tickets = Tickets::new(10);
        tickets.issue(at(0), A, LIFE, ticket(1)).unwrap();
        assert_eq!(tickets.spend(at(1), B, LIFE, ticket(1)), Err(NotAdmitted::None));
        let other_life = Incarnation::new(1, 9);
        assert_eq!(tickets.spend(at(1), A, other_life, ticket(1)), Err(NotAdmitted::None));
        assert_eq!(tickets.spend(at(1), A, LIFE, ticket(2)), Err(NotAdmitted::Other));
        assert_eq!(tickets.spend(at(29), A, LIFE, ticket(1)), Ok(()));
        assert_eq!(tickets.spend(at(29), A, LIFE, ticket(1)), Err(NotAdmitted::None), "used up");
        tickets.issue(at(30), A, LIFE, ticket(3)).unwrap();
        assert_eq!(tickets.spend(at(60), A, LIFE, ticket(3)), Err(NotAdmitted::None), "run out");
        assert!(tickets.is_empty() && tickets.ends.is_empty());
    }

    #[test]
    fn a_later_ticket_takes_the_place_of_an_earlier_one() {
        let mut tickets = Tickets::new(10);
        tickets.issue(at(0), A, LIFE, ticket(1)).unwrap();
        tickets.issue(at(20), A, LIFE, ticket(2)).unwrap();
        assert_eq!(tickets.spend(at(31), A, LIFE, ticket(1)), Err(NotAdmitted::Other));
        assert_eq!(tickets.spend(at(31), A, LIFE, ticket(2)), Ok(()), "its own time counts");
    }

    #[test]
    fn tickets_are_bounded_and_those_run_out_make_room() {
        let mut tickets = Tickets::new(2);
        for n in 0..3_u8 {
            let issued = tickets.issue(at(0), ContextId(n.into()), LIFE, ticket(n));
            assert_eq!(issued.is_ok(), n < 2);
        }
        assert_eq!(
            tickets.issue(at(0), ContextId(1), LIFE, ticket(9)),
            Ok(()),
            "that is none more"
        );
        assert_eq!((tickets.len(), tickets.is_empty()), (2, false));
        assert_eq!(tickets.issue(at(30), B, LIFE, ticket(4)), Ok(()));
        tickets.revoke(B);
        assert!(tickets.is_empty() && tickets.ends.is_empty());
    }

    #[test]
    fn each_router_on_the_way_judges_who_asks_for_a_ticket_and_nothing_else() {
        let family = Family { me: ContextId(1), ancestors: vec![ContextId::ROOT] };
        let neighbour = Some(Neighbour { context: A, side: Side::Child });
        let own = Origin { source: A, authority: A, neighbour };
        let foreign = Origin { authority: ContextId::ROOT, ..own };
        let no = Policy::custom("nobody", |_, _| false);
        let ask = Header::to(Handle::TICKET).reply_to(Handle(4000));
        assert_eq!(may_pass(&Policy::Anyone, &ask, &own, &family), Ok(()));
        let refused = |policy: &Policy, origin: &Origin| {
            let dead = may_pass(policy, &ask, origin, &family).unwrap_err();
            assert_eq!(
                (dead.reason, dead.handled, dead.by),
                (DeadReason::Refused, Handled::No, family.me)
            );
            dead.text
        };
        assert!(refused(&no, &own).contains("nobody"));
        assert!(refused(&Policy::Anyone, &foreign).contains("authority of context 0"));
        for other in [Header::to(Handle(4000)), Header::to(Handle::TICKET).kind(Kind::Dead)] {
            assert_eq!(may_pass(&no, &other, &foreign, &family), Ok(()));
        }
    }
}
