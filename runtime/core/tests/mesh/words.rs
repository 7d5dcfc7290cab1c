//! One core, told its links' messages word by word.

use actogen_core::{
    Limits,
    id::{Attachment, ContextId, Incarnation, LinkId, StreamId},
    limits::MAX_WITHDRAWN,
    offence::{Offence, OffenceKind},
    policy::Side,
    router::{Effect, Input},
    wire::control::{
        AddRoute, Announcement, Contexts, DelRoute, LinkMessage, Loss, LossKind, Outside, Withdrawn,
    },
};

use crate::{
    forge::signed_by,
    node::{Node, certificate_of},
    scenarios::c,
};

/// The root and one child link, whose messages come as they are.
fn root_with_child(limits: &Limits) -> (Node, LinkId) {
    let mut root = Node::new(c(0), Incarnation::new(1, 1), limits);
    let mut out = Vec::new();
    root.core.handle(Input::LinkUp { link: LinkId(1), peer: c(1), side: Side::Child }, &mut out);
    (root, LinkId(1))
}

pub(crate) fn announced(context: u64, parent: u64, attachment: u64) -> Announcement {
    let announcement = Announcement {
        context: c(context),
        incarnation: Incarnation::new(1, context),
        attachment: Attachment(attachment),
        parent: c(parent),
        certificate: certificate_of(c(context)),
        signature: Vec::new(),
    };
    signed_by(c(context), announcement)
}

/// Lets the root read messages of its child in this order, each on one stream.
fn read_in_order(root: &mut Node, link: LinkId, order: &[(u8, &LinkMessage)]) -> Vec<Effect> {
    let mut out = Vec::new();
    for &(lane, message) in order {
        let stream = StreamId::from_index(lane.into()).expect("there are five streams");
        root.core.handle(Input::Message { link, stream, message: message.clone() }, &mut out);
    }
    out
}

#[test]
fn m02_of_two_words_about_a_context_the_later_stands_whichever_is_read_first() {
    let add = |stamp, announcement| LinkMessage::AddRoute(AddRoute { stamp, announcement });
    let del = |stamp, gone: &Announcement| {
        let Announcement { context, incarnation, attachment, .. } = *gone;
        let routes = vec![Withdrawn { context, incarnation, attachment }];
        let loss = Loss::new(LossKind::LinkClosed, context, "gone");
        LinkMessage::DelRoute(DelRoute { stamp, routes, outside: Outside::None, loss })
    };
    let one = add(1, announced(1, 0, 1));
    // 2 arrives, attaches again and is lost; on lane 1 the first of these comes last.
    let arrives = add(2, announced(2, 1, 1));
    let again = add(3, announced(2, 1, 2));
    let lost = del(4, &announced(2, 1, 2));
    let (mut root, link) = root_with_child(&Limits::default());
    let order = [
        (1, &one),
        (1, &again),
        (1, &lost),
        (0, &one),
        (0, &arrives),
        (0, &again),
        (0, &lost),
        (1, &arrives),
    ];
    let out = read_in_order(&mut root, link, &order);
    assert!(!root.core.table().contains(c(2)), "2 is lost");
    assert!(!out.iter().any(|effect| matches!(effect, Effect::Offence(_))));
    // 2 is lost and comes back as it was, since only its parent had moved; the loss is read last.
    let lost = del(2, &announced(2, 1, 1));
    let back = add(3, announced(2, 1, 1));
    let (mut root, link) = root_with_child(&Limits::default());
    let order = [(0, &one), (1, &one), (1, &back), (1, &lost), (0, &lost), (0, &back)];
    let out = read_in_order(&mut root, link, &order);
    assert!(root.core.table().contains(c(2)), "2 is back");
    assert!(!out.iter().any(|effect| matches!(effect, Effect::Offence(_))));
}

/// A withdrawal of what one announcement has said.
fn withdrawal(stamp: u64, of: &Announcement) -> LinkMessage {
    let Announcement { context, incarnation, attachment, .. } = *of;
    LinkMessage::DelRoute(DelRoute {
        stamp,
        routes: vec![Withdrawn { context, incarnation, attachment }],
        outside: Outside::None,
        loss: Loss::new(LossKind::LinkClosed, context, "gone"),
    })
}

pub(crate) fn announcement_of(stamp: u64, announcement: Announcement) -> LinkMessage {
    LinkMessage::AddRoute(AddRoute { stamp, announcement })
}

