//! What becomes of a frame: the checks that every hop makes, and the decision where it goes next.
//!
//! Pure functions over a [`View`] of the routes, so that the data path (which reads a concurrent map) and the property tests
//! (which read the core's own table) judge by the same code.

use std::cmp::Ordering;

use crate::{
    dead::{Dead, DeadReason, Handled},
    id::{ContextId, Incarnation, LinkId, StreamId},
    offence::{Offence, OffenceKind},
    policy::{Neighbour, Origin, Side},
    wire::{Header, Kind},
};

/// What a judgement must know of the routes. Reads only, and each read by itself: the data path takes no lock over a frame.
pub trait View {
    /// This context.
    fn me(&self) -> ContextId;
    /// The life of this context.
    fn incarnation(&self) -> Incarnation;
    /// The link and life of a context of the own subtree.
    fn route(&self, context: ContextId) -> Option<(LinkId, Incarnation)>;
    /// The link to the parent, if there is one.
    fn parent(&self) -> Option<LinkId>;
    /// The link that a context was last behind before it went, and the life it had.
    fn tombstone(&self, context: ContextId) -> Option<(LinkId, Incarnation)>;
    /// Whether a context without a route was withdrawn by this link's word, and the copy of that on this stream is still to come
    /// ([`crate::route::linger::Lingering`]).
    fn lingers(&self, context: ContextId, link: LinkId, stream: StreamId) -> bool;
}

/// Checks that the source and the authority of a frame belong behind the link that brought it (protocol rules 8 and 12), and that a
/// direct link brings nothing for others.
///
/// # Errors
/// [`Offence`]: the frame goes no further.
pub fn origin<V: View>(
    view: &V,
    link: LinkId,
    from: Neighbour,
    header: &Header,
) -> Result<Origin, Offence> {
    let source = header.source.unwrap_or(from.context);
    let authority = header.authority.unwrap_or(source);
    let stream = header.handle.stream();
    let is_routers_word = header.kind == Kind::Dead && header.by_router;
    let offence = |kind, about| Offence { kind, offender: from.context, about };
    let misplaced = |kind, about| {
        // So is the parent's word about what has come into the own subtree meanwhile, and what a neighbour says for itself by a
        // link that it has left.
        let is_late = was_behind(view, link, about)
            || about == from.context
            || (is_routers_word && from.side == Side::Parent && about != view.me());
        offence(if is_late { OffenceKind::OldWay } else { kind }, about)
    };
    if from.side == Side::Direct
        && let Some(to) = &header.destination
        && to.context != view.me()
    {
        return Err(offence(OffenceKind::Transit, to.context));
    }
    let speaks_for_source = belongs(view, link, from, stream, source)
        || (is_routers_word && was_behind(view, link, source));
    if !speaks_for_source {
        return Err(misplaced(OffenceKind::BadSource, source));
    }
    if authority != source && !belongs(view, link, from, stream, authority) {
        return Err(misplaced(OffenceKind::BadAuthority, authority));
    }
    Ok(Origin { source, authority, neighbour: Some(from) })
}

fn belongs<V: View>(
    view: &V,
    link: LinkId,
    from: Neighbour,
    stream: StreamId,
    context: ContextId,
) -> bool {
    if context == view.me() {
        return false;
    }
    match (from.side, view.route(context)) {
        (Side::Parent, route) => context == from.context || route.is_none(),
        (Side::Child, Some((through, _))) => through == link,
        (Side::Child, None) => view.lingers(context, link, stream),
        (Side::Direct, _) => context == from.context,
    }
}

fn was_behind<V: View>(view: &V, link: LinkId, context: ContextId) -> bool {
    view.tombstone(context).is_some_and(|(last, _)| last == link)
}

/// Where a frame goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is for this context.
    Deliver,
    /// It goes on by this link.
    Forward(LinkId),
    /// It cannot go on; if somebody waits for an answer, this is the answer.
    Dead(Dead),
}

