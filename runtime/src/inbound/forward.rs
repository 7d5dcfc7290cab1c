//! The way through: frames that a link brings for other contexts go on undecoded, and uncopied but for their way into a lane.

use actogen_core::{
    DeadReason, Handle, Handled, LinkId,
    limits::MAX_HEADER,
    policy::{Origin, Side, is_one_way},
    route::{judge, ticket::may_pass},
    router::Input,
    wire::{Destination, Kind, Placed, TAG},
};

use super::{GIVEN_UP, Inbound, Judged, Went};
use crate::{
    hold::{Onward, Sort},
    lane::{Class, LaneError},
};

impl Inbound {
    /// Passes a frame on by a link, or gives it up.
    pub(super) fn forward(
        &mut self,
        link: LinkId,
        frame: &Placed<'_>,
        origin: Origin,
        generation: u64,
    ) {
        let header = &frame.header;
        let Some(Destination { context: to, incarnation }) = header.destination else { return };
        let Some(next) = self.context.routes().link_to(to, link) else {
            let dead = self.dead(
                DeadReason::RouteLost,
                Handled::No,
                format!("the link to {to} went this moment"),
            );
            return self.kill(header, origin, &dead);
        };
        if next.peer == to
            && let Some(meant) = incarnation
            && let Some(dead) = judge::other_life(self.context.id(), to, meant, next.incarnation)
        {
            return self.kill(header, origin, &dead);
        }
        if self.context.is_one_way() && is_one_way(self.link.side, next.side, header.kind) {
            let text = format!(
                "{} refuses: {} and {to} stand below different children of it, which is in one-way mode; have a context above both pass it on",
                self.context.id(),
                origin.source
            );
            let dead = self.dead(DeadReason::Refused, Handled::No, text);
            return self.kill(header, origin, &dead);
        }
        if header.handle == Handle::TICKET
            && let Err(dead) =
                may_pass(&self.context.0.direct.policy, header, &origin, &self.context.family())
        {
            return self.kill(header, origin, &dead);
        }
        if self.context.routes().note_addressed(self.link.id, to) {
            self.context.tell_router(Input::Addressed {
                link: self.link.id,
                context: to,
                via: next.id,
            });
        }
        // Whoever holds a watch must hear that the watcher is lost, or the watch would stay for ever: it addresses the watcher, in
        // the end.
        if header.handle == Handle::WATCH
            && next.side == Side::Child
            && self.context.routes().note_addressed(next.id, origin.source)
        {
            self.context.tell_router(Input::Addressed {
                link: next.id,
                context: origin.source,
                via: self.link.id,
            });
        }
        let mut onward = header.clone();
        if next.peer == to {
            onward.destination = None;
        }
        onward.source = Some(origin.source);
        onward.authority = (origin.authority != origin.source).then_some(origin.authority);
        onward.hops -= 1;
        let body = header.fragment.map(|field| (origin.source, field.number));
        if let Some(body) = body
            && self.given_up.contains(&body)
        {
            return;
        }
        let class = match header.kind {
            Kind::Dead => Class::Notice,
            _ if body.is_some() => Class::Part,
            _ => Class::Answer,
        };
        let way_on = Onward {
            from: self.link.id,
            to,
            stream: self.stream,
            header: &onward,
            payload: frame.payload(),
            sort: class.into(),
        };
        match self.context.pass_on(&next, way_on, class) {
            Ok(()) if frame.is_repeatable() => {
                let mut head = vec![0; MAX_HEADER];
                let len = onward.encode(&mut head);
                head.truncate(len);
                head.extend(frame.payload().iter().take(TAG));
                let went = Went::On { next, pair: (to, header.handle), head };
                self.judged = Some(Judged { generation, went });
            }
            Ok(()) => {}
            Err(error) => {
                let (reason, what) = match error {
                    LaneError::Full => (DeadReason::Congested, "a queue is full"),
                    LaneError::Closed | LaneError::Old => {
                        (DeadReason::RouteLost, "the link is gone")
                    }
                };
                let handled = if header.kind == Kind::Message { Handled::No } else { Handled::Yes };
                let dead = self.dead(
                    reason,
                    handled,
                    format!("{what} at {} on the way to {to}", self.context.id()),
                );
                if let Some(body) = body {
                    if self.given_up.len() >= GIVEN_UP {
                        self.given_up.pop_front();
                    }
                    self.given_up.push_back(body);
                }
                if header.kind == Kind::Message {
                    self.give_up(header, origin, &dead);
                } else if error == LaneError::Full && header.kind != Kind::Dead {
                    // The asker waits at the other end of the full queue: tell it, in a notice, for which room is kept.
                    let mut payload = Vec::new();
                    dead.encode(&mut payload);
                    onward.kind = Kind::Dead;
                    onward.by_router = true;
                    onward.fragment = None;
                    let notice = Onward {
                        from: self.link.id,
                        to,
                        stream: self.stream,
                        header: &onward,
                        payload: &payload,
                        sort: Sort::Notice,
                    };
                    if self.context.pass_on(&next, notice, Class::Notice).is_err() {
                        self.context.0.counters.dropped_notices.add(1);
                    }
                } else {
                    self.context.0.counters.dropped_notices.add(1);
                }
            }
        }
    }
}