#[test]
fn a_renewed_announcement_changes_nothing_and_ends_no_wait() {
    let (mut root, link) = root_with_child(&Limits::default());
    let (one, two) = (announced(1, 0, 1), announced(2, 1, 1));
    let first = [announcement_of(1, one), announcement_of(2, two.clone())];
    read_in_order(&mut root, link, &[(0, &first[0]), (0, &first[1])]);
    assert_eq!(read_in_order(&mut root, link, &[(1, &announcement_of(3, two))]), []);
}

#[test]
fn those_below_a_context_that_attaches_again_behind_its_link_keep_their_last_messages() {
    let (mut root, link) = root_with_child(&Limits::default());
    let known = [announced(1, 0, 1), announced(2, 1, 1), announced(3, 2, 1), announced(4, 3, 1)];
    for (n, announcement) in known.into_iter().enumerate() {
        read_in_order(&mut root, link, &[(0, &announcement_of(n as u64 + 1, announcement))]);
    }
    let again = announcement_of(5, announced(2, 1, 2));
    let out = read_in_order(&mut root, link, &[(0, &again), (3, &again)]);
    let about: Vec<_> = out
        .iter()
        .filter(|e| matches!(e, Effect::Linger { .. } | Effect::Passed { .. }))
        .cloned()
        .collect();
    let passed =
        |lane| Effect::Passed { link, stream: StreamId::lane(lane), contexts: vec![c(3), c(4)] };
    let expected = [
        Effect::Linger { link, context: c(3) },
        Effect::Linger { link, context: c(4) },
        passed(0),
        passed(3),
    ];
    assert_eq!(about, expected);
    // By another link they come anew, and what they had sent by the old one is late.
    let other = LinkId(2);
    let mut out = Vec::new();
    root.core.handle(Input::LinkUp { link: other, peer: c(2), side: Side::Child }, &mut out);
    read_in_order(&mut root, link, &[(0, &announcement_of(6, announced(3, 2, 1)))]);
    let moved = announcement_of(1, announced(2, 0, 3));
    let out = read_in_order(&mut root, other, &[(0, &moved)]);
    assert!(!out.iter().any(|e| matches!(e, Effect::Linger { .. })), "{out:?}");
    assert!(!root.core.table().contains(c(3)));
}

#[test]
fn m03_a_late_withdrawal_is_no_offence_where_the_route_was_and_one_elsewhere_is() {
    let (mut root, link) = root_with_child(&Limits::default());
    let other = LinkId(2);
    let mut out = Vec::new();
    root.core.handle(Input::LinkUp { link: other, peer: c(5), side: Side::Child }, &mut out);
    let two = announced(2, 1, 1);
    let messages = [
        announcement_of(1, announced(1, 0, 1)),
        announcement_of(2, two.clone()),
        withdrawal(3, &two),
    ];
    for message in &messages {
        read_in_order(&mut root, link, &[(0, message)]);
    }
    read_in_order(&mut root, other, &[(0, &announcement_of(1, announced(5, 0, 1)))]);
    let forged = |out: &[Effect]| {
        let offences = out.iter().filter_map(|effect| match effect {
            Effect::Offence(offence) => Some((offence.kind, offence.offender.0, offence.about.0)),
            _ => None,
        });
        offences.collect::<Vec<_>>()
    };
    // It is gone already.
    assert_eq!(forged(&read_in_order(&mut root, link, &[(0, &withdrawal(4, &two))])), []);
    let lie = read_in_order(&mut root, other, &[(0, &withdrawal(2, &two))]);
    assert_eq!(forged(&lie), [(OffenceKind::ForgedWithdrawal, 5, 2)]);
    // It comes back behind the other: the first one's word is late, older or not, and takes nothing away.
    let back = announcement_of(3, announced(2, 5, 2));
    read_in_order(&mut root, other, &[(0, &back)]);
    for (stamp, attachment) in [(5, 1), (6, 2)] {
        let late = withdrawal(stamp, &announced(2, 1, attachment));
        assert_eq!(forged(&read_in_order(&mut root, link, &[(0, &late)])), []);
        assert!(root.core.table().contains(c(2)));
    }
}