/// What `me` answers when a frame means another life of `context` than the one at the end of the way from here: an earlier one is
/// over; word of a later one has not come this far. `None` when it is the life that is meant.
pub fn other_life(
    me: ContextId,
    context: ContextId,
    meant: Incarnation,
    lives: Incarnation,
) -> Option<Dead> {
    let (reason, text) = match meant.cmp(&lives) {
        Ordering::Equal => return None,
        Ordering::Less => {
            (DeadReason::Stale, format!("{context} lives its incarnation {lives} now"))
        }
        Ordering::Greater => (
            DeadReason::RouteLost,
            format!("the way to {context} from {me} ends at its earlier incarnation {lives}"),
        ),
    };
    Some(Dead::new(reason, Handled::No, me, text))
}

/// Decides where a frame for `destination` goes. `from` is the link that brought it, `None` for what this context sends.
/// `incarnation` is the life that the sender means, if it says one. `hops` is what is left of its hop limit.
pub fn destination<V: View>(
    view: &V,
    from: Option<LinkId>,
    destination: ContextId,
    incarnation: Option<Incarnation>,
    hops: u8,
) -> Verdict {
    let me = view.me();
    let dead = |reason, text: String| Verdict::Dead(Dead::new(reason, Handled::No, me, text));
    if destination == me {
        return match incarnation.and_then(|meant| other_life(me, me, meant, view.incarnation())) {
            Some(dead) => Verdict::Dead(dead),
            None => Verdict::Deliver,
        };
    }
    if hops == 0 {
        return dead(
            DeadReason::Loop,
            format!("the hop limit was reached at {me} on the way to {destination}"),
        );
    }
    match view.route(destination) {
        Some((_, lives)) if incarnation.is_some_and(|meant| meant < lives) => {
            dead(DeadReason::Stale, format!("{destination} lives its incarnation {lives} now"))
        }
        Some((link, _)) if Some(link) != from => Verdict::Forward(link),
        // It came from where it would have to go: the child has lost the context, and its word of that is on the way.
        Some(_) => {
            dead(DeadReason::RouteLost, format!("{destination} is no longer where {me} knew it"))
        }
        None => match view.parent() {
            Some(parent) if Some(parent) != from => Verdict::Forward(parent),
            _ => match view.tombstone(destination) {
                Some((_, lived)) if incarnation.is_some_and(|meant| meant < lived) => dead(
                    DeadReason::Stale,
                    format!("{destination} has begun another life since, and is lost"),
                ),
                Some(_) => {
                    dead(DeadReason::RouteLost, format!("{destination} was lost, says {me}"))
                }
                None => dead(DeadReason::NoRoute, format!("{me} knows no {destination}")),
            },
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{id::Handle, wire::Header};
    use std::collections::BTreeMap;

    const ME: ContextId = ContextId(5);
    const UP: LinkId = LinkId(1);
    const DOWN: LinkId = LinkId(2);
    const OTHER: LinkId = LinkId(3);
    const LIFE: Incarnation = Incarnation::new(1, 5);

    struct Routes {
        routes: BTreeMap<u64, (LinkId, Incarnation)>,
        tombstones: BTreeMap<u64, (LinkId, Incarnation)>,
        lingering: BTreeMap<u64, (LinkId, StreamId)>,
        parent: Option<LinkId>,
    }

    impl View for Routes {
        fn me(&self) -> ContextId {
            ME
        }
        fn incarnation(&self) -> Incarnation {
            LIFE
        }
        fn route(&self, context: ContextId) -> Option<(LinkId, Incarnation)> {
            self.routes.get(&context.0).copied()
        }
        fn parent(&self) -> Option<LinkId> {
            self.parent
        }
        fn tombstone(&self, context: ContextId) -> Option<(LinkId, Incarnation)> {
            self.tombstones.get(&context.0).copied()
        }
        fn lingers(&self, context: ContextId, link: LinkId, stream: StreamId) -> bool {
            self.lingering.get(&context.0) == Some(&(link, stream))
        }
    }

    /// 5 has the parent 1 and the children 7 (with 8 below it) and 9; 6 was behind 7 and is lost.
    fn routes() -> Routes {
        let at = |link, n| (link, Incarnation::new(1, n));
        Routes {
            routes: [(7, at(DOWN, 7)), (8, at(DOWN, 8)), (9, at(OTHER, 9))].into(),
            tombstones: [(6, at(DOWN, 6))].into(),
            lingering: BTreeMap::new(),
            parent: Some(UP),
        }
    }

    fn from(context: u64, side: Side) -> Neighbour {
        Neighbour { context: ContextId(context), side }
    }

    fn header(source: Option<u64>, authority: Option<u64>) -> Header {
        let mut header = Header::to(Handle(4000));
        header.source = source.map(ContextId);
        header.authority = authority.map(ContextId);
        header
    }

    #[test]
    fn m07_sources_and_authorities_belong_behind_their_link() {
        let (child, parent) = (from(7, Side::Child), from(1, Side::Parent));
        let bad_source = Err(OffenceKind::BadSource);
        let bad_authority = Err(OffenceKind::BadAuthority);
        let rows = [
            (DOWN, child, header(None, None), Ok((7, 7))),
            (DOWN, child, header(Some(8), None), Ok((8, 8))),
            (DOWN, child, header(Some(8), Some(7)), Ok((8, 7))),
            (DOWN, child, header(Some(9), None), bad_source),
            (DOWN, child, header(Some(5), None), bad_source),
            (DOWN, child, header(Some(1), None), bad_source),
            (DOWN, child, header(Some(0), None), bad_source),
            (DOWN, child, header(Some(6), None), Err(OffenceKind::OldWay)),
            (OTHER, child, header(Some(6), None), bad_source),
            (DOWN, child, header(None, Some(0)), bad_authority),
            (DOWN, child, header(None, Some(5)), bad_authority),
            (DOWN, child, header(None, Some(9)), bad_authority),
            (OTHER, child, header(None, None), Err(OffenceKind::OldWay)),
            (UP, parent, header(None, None), Ok((1, 1))),
            (UP, parent, header(Some(0), None), Ok((0, 0))),
            (UP, parent, header(Some(77), Some(0)), Ok((77, 0))),
            (UP, parent, header(Some(7), None), bad_source),
            (UP, parent, header(Some(5), None), bad_source),
            (UP, parent, header(None, Some(8)), bad_authority),
            (UP, parent, header(None, Some(5)), bad_authority),
        ];
        for (link, neighbour, header, expected) in rows {
            let got = origin(&routes(), link, neighbour, &header);
            let got = got.map(|o| (o.source.0, o.authority.0)).map_err(|offence| offence.kind);
            assert_eq!(
                got, expected,
                "{link} {neighbour:?} {:?} {:?}",
                header.source, header.authority
            );
        }
    }

    #[test]
    fn m07_a_direct_link_speaks_for_its_peer_alone_wherever_that_is_in_the_tree() {
        let beside = LinkId(9);
        let bad_source = Err(OffenceKind::BadSource);
        let bad_authority = Err(OffenceKind::BadAuthority);
        // A stranger, an ancestor, a descendant by another link, and a child.
        for peer in [77, 0, 8, 9] {
            let rows = [
                (header(None, None), Ok((peer, peer))),
                (header(Some(peer), Some(peer)), Ok((peer, peer))),
                (header(Some(7), None), bad_source),
                (header(Some(1), None), bad_source),
                (header(Some(78), None), bad_source),
                (header(Some(6), None), bad_source),
                (header(Some(5), None), bad_source),
                (header(None, Some(7)), bad_authority),
                (header(None, Some(1)), bad_authority),
                (header(None, Some(5)), bad_authority),
            ];
            for (header, expected) in rows {
                let word = Header { by_router: true, ..header.clone().kind(Kind::Dead) };
                for header in [header, word] {
                    let got = origin(&routes(), beside, from(peer, Side::Direct), &header);
                    let got =
                        got.map(|o| (o.source.0, o.authority.0)).map_err(|offence| offence.kind);
                    assert_eq!(got, expected, "{peer}: {:?} {:?}", header.source, header.authority);
                }
            }
        }
    }

    #[test]
    fn a_direct_link_is_no_way_to_others() {
        let judge = |side, to| {
            let destination =
                Some(crate::wire::Destination { context: ContextId(to), incarnation: None });
            let header = Header { destination, ..header(None, None) };
            let link = if side == Side::Parent { UP } else { LinkId(9) };
            origin(&routes(), link, from(1, side), &header).map_err(|o| (o.kind, o.about.0))
        };
        assert!(judge(Side::Direct, ME.0).is_ok());
        for to in [8, 77, 0] {
            assert_eq!(judge(Side::Direct, to), Err((OffenceKind::Transit, to)));
            assert!(judge(Side::Parent, to).is_ok(), "the tree is");
        }
    }

    #[test]
    fn a_routers_dead_reply_may_speak_for_whom_the_link_led_to_last() {
        let child = from(7, Side::Child);
        let mut dead = header(Some(6), None).kind(Kind::Dead);
        assert!(origin(&routes(), DOWN, child, &dead).is_err(), "only a router's word may");
        dead.by_router = true;
        assert_eq!(origin(&routes(), DOWN, child, &dead).map(|o| o.source), Ok(ContextId(6)));
        assert!(
            origin(&routes(), OTHER, from(9, Side::Child), &dead).is_err(),
            "only from where it was"
        );
        dead.kind = Kind::Reply;
        assert!(origin(&routes(), DOWN, child, &dead).is_err());
    }

    #[test]
    fn last_messages_of_the_withdrawn_pass_on_streams_whose_copy_is_still_to_come() {
        let child = from(7, Side::Child);
        let lane = Handle(4000).stream();
        let with = |link, stream| Routes { lingering: [(6, (link, stream))].into(), ..routes() };
        let judge = |routes: &Routes, header: &Header| origin(routes, DOWN, child, header);
        let (source, authority) = (header(Some(6), None), header(Some(8), Some(6)));
        for header in [source, authority] {
            assert!(judge(&with(DOWN, lane), &header).is_ok());
            assert!(judge(&with(DOWN, StreamId::CONTROL), &header).is_err(), "its copy has come");
            assert!(judge(&with(OTHER, lane), &header).is_err(), "it was withdrawn elsewhere");
        }
        let mut back = with(DOWN, lane);
        back.routes.insert(6, (OTHER, LIFE));
        assert!(judge(&back, &header(Some(6), None)).is_err(), "it lives by another way");
    }

    #[test]
    fn what_honest_routers_may_bring_late_is_told_from_a_lie() {
        let (child, parent) = (from(7, Side::Child), from(1, Side::Parent));
        let word =
            |source| Header { by_router: true, ..header(Some(source), None).kind(Kind::Dead) };
        let reply = |source| header(Some(source), None).kind(Kind::Dead);
        let rows = [
            (UP, parent, word(8), OffenceKind::OldWay),
            (UP, parent, reply(8), OffenceKind::BadSource),
            (UP, parent, word(5), OffenceKind::BadSource),
            (DOWN, child, word(9), OffenceKind::BadSource),
            (DOWN, child, reply(6), OffenceKind::OldWay),
            (OTHER, child, reply(7), OffenceKind::OldWay),
            (OTHER, child, header(Some(9), Some(7)), OffenceKind::OldWay),
            (OTHER, child, header(Some(9), Some(8)), OffenceKind::BadAuthority),
        ];
        for (link, neighbour, header, kind) in rows {
            let offence = origin(&routes(), link, neighbour, &header).unwrap_err();
            assert_eq!(offence.kind, kind, "{link} {:?} {:?}", header.source, header.authority);
        }
    }

    #[test]
    fn an_offence_names_the_neighbour_and_whom_it_spoke_for() {
        let offence =
            origin(&routes(), DOWN, from(7, Side::Child), &header(Some(9), None)).unwrap_err();
        assert_eq!((offence.offender, offence.about), (ContextId(7), ContextId(9)));
    }

    #[test]
    fn frames_go_down_their_route_or_up_or_die_with_the_right_reason() {
        let forward = |link| Ok(link);
        let old = Incarnation::new(0, 1);
        let life = |n| Some(Incarnation::new(1, n));
        let rows = [
            // from, destination, life meant, hops left, outcome
            (Some(UP), 8, life(8), 3, forward(DOWN)),
            (Some(UP), 8, None, 1, forward(DOWN)),
            (None, 9, life(9), 3, forward(OTHER)),
            (Some(DOWN), 9, life(9), 3, forward(OTHER)),
            (Some(DOWN), 77, None, 3, forward(UP)),
            (None, 77, None, 3, forward(UP)),
            (Some(DOWN), 6, None, 3, forward(UP)),
            (Some(UP), 8, Some(old), 3, Err(DeadReason::Stale)),
            (Some(UP), 8, life(99), 3, forward(DOWN)),
            (Some(UP), 8, None, 0, Err(DeadReason::Loop)),
            (Some(DOWN), 8, None, 3, Err(DeadReason::RouteLost)),
            (Some(UP), 77, None, 3, Err(DeadReason::NoRoute)),
            (Some(UP), 6, None, 3, Err(DeadReason::RouteLost)),
            (Some(UP), 6, Some(old), 3, Err(DeadReason::Stale)),
            // The life that is meant is the one that was lost, or one that this context never knew.
            (Some(UP), 6, life(6), 3, Err(DeadReason::RouteLost)),
            (Some(UP), 6, life(7), 3, Err(DeadReason::RouteLost)),
        ];
        for (from, to, incarnation, hops, expected) in rows {
            let verdict = destination(&routes(), from, ContextId(to), incarnation, hops);
            let got = match verdict {
                Verdict::Forward(link) => Ok(link),
                Verdict::Dead(dead) => {
                    assert_eq!((dead.handled, dead.by), (Handled::No, ME));
                    Err(dead.reason)
                }
                Verdict::Deliver => panic!("{to} is not this context"),
            };
            assert_eq!(got, expected, "from {from:?} to {to} {incarnation:?}");
        }
    }

    #[test]
    fn r04_what_is_for_an_earlier_life_is_stale_and_for_a_later_one_has_no_way() {
        let verdict = |meant| destination(&routes(), Some(UP), ME, meant, 0);
        assert_eq!(verdict(None), Verdict::Deliver);
        assert_eq!(verdict(Some(LIFE)), Verdict::Deliver);
        let others = [
            (Incarnation::new(1, 4), DeadReason::Stale),
            (Incarnation::new(1, 6), DeadReason::RouteLost),
            (Incarnation::new(2, 0), DeadReason::RouteLost),
        ];
        for (other, reason) in others {
            let Verdict::Dead(dead) = verdict(Some(other)) else {
                panic!("delivered to another life")
            };
            assert_eq!((dead.reason, dead.handled, dead.by), (reason, Handled::No, ME));
        }
    }

    #[test]
    fn a_root_answers_for_what_it_does_not_know() {
        let root = Routes { parent: None, ..routes() };
        let Verdict::Dead(dead) = destination(&root, None, ContextId(77), None, 3) else {
            panic!("there is no way up")
        };
        assert_eq!(dead.reason, DeadReason::NoRoute);
    }
}