/// Context 1 below the root, with the children 2 (and 4 below it) and 3; each link's id is its peer's plus 10.
fn middle(limits: &Limits) -> Node {
    let mut node = Node::new(c(1), Incarnation::new(1, 1), limits);
    let mut out = Vec::new();
    for (peer, side) in [(0, Side::Parent), (2, Side::Child), (3, Side::Child)] {
        node.core.handle(Input::LinkUp { link: LinkId(peer + 10), peer: c(peer), side }, &mut out);
    }
    for (link, stamp, context, parent) in [(12, 1, 2, 1), (13, 1, 3, 1), (12, 2, 4, 2)] {
        let message = announcement_of(stamp, announced(context, parent, 5));
        read_in_order(&mut node, LinkId(link), &[(4, &message)]);
    }
    node
}

fn address(node: &mut Node, link: u64, context: u64) {
    let (link, context) = (LinkId(link), c(context));
    // Whatever is not below this context goes to its parent.
    let via = node.core.table().get(context).map_or(LinkId(10), |route| route.link);
    let mut out = Vec::new();
    node.core.handle(Input::Addressed { link, context, via }, &mut out);
    assert_eq!(out, []);
}

/// The withdrawals among effects: link, routes, outside.
fn told(out: &[Effect]) -> Vec<(u64, Vec<u64>, Outside)> {
    let told = out.iter().filter_map(|effect| match effect {
        Effect::Send { link, message: LinkMessage::DelRoute(del), .. } => {
            let routes = del.routes.iter().map(|route| route.context.0).collect();
            Some((link.0, routes, del.outside.clone()))
        }
        _ => None,
    });
    told.collect()
}

fn listed(ids: &[u64]) -> Outside {
    Outside::Listed(ids.iter().copied().map(ContextId).collect())
}

#[test]
fn m03_only_what_is_newer_than_known_is_an_offence_where_the_route_leads_elsewhere() {
    let forged = |out: &[Effect]| {
        out.iter()
            .filter(|e| matches!(e, Effect::Offence(o) if o.kind == OffenceKind::ForgedWithdrawal))
            .count()
    };
    // 4 is known by its fifth attachment, behind 2; 3 and the parent have never had it.
    for (attachment, by_child, by_parent) in [(4, 0, 0), (5, 1, 1), (6, 1, 1)] {
        for (link, expected) in [(13, by_child), (10, by_parent)] {
            let mut node = middle(&Limits::default());
            let word = withdrawal(9, &announced(4, 2, attachment));
            let out = read_in_order(&mut node, LinkId(link), &[(0, &word)]);
            assert_eq!(forged(&out), expected, "attachment {attachment} by link {link}");
            assert!(node.core.table().contains(c(4)));
        }
    }
}

#[test]
fn m05_a_move_inside_the_subtree_is_told_to_the_parent_by_the_announcement_alone() {
    let mut node = middle(&Limits::default());
    address(&mut node, 10, 4);
    let moved = announcement_of(2, announced(4, 3, 6));
    let out = read_in_order(&mut node, LinkId(13), &[(0, &moved)]);
    assert_eq!(told(&out), []);
    // Who else had addressed it hears that the old way is no more; a loss goes up whoever had.
    let mut node = middle(&Limits::default());
    for link in [12, 13] {
        address(&mut node, link, 77);
    }
    address(&mut node, 13, 4);
    let lost = withdrawal(3, &announced(4, 2, 5));
    let out = read_in_order(&mut node, LinkId(12), &[(0, &lost)]);
    assert_eq!(told(&out), [(10, vec![4], Outside::None), (13, vec![4], Outside::None)]);
}

#[test]
fn m05_a_former_parent_hears_nothing_of_what_is_lost_below() {
    let mut node = middle(&Limits::default());
    let mut out = Vec::new();
    node.core.handle(Input::LinkUp { link: LinkId(18), peer: c(8), side: Side::Parent }, &mut out);
    // The link to the former one still stands.
    assert!(node.core.links().any(|(link, _)| link == LinkId(10)));
    let lost = withdrawal(3, &announced(4, 2, 5));
    let out = read_in_order(&mut node, LinkId(12), &[(0, &lost)]);
    assert_eq!(told(&out), [(18, vec![4], Outside::None)]);
}

#[test]
fn m06_a_link_that_brings_a_move_hears_of_what_did_not_come_along() {
    let mut node = middle(&Limits::default());
    // 3 has addressed 4; now 2 begins another life behind 3, and 4 is left nowhere.
    for context in [4, 2] {
        address(&mut node, 13, context);
    }
    let moved = announcement_of(2, announced(2, 3, 6));
    let out = read_in_order(&mut node, LinkId(13), &[(0, &moved)]);
    let expected = [(10, vec![4], Outside::None), (13, vec![], listed(&[4]))];
    assert_eq!(told(&out), expected, "about 2 both know");
}

#[test]
fn m05_what_the_parent_has_lost_is_told_to_those_who_had_addressed_it_or_have_addressed_too_much() {
    let limits = Limits { addressed_per_link: 1, ..Limits::default() };
    let lose = |outside: Outside| {
        let mut node = middle(&limits);
        for context in [70, 71] {
            address(&mut node, 12, context);
        }
        address(&mut node, 13, 70);
        let loss = Loss::new(LossKind::LinkClosed, c(0), "gone");
        let del = DelRoute { stamp: 1, routes: Vec::new(), outside, loss };
        told(&read_in_order(&mut node, LinkId(10), &[(0, &LinkMessage::DelRoute(del))]))
    };
    // 2 is over its quota of notes. What it is told to spare is what it reaches by this context: not itself.
    assert_eq!(
        lose(listed(&[70, 72, 4])),
        [(12, vec![], listed(&[70, 72])), (13, vec![], listed(&[70]))]
    );
    assert_eq!(lose(listed(&[72])), [(12, vec![], listed(&[72]))]);
    let spared = Outside::AllExcept([1, 3, 80].map(ContextId).into());
    assert_eq!(
        lose(Outside::AllExcept(vec![c(80)])),
        [(12, vec![], spared.clone()), (13, vec![], listed(&[70]))]
    );
    let spared_with_70 = Outside::AllExcept([1, 3, 70].map(ContextId).into());
    assert_eq!(lose(Outside::AllExcept(vec![c(70)])), [(12, vec![], spared_with_70)]);
}

#[test]
fn m06_whoever_addressed_a_context_by_a_way_that_went_meanwhile_is_told_at_once() {
    let rows = [
        // link, context, the link that the message took, told
        (13, 4, 12, false),
        (13, 4, 10, true),
        (13, 77, 10, false),
        (13, 77, 12, true),
        (10, 4, 13, false),
    ];
    for (link, context, via, is_told) in rows {
        let mut node = middle(&Limits::default());
        let mut out = Vec::new();
        let (by, via) = (LinkId(link), LinkId(via));
        node.core.handle(Input::Addressed { link: by, context: c(context), via }, &mut out);
        let expected = if is_told { vec![(link, vec![], listed(&[context]))] } else { vec![] };
        assert_eq!(told(&out), expected, "{context} addressed by {link}");
    }
}

#[test]
fn m05_what_is_lost_in_great_number_comes_in_messages_of_bounded_length() {
    let mut node = middle(&Limits::default());
    let ids: Vec<u64> = (1000..1000 + 2 * MAX_WITHDRAWN as u64 + 1).collect();
    for &id in &ids {
        address(&mut node, 13, id);
    }
    let loss = Loss::new(LossKind::LinkClosed, c(0), "gone");
    let mut out = Vec::new();
    node.core.handle(Input::LinkDown { link: LinkId(10), loss }, &mut out);
    let lens: Vec<_> = told(&out)
        .iter()
        .map(|(link, _, outside)| match outside {
            Outside::Listed(ids) => (*link, ids.len()),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(lens, [(13, MAX_WITHDRAWN), (13, MAX_WITHDRAWN), (13, 1)]);
}

#[test]
fn m08_who_stands_above_is_the_parents_word_and_goes_to_the_children() {
    let line = |ids: &[u64]| {
        LinkMessage::Above(Contexts { contexts: ids.iter().copied().map(ContextId).collect() })
    };
    let ids = |ids: &[u64]| ids.iter().copied().map(ContextId).collect::<Vec<_>>();
    let to_children = |ids: &[u64]| {
        let stream = Some(StreamId::CONTROL);
        [12, 13].map(|link| Effect::Send { link: LinkId(link), stream, message: line(ids) })
    };
    let mut node = middle(&Limits::default());
    assert_eq!(node.core.above(), None, "the parent has not spoken yet");
    let out = read_in_order(&mut node, LinkId(10), &[(4, &line(&[])), (4, &line(&[]))]);
    let [first, second] = to_children(&[0]);
    assert_eq!(out, [Effect::Above(ids(&[0])), first, second], "the second time it is nothing new");
    // A child says nothing of the kind, and nobody stands above itself.
    let lies = [
        (12, line(&[5]), OffenceKind::Malformed, 2),
        (10, line(&[7, 1]), OffenceKind::Misplaced, 1),
    ];
    for (link, message, kind, about) in lies {
        let out = read_in_order(&mut node, LinkId(link), &[(4, &message)]);
        let offender = c(link - 10);
        assert_eq!(out, [Effect::Offence(Offence { kind, offender, about: c(about) })]);
    }
    assert_eq!(node.core.above(), Some(&ids(&[0])[..]));
    // A new child hears it at once, and an orphan stands below nobody.
    let mut out = Vec::new();
    node.core.handle(Input::LinkUp { link: LinkId(19), peer: c(9), side: Side::Child }, &mut out);
    assert_eq!(
        out,
        [Effect::Send { link: LinkId(19), stream: Some(StreamId::CONTROL), message: line(&[0]) }]
    );
    let loss = Loss::new(LossKind::LinkClosed, c(0), "gone");
    let mut out = Vec::new();
    node.core.handle(Input::LinkDown { link: LinkId(10), loss }, &mut out);
    assert!(out.contains(&Effect::Above(Vec::new())) && out.contains(&to_children(&[])[1]));
    // The word of a former parent counts no more.
    let mut node = middle(&Limits::default());
    let mut out = Vec::new();
    node.core.handle(Input::LinkUp { link: LinkId(18), peer: c(8), side: Side::Parent }, &mut out);
    assert_eq!(read_in_order(&mut node, LinkId(10), &[(4, &line(&[]))]), []);
    let long: Vec<u64> = (100..100 + MAX_WITHDRAWN as u64).collect();
    read_in_order(&mut node, LinkId(18), &[(4, &line(&long))]);
    let above = node.core.above().expect("the parent has spoken");
    assert_eq!((above.len(), above[0], above[1]), (MAX_WITHDRAWN, c(8), c(100)));
}

#[test]
fn m02_who_stands_on_the_other_side_of_a_newer_link_announces_nothing_by_the_old_one() {
    // 2 was a child and is the parent now; what it said as a child is read only then.
    let (mut root, _) = root_with_child(&Limits::default());
    let mut out = Vec::new();
    let mut node = Node::new(c(7), Incarnation::new(1, 7), &Limits::default());
    for (link, peer, side) in [(1, 1, Side::Child), (2, 2, Side::Child), (3, 2, Side::Parent)] {
        node.core.handle(Input::LinkUp { link: LinkId(link), peer: c(peer), side }, &mut out);
    }
    let closed: Vec<_> = out
        .iter()
        .filter_map(|e| if let Effect::Close { link, .. } = e { Some(link.0) } else { None })
        .collect();
    assert_eq!(closed, [2]);
    let late = announcement_of(1, announced(2, 7, 1));
    assert_eq!(read_in_order(&mut node, LinkId(2), &[(0, &late), (1, &late)]), []);
    let other = announcement_of(1, announced(1, 7, 1));
    read_in_order(&mut node, LinkId(1), &[(0, &other)]);
    assert!(node.core.table().contains(c(1)) && !node.core.table().contains(c(2)));
    // A second link on the same side is another matter: the announcement that comes by it decides.
    out.clear();
    root.core.handle(Input::LinkUp { link: LinkId(5), peer: c(1), side: Side::Child }, &mut out);
    assert!(!out.iter().any(|effect| matches!(effect, Effect::Close { .. })));
}

#[test]
fn m02_word_of_an_arrival_that_is_over_is_ignored_even_if_its_end_was_read_first() {
    let one = announcement_of(1, announced(1, 0, 1));
    let (late, end) = (announcement_of(2, announced(2, 1, 1)), withdrawal(3, &announced(2, 1, 1)));
    let (mut root, link) = root_with_child(&Limits::default());
    read_in_order(&mut root, link, &[(0, &one), (1, &one), (1, &end)]);
    assert_eq!(read_in_order(&mut root, link, &[(0, &late)]), []);
    assert!(!root.core.table().contains(c(2)));
}

#[test]
fn m02_who_clings_to_an_old_place_is_shown_the_newer_word() {
    let add = |stamp, announcement| LinkMessage::AddRoute(AddRoute { stamp, announcement });
    let (mut root, link) = root_with_child(&Limits::default());
    let other = LinkId(2);
    let mut out = Vec::new();
    root.core.handle(Input::LinkUp { link: other, peer: c(5), side: Side::Child }, &mut out);
    read_in_order(&mut root, link, &[(0, &add(1, announced(1, 0, 1)))]);
    let newer = announced(2, 5, 2);
    let known = [add(1, announced(5, 0, 1)), add(2, newer.clone())];
    read_in_order(&mut root, other, &[(0, &known[0]), (0, &known[1])]);
    let shown = |out: &[Effect]| -> Vec<(LinkId, Announcement)> {
        let sent = out.iter().filter_map(|effect| match effect {
            Effect::Send { link, message: LinkMessage::AddRoute(add), .. } => {
                Some((*link, add.announcement.clone()))
            }
            _ => None,
        });
        sent.collect()
    };
    // Below 1 it was before: each copy of the old word is answered on its stream.
    let old = add(2, announced(2, 1, 1));
    assert_eq!(
        shown(&read_in_order(&mut root, link, &[(0, &old), (3, &old)])),
        [(link, newer.clone()), (link, newer)]
    );
    // A lie is answered nothing.
    let lie = add(3, Announcement { signature: Vec::new(), ..announced(2, 1, 9) });
    let misplaced = add(4, announced(2, 77, 9));
    let out = read_in_order(&mut root, link, &[(0, &lie), (0, &misplaced)]);
    assert_eq!((shown(&out), out.len()), (vec![], 2), "{out:?}");
    // An older word by the link that the route takes says nothing new either.
    let older = add(3, announced(2, 5, 1));
    assert_eq!(shown(&read_in_order(&mut root, other, &[(0, &older)])), []);
    assert_eq!(root.core.table().through(other), [c(2), c(5)]);
}

#[test]
fn r23_a_route_that_went_does_not_come_back_by_an_older_word() {
    let add = |stamp, announcement| LinkMessage::AddRoute(AddRoute { stamp, announcement });
    let (mut root, link) = root_with_child(&Limits::default());
    let gone = announced(2, 1, 5);
    let Announcement { context, incarnation, attachment, .. } = gone;
    let del = LinkMessage::DelRoute(DelRoute {
        stamp: 3,
        routes: vec![Withdrawn { context, incarnation, attachment }],
        outside: Outside::None,
        loss: Loss::new(LossKind::LinkClosed, context, "gone"),
    });
    let (one, first) = (add(1, announced(1, 0, 1)), add(2, gone.clone()));
    let replayed = add(4, announced(2, 1, 4));
    let out = read_in_order(&mut root, link, &[(0, &one), (0, &first), (0, &del), (0, &replayed)]);
    assert!(!root.core.table().contains(c(2)));
    let offences: Vec<_> = out.iter().filter(|e| matches!(e, Effect::Offence(_))).collect();
    assert_eq!(offences.len(), 1, "{offences:?}");
    // Its last word holds still: its parent's link may have flapped.
    let again = add(5, gone);
    read_in_order(&mut root, link, &[(0, &again)]);
    assert!(root.core.table().contains(c(2)));
}

#[test]
fn r19_a_hundred_thousand_routes_come_and_go_without_a_trace() {
    let limits = Limits { route_tombstones: 100, ..Limits::default() };
    let (mut root, link) = root_with_child(&limits);
    let mut out = Vec::new();
    let mut stamp = 0;
    let mut tell = |root: &mut Node, make: &dyn Fn(u64) -> LinkMessage| {
        stamp += 1;
        for stream in StreamId::all() {
            root.core.handle(Input::Message { link, stream, message: make(stamp) }, &mut out);
        }
        assert!(!out.iter().any(|effect| matches!(effect, Effect::Offence(_))), "{out:?}");
        out.clear();
    };
    tell(&mut root, &|stamp| {
        LinkMessage::AddRoute(AddRoute { stamp, announcement: announced(1, 0, 1) })
    });
    for round in 0..200_u64 {
        let ids = 2 + round * 500..2 + (round + 1) * 500;
        let mut routes = Vec::new();
        for id in ids {
            let announcement = announced(id, 1, 1);
            routes.push(Withdrawn {
                context: announcement.context,
                incarnation: announcement.incarnation,
                attachment: announcement.attachment,
            });
            tell(&mut root, &|stamp| {
                LinkMessage::AddRoute(AddRoute { stamp, announcement: announcement.clone() })
            });
        }
        assert_eq!(root.core.table().len(), 501);
        assert!(routes.len() <= MAX_WITHDRAWN);
        let loss = Loss::new(LossKind::LinkClosed, c(1), "gone");
        tell(&mut root, &|stamp| {
            let (routes, loss) = (routes.clone(), loss.clone());
            LinkMessage::DelRoute(DelRoute { stamp, routes, outside: Outside::None, loss })
        });
        assert_eq!(root.core.table().len(), 1);
    }
    assert_eq!(root.core.table().tombstones(), 100);
    let (_, state) = root.core.links().next().expect("the child is there");
    assert_eq!((state.under_way(), state.addressed().count()), (0, 0));
}

#[test]
fn r19_ten_thousand_reconnects_leave_one_link_and_one_route() {
    let limits = Limits::default();
    let (mut root, _) = root_with_child(&limits);
    let mut out = Vec::new();
    for round in 1..=10_000_u64 {
        let link = LinkId(round);
        if round > 1 {
            root.core.handle(Input::LinkUp { link, peer: c(1), side: Side::Child }, &mut out);
        }
        let announcement = announced(1, 0, round);
        for stream in StreamId::all() {
            let announcement = announcement.clone();
            let message = LinkMessage::AddRoute(AddRoute { stamp: 1, announcement });
            root.core.handle(Input::Message { link, stream, message }, &mut out);
        }
        if round > 1 {
            let old = LinkId(round - 1);
            let closed =
                out.iter().any(|e| matches!(e, Effect::Close { link, .. } if *link == old));
            assert!(closed, "the older link is closed when the newer one has announced itself");
            let loss = Loss::new(LossKind::LinkClosed, c(1), "replaced");
            root.core.handle(Input::LinkDown { link: old, loss }, &mut out);
        }
        assert_eq!((root.core.table().len(), root.core.links().count()), (1, 1));
        out.clear();
    }
    assert!(root.core.table().tombstones() <= 1);
}

#[test]
fn a_router_that_is_full_refuses_new_routes_and_keeps_the_old() {
    let limits = Limits { routes: 2, ..Limits::default() };
    let (mut root, link) = root_with_child(&limits);
    let mut out = Vec::new();
    for (stamp, id, parent) in [(1, 1, 0), (2, 2, 1), (3, 3, 1), (4, 2, 1)] {
        let announcement = announced(id, parent, stamp);
        let message = LinkMessage::AddRoute(AddRoute { stamp, announcement });
        root.core.handle(Input::Message { link, stream: StreamId::CONTROL, message }, &mut out);
    }
    let offences: Vec<_> = out
        .iter()
        .filter_map(|e| if let Effect::Offence(o) = e { Some((o.kind, o.about)) } else { None })
        .collect();
    assert_eq!(offences, [(OffenceKind::Quota, c(3))]);
    assert_eq!(root.core.table().iter().map(|(id, _)| id.0).collect::<Vec<_>>(), [1, 2]);
}

/// Whose certificate is revoked has no route any more; who stands behind it loses its own by the word of those between.
#[test]
fn m02_a_revoked_context_has_neither_link_nor_route() {
    let add = |stamp, announcement| LinkMessage::AddRoute(AddRoute { stamp, announcement });
    let (mut root, link) = root_with_child(&Limits::default());
    let (one, two, three) =
        (add(1, announced(1, 0, 1)), add(2, announced(2, 1, 1)), add(3, announced(3, 2, 1)));
    read_in_order(&mut root, link, &[(0, &one), (0, &two), (0, &three)]);
    let mut out = Vec::new();
    root.core.handle(Input::Revoked { contexts: vec![c(2), c(9)] }, &mut out);
    let down = |id| {
        out.iter().any(|effect| {
            matches!(effect, Effect::Down { context, loss }
                if *context == c(id) && loss.kind == LossKind::Revoked)
        })
    };
    assert!(down(2) && !down(3), "{out:?}");
    assert!(!out.iter().any(|effect| matches!(effect, Effect::Close { .. })), "{out:?}");
    assert!(root.core.table().contains(c(1)) && !root.core.table().contains(c(2)));
    out.clear();
    root.core.handle(Input::Revoked { contexts: vec![c(1)] }, &mut out);
    let closes = out.iter().any(|effect| {
        matches!(effect, Effect::Close { link: closed, kind: LossKind::Revoked, .. } if *closed == link)
    });
    assert!(closes && out.len() == 1, "the rest comes with the link's end: {out:?}");
}
