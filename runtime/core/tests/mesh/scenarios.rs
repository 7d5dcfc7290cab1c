//! The scenarios that parity rows name, one after the other.

use std::collections::BTreeMap;

use actogen_core::{
    Limits,
    dead::DeadReason,
    id::{Attachment, ContextId, StreamId},
    offence::OffenceKind,
    policy::Side,
    router::Input,
    wire::{
        Destination, Header,
        control::{AddRoute, Announcement, DelRoute, LinkMessage, Loss, LossKind, Outside},
    },
};

use crate::{
    forge::{STAMPS, Trick, signed_by},
    wire::{Lie, Phase, Wire},
    world::{Fate, Outcome, Picks, World, mailbox},
};

pub(crate) fn c(n: u64) -> ContextId {
    ContextId(n)
}

/// Two branches below the root: 1 with 2 and 3 (and 5 below 3), 4 with 6.
fn family() -> World {
    World::tree(Limits::default(), &[0, 1, 1, 0, 3, 4])
}

fn lie(what: &'static str, about: u64) -> Lie {
    Lie { what, about: c(about), structure: 0 }
}

impl World {
    fn up(&self, child: u64) -> usize {
        self.up_wire(c(child)).expect("it is attached")
    }

    /// Has `to` answer whatever `from` asks it now.
    fn assert_answered(&mut self, from: u64, to: u64) {
        let request = self.ask_now(from, to);
        self.settle(from);
        while !self.node(to).inbox.is_empty() {
            self.answer(c(to), 0, true);
        }
        self.settle(to);
        assert_eq!(self.outcome(request), Some(&Outcome::Answered), "{from} asks {to}");
    }

    /// How many withdrawals of a context have been written, by link and stream.
    fn withdrawals(&self, context: u64) -> BTreeMap<(ContextId, StreamId), usize> {
        let mut counts = BTreeMap::new();
        for said in &self.said {
            let LinkMessage::DelRoute(del) = &said.message else { continue };
            let listed = match &del.outside {
                Outside::Listed(ids) => ids.contains(&c(context)),
                _ => false,
            };
            if listed || del.routes.iter().any(|route| route.context == c(context)) {
                *counts.entry((said.to, said.stream)).or_default() += 1;
            }
        }
        counts
    }

    /// Reads everything of an end on one stream.
    fn read_all(&mut self, wire: usize, end: usize, stream: StreamId) {
        while !self.wires[wire].ends[end].inbound[stream.index()].is_empty() {
            self.advance(wire, end, Some(stream));
        }
    }
}

#[test]
fn m01_a_chain_of_ten_siblings_and_cousins_reach_each_other() {
    let mut world = World::tree(Limits::default(), &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1, 1, 11]);
    let pairs =
        [(0, 1), (0, 2), (0, 10), (10, 0), (10, 1), (4, 7), (12, 13), (13, 12), (14, 10), (14, 2)];
    for (from, to) in pairs {
        world.assert_answered(from, to);
    }
    let letters = world.letters.iter().filter(|letter| letter.fate == Some(Fate::Delivered));
    let longest = letters.map(|letter| letter.path.len()).max();
    assert_eq!(longest, Some(12), "from 14 by 11, the root and 1 down to 10");
    assert_eq!(world.honest_offences, []);
}

#[test]
fn m02_an_announcement_precedes_the_first_message_on_every_lane() {
    for lane in 0..4 {
        let mut world = family();
        world.live(c(7));
        world.attach(c(7), c(5));
        let life = world.node(6).life;
        let letter = world.tell((c(7), lane), (c(6), lane), life);
        let stream = StreamId::lane(lane as u8);
        // Nothing moves but this lane: the copies on the others are still to come.
        for child in [7, 5, 3, 1] {
            let wire = world.up(child);
            world.read_all(wire, Wire::PARENT, stream);
        }
        for child in [4, 6] {
            let wire = world.up(child);
            world.read_all(wire, Wire::CHILD, stream);
        }
        assert_eq!(world.letters[letter].fate, Some(Fate::Delivered), "lane {lane}");
        assert_eq!(world.honest_offences, []);
    }
}

#[test]
fn m02_a_bad_announcement_leaves_the_route_as_it_was() {
    let elsewhere = |world: &World| Announcement {
        attachment: Attachment(50),
        parent: c(4),
        ..world.current(c(2)).expect("it has announced itself")
    };
    type Make = Box<dyn Fn(&World) -> Announcement>;
    let rows: [(&str, OffenceKind, Make); 5] = [
        (
            "another's key",
            OffenceKind::BadSignature,
            Box::new(|w| signed_by(c(2), w.above(c(4), c(2)))),
        ),
        (
            "an own parent not behind the link",
            OffenceKind::Misplaced,
            Box::new(move |w| signed_by(c(2), elsewhere(w))),
        ),
        (
            "an older attachment",
            OffenceKind::OldAnnouncement,
            Box::new(|w| {
                let own = w.current(c(2)).expect("it has announced itself");
                signed_by(c(2), Announcement { attachment: Attachment(0), ..own })
            }),
        ),
        (
            "the same attachment elsewhere",
            OffenceKind::OldAnnouncement,
            Box::new(|w| {
                // 5 lives below 3; its own word, but brought by 2 for whom it never was.
                let five = w.current(c(5)).expect("it has announced itself");
                signed_by(c(5), Announcement { parent: c(2), ..five })
            }),
        ),
        (
            "the root below somebody",
            OffenceKind::Misplaced,
            Box::new(|w| signed_by(c(0), w.above(c(0), c(2)))),
        ),
    ];
    for (what, kind, make) in rows {
        let mut world = family();
        let routes = world.node(1).routes.clone();
        let announcement = make(&world);
        let about = announcement.context.0;
        let wire = world.up(2);
        let message = LinkMessage::AddRoute(AddRoute { stamp: STAMPS, announcement });
        let about = if about == 2 { 0 } else { about };
        world.say(wire, Wire::PARENT, message, lie("a bad announcement", about));
        world.settle(1);
        assert_eq!(world.node(1).routes, routes, "{what}");
        assert_eq!(world.offences(1, kind), 1, "{what}: {:?}", world.node(1).offences);
        world.assert_answered(6, 2);
    }
}

#[test]
fn m02_a_subtree_that_moves_keeps_working_at_once() {
    let mut world = family();
    world.assert_answered(6, 5);
    let waiting = world.ask_now(6, 5);
    world.settle(2);
    world.attach(c(3), c(4));
    world.settle(3);
    world.assert_converged();
    assert_eq!(world.node(0).heard.iter().filter(|heard| heard.0 == c(5)).count(), 3);
    let Some(Outcome::Woken(loss)) = world.outcome(waiting) else { panic!("its way is no more") };
    assert!([LossKind::Moved, LossKind::LinkClosed].contains(&loss.kind));
    for (from, to) in [(6, 5), (5, 2), (0, 5), (3, 1)] {
        world.assert_answered(from, to);
    }
    world.assert_all_ended(5);
}

#[test]
fn m02_a_move_is_known_where_the_subtree_was_before_its_link_breaks() {
    let mut world = family();
    let old = world.up(5);
    world.attach(c(5), c(6));
    // 3 does not notice that its link to 5 is dead, but hears from above where 5 is.
    for stalled in &mut world.wires[old].ends[Wire::PARENT].stalled {
        *stalled = true;
    }
    let mut picks = Picks(4);
    while world.step(&mut picks) {}
    assert!(matches!(world.wires[old].ends[Wire::PARENT].phase, Phase::Dying(..)));
    assert!(!world.node(3).routes.contains_key(&c(5)));
    let request = world.ask_now(3, 5);
    while world.step(&mut picks) {}
    world.answer(c(5), 0, true);
    while world.step(&mut picks) {}
    assert_eq!(world.outcome(request), Some(&Outcome::Answered));
}

#[test]
fn m02_nobody_attaches_below_whom_it_takes_to_be_below_itself() {
    let world = family();
    let core = &world.node(3).core;
    assert!(core.may_attach_below(c(4), &[c(0)]));
    assert!(!core.may_attach_below(c(5), &[]), "5 is a child");
    assert!(!core.may_attach_below(c(6), &[c(5), c(4), c(0)]), "5 is said to be above 6");
    assert!(!core.may_attach_below(c(3), &[]) && !core.may_attach_below(c(6), &[c(3)]));
    assert_eq!((core.me(), core.incarnation()), (c(3), world.node(3).life));
    assert!(format!("{core:?}").contains("me: C3"));
    let links: Vec<_> = core.links().map(|(_, state)| (state.peer, state.side)).collect();
    assert_eq!(links, [(c(1), Side::Parent), (c(5), Side::Child)]);
}

#[test]
fn m03_a_siblings_withdrawal_of_the_root_or_of_anybody_is_refused_and_counted() {
    for victim in [0, 1, 3, 4, 5, 6] {
        let mut world = family();
        let waiting = world.ask_now(2, 6);
        let other = world.ask_now(5, 0);
        world.settle(1);
        let routes: Vec<_> = world.nodes.values().map(|node| node.routes.clone()).collect();
        let withdrawn = world.withdrawn(c(victim));
        let loss = Loss::new(LossKind::Silent, c(victim), "a lie");
        let del = DelRoute { stamp: STAMPS, routes: vec![withdrawn], outside: Outside::None, loss };
        let wire = world.up(2);
        world.say(
            wire,
            Wire::PARENT,
            LinkMessage::DelRoute(del),
            lie("a forged withdrawal", victim),
        );
        world.settle(2);
        let now: Vec<_> = world.nodes.values().map(|node| node.routes.clone()).collect();
        assert_eq!(now, routes, "about {victim}");
        assert_eq!(world.offences(1, OffenceKind::ForgedWithdrawal), 1, "about {victim}");
        let offence = world.node(1).offences[0];
        assert_eq!((offence.offender, offence.about), (c(2), c(victim)));
        assert_eq!((world.outcome(waiting), world.outcome(other)), (None, None));
        world.assert_all_ended(victim);
        assert_eq!(world.outcome(waiting), Some(&Outcome::Answered));
    }
}

#[test]
fn m03_a_child_cannot_withdraw_the_rest_of_the_tree_nor_a_parent_what_is_inside() {
    let mut world = family();
    let tricks = [Trick::WithdrawOutside, Trick::WithdrawOthers, Trick::WithdrawDown];
    for (seed, trick) in tricks.into_iter().enumerate() {
        assert!(world.forge(c(3), trick, &mut Picks(seed as u64)));
        world.settle(1);
    }
    assert_eq!(world.offences(1, OffenceKind::ForgedWithdrawal), 2);
    assert_eq!(world.offences(5, OffenceKind::ForgedWithdrawal), 1);
    world.assert_converged();
}

#[test]
fn m04_guessed_handles_and_forged_dead_replies_end_nobodys_call() {
    let mut world = family();
    let request = world.ask_now(2, 6);
    world.settle(1);
    for seed in 0..50 {
        for trick in [Trick::GuessedDead, Trick::SpoofDead, Trick::StrangersDead] {
            assert!(world.forge(c(5), trick, &mut Picks(seed)));
            world.settle(seed);
        }
    }
    assert_eq!(world.outcome(request), None);
    assert_eq!(world.offences(3, OffenceKind::BadSource), 50, "in the name of 6, at the first hop");
    assert_eq!(world.offences(2, OffenceKind::StrangersAnswer), 100);
    world.assert_all_ended(2);
    assert_eq!(world.outcome(request), Some(&Outcome::Answered));
}

#[test]
fn m05_a_withdrawal_goes_once_per_stream_and_link_to_those_who_had_addressed_the_lost() {
    let mut world = family();
    for (from, to) in [(2, 6), (6, 5), (0, 5)] {
        world.assert_answered(from, to);
    }
    world.said.clear();
    world.kill(c(3), &mut Picks(1));
    world.settle(2);
    // 5 was behind 3; 6 had addressed it, by 4 and the root. 2 had not, nor had anybody addressed 3.
    let expected: BTreeMap<_, _> = [0, 4, 6]
        .into_iter()
        .flat_map(|to| StreamId::all().map(move |s| ((c(to), s), 1)))
        .collect();
    assert_eq!(world.withdrawals(5), expected);
    let up: BTreeMap<_, _> = StreamId::all().map(|stream| ((c(0), stream), 1)).collect();
    assert_eq!(world.withdrawals(3), up);
    // Told once, a link is not told again until it addresses the id again.
    world.said.clear();
    world.kill(c(1), &mut Picks(1));
    world.settle(3);
    assert_eq!(world.withdrawals(5), BTreeMap::new());
}

#[test]
fn m05_a_link_over_its_quota_of_notes_hears_of_every_withdrawal() {
    let limits = Limits { addressed_per_link: 1, ..Limits::default() };
    let mut world = World::tree(limits, &[0, 1, 1, 0, 4, 4]);
    for to in [5, 6, 4] {
        world.assert_answered(2, to);
    }
    world.said.clear();
    world.kill(c(6), &mut Picks(1));
    world.settle(1);
    assert_eq!(world.withdrawals(6).keys().filter(|(to, _)| *to == c(2)).count(), 5);
    assert!(world.withdrawals(6).keys().all(|(to, _)| *to != c(3)), "3 has addressed nobody");
    // When 1 loses its parent, 2 is told of everything but what it can still reach.
    let (waiting, near) = (world.ask_now(2, 5), world.ask_now(2, 3));
    world.settle(2);
    let wire = world.up(1);
    world.cut(wire, &mut Picks(1));
    world.settle(3);
    assert!(matches!(world.outcome(waiting), Some(Outcome::Woken(_))));
    assert_eq!(world.outcome(near), None, "3 can still be reached");
}

#[test]
fn m06_a_waiter_learns_at_once_of_whoever_vanishes() {
    // Who asks whom, who dies: a child, a grandchild, an intermediary, a near sibling, a far one, a parent, the way up.
    let rows = [
        (0, 1, 1),
        (1, 5, 5),
        (0, 5, 3),
        (2, 3, 3),
        (2, 6, 6),
        (2, 6, 4),
        (5, 3, 3),
        (5, 6, 3),
        (5, 6, 1),
    ];
    for (from, to, dies) in rows {
        let mut world = family();
        let waiting = world.ask_now(from, to);
        world.settle(1);
        world.kill(c(dies), &mut Picks(dies));
        world.settle(2);
        let Some(Outcome::Woken(loss)) = world.outcome(waiting) else {
            panic!("{from} still waits for {to} after {dies} has died")
        };
        assert_eq!(loss.context, c(dies), "{loss}");
    }
}

#[test]
fn m06_a_waiter_by_the_way_to_a_former_parent_learns_of_its_end_and_one_by_the_new_does_not() {
    let mut world = family();
    let old_way = world.ask_now(3, 2);
    let inside = world.ask_now(3, 5);
    world.settle(1);
    let wire = world.up(3);
    world.link(c(3), c(4));
    assert!(world.wires[wire].broken, "the old link is closed");
    let new_way = world.ask_now(3, 6);
    assert_eq!(world.outcome(old_way), None, "an answer may still come by it");
    world.settle(2);
    assert!(matches!(world.outcome(old_way), Some(Outcome::Woken(_))));
    assert_eq!((world.outcome(new_way), world.outcome(inside)), (None, None));
    let told: Vec<_> = world.node(3).heard.iter().filter(|heard| heard.0 == c(1)).collect();
    assert!(told.is_empty(), "1 can be reached by the new way");
    world.assert_converged();
    world.assert_all_ended(3);
}

#[test]
fn m06_a_withdrawal_overtakes_no_answer_that_was_sent_before_it() {
    let mut world = family();
    let request = world.ask_now(2, 6);
    world.settle(1);
    world.answer(c(6), 0, true);
    let wire = world.up(6);
    world.cut_with(wire, LossKind::Silent, |len| len);
    // The link's end is known on every other lane before the answer moves on its own.
    let lane = mailbox(c(2), 2).stream();
    let stall = |world: &mut World, stalled| {
        for wire in &mut world.wires {
            for end in &mut wire.ends {
                end.stalled[lane.index()] = stalled;
            }
        }
    };
    world.advance(wire, Wire::PARENT, Some(lane));
    world.advance(wire, Wire::PARENT, None);
    stall(&mut world, true);
    let mut picks = Picks(3);
    while world.step(&mut picks) {}
    assert!(!world.node(0).routes.contains_key(&c(6)), "nothing new goes there");
    assert_eq!(world.outcome(request), None);
    stall(&mut world, false);
    world.settle(4);
    assert_eq!(world.outcome(request), Some(&Outcome::Answered));
    assert_eq!(world.honest_offences, []);
}

#[test]
fn m07_bad_sources_and_authorities_are_refused_at_the_first_hop() {
    for (source, authority, kind) in [
        (Some(4), None, OffenceKind::BadSource),
        (Some(0), None, OffenceKind::BadSource),
        (Some(1), None, OffenceKind::BadSource),
        (Some(2), None, OffenceKind::BadSource),
        (None, Some(0), OffenceKind::BadAuthority),
        (Some(5), Some(1), OffenceKind::BadAuthority),
    ] {
        let mut world = family();
        let mut header = Header::to(mailbox(c(6), 1));
        header.destination = Some(Destination { context: c(6), incarnation: None });
        header.source = source.map(ContextId);
        header.authority = authority.map(ContextId);
        let wire = world.up(3);
        let about = source.filter(|&n| n != 5).or(authority).expect("one is bad");
        world.write_forged(wire, Wire::PARENT, &header, b"hello", lie("a bad source", about));
        world.settle(1);
        assert_eq!(world.offences(1, kind), 1, "{source:?} {authority:?}");
        assert_eq!(
            (world.node(1).offences[0].offender, world.node(1).offences[0].about),
            (c(3), c(about))
        );
        assert_eq!(world.node(0).offences, [], "it went no further");
    }
}

#[test]
fn m10_contexts_that_never_were_that_are_gone_and_that_live_anew_have_their_own_reasons() {
    let mut world = family();
    let old = world.node(6).life;
    let never = world.ask_now(2, 77);
    world.kill(c(6), &mut Picks(1));
    world.settle(1);
    let gone = world.ask((c(2), 0), (c(6), 0), old);
    world.settle(2);
    world.live(c(6));
    world.attach(c(6), c(4));
    world.settle(3);
    let stale = world.ask((c(2), 0), (c(6), 0), old);
    world.settle(4);
    let dead = |request| match world.outcome(request) {
        Some(Outcome::Dead(reason)) => *reason,
        other => panic!("{other:?}"),
    };
    assert_eq!(
        [never, gone, stale].map(dead),
        [DeadReason::NoRoute, DeadReason::RouteLost, DeadReason::Stale]
    );
}

#[test]
fn r01_a_thousand_requests_to_absent_contexts_leave_nothing_behind() {
    let mut world = family();
    let requests: Vec<_> = (0..1000).map(|n| world.ask_now(n % 7, 1000 + n)).collect();
    world.settle(1);
    for request in requests {
        assert_eq!(world.outcome(request), Some(&Outcome::Dead(DeadReason::NoRoute)));
    }
    for node in world.nodes.values() {
        assert!(node.pending.is_empty() && node.core.table().tombstones() == 0);
    }
    assert_eq!(world.node(0).noted.len(), 0, "the root has forwarded nothing");
    world.assert_converged();
    world.assert_baseline_after_all_left(2);
}

#[test]
fn r04_an_address_of_an_earlier_life_is_stale_even_beside_the_new_one() {
    let mut world = family();
    let old = world.node(5).life;
    world.kill(c(5), &mut Picks(1));
    world.live(c(5));
    world.attach(c(5), c(3));
    world.settle(1);
    for from in [3, 1, 0, 6] {
        let request = world.ask((c(from), 0), (c(5), 0), old);
        world.settle(2);
        assert_eq!(world.outcome(request), Some(&Outcome::Dead(DeadReason::Stale)));
        world.assert_answered(from, 5);
    }
}

#[test]
fn r05_a_repeated_stamp_costs_its_sender_the_link_and_nobody_else_anything() {
    let mut world = family();
    assert!(world.repeat_stamp(c(3)));
    world.settle(1);
    assert_eq!(world.offences(1, OffenceKind::BadCopy), 1);
    assert_eq!((world.parent_of(c(3)), world.parent_of(c(2))), (None, Some(c(1))));
    world.assert_converged();
    world.assert_answered(2, 6);
    world.assert_answered(3, 5);
}

#[test]
fn r07_an_old_link_cannot_end_the_new_one() {
    let mut world = family();
    let old = world.up(3);
    // The parent has not noticed that the link broke; 3 comes back by a new one.
    world.attach(c(3), c(1));
    let new = world.ends[&world.node(3).parent.expect("it is attached")].0;
    for stream in StreamId::all() {
        world.read_all(new, Wire::PARENT, stream);
    }
    let routes = world.node(1).routes.clone();
    let link = world.wires[old].ends[Wire::PARENT].link;
    assert!(matches!(world.wires[old].ends[Wire::PARENT].phase, Phase::Dying(..)));
    let withdrawn = world.withdrawn(c(3));
    let own = world.current(c(3)).expect("it has announced itself");
    let loss = Loss::new(LossKind::Silent, c(3), "late");
    let garbage = [
        LinkMessage::DelRoute(DelRoute {
            stamp: 900,
            routes: vec![withdrawn],
            outside: Outside::None,
            loss,
        }),
        LinkMessage::AddRoute(AddRoute {
            stamp: 901,
            announcement: signed_by(c(3), Announcement { attachment: Attachment(1), ..own }),
        }),
        LinkMessage::Detaching,
    ];
    for message in garbage {
        let stream = StreamId::CONTROL;
        world.input(c(1), Input::Message { link, stream, message });
        assert_eq!(world.node(1).routes, routes);
    }
    world.settle(3);
    assert_eq!(world.node(1).routes, routes);
    world.assert_answered(6, 5);
}

#[test]
fn r13_ups_and_downs_come_in_turn_while_a_context_flaps() {
    let mut world = family();
    for round in 0..20 {
        if round % 3 == 0 {
            world.kill(c(5), &mut Picks(round));
            world.live(c(5));
            world.attach(c(5), c(3));
        } else {
            world.attach(c(5), c([3, 6, 2][round as usize % 3]));
        }
        world.settle(round);
    }
    let heard: Vec<_> =
        world.node(0).heard.iter().filter(|heard| heard.0 == c(5)).map(|heard| heard.1).collect();
    assert!(heard.len() >= 40);
    for (n, &up) in heard.iter().enumerate() {
        assert_eq!(up, n % 2 == 0, "{heard:?}");
    }
    assert_eq!(heard.last(), Some(&true));
}

#[test]
fn m02_a_context_whose_old_place_is_announced_to_itself_shows_its_newer_word() {
    let mut world = World::tree(Limits::default(), &[0, 0, 1]);
    let old = world.current(c(1)).expect("it has announced itself");
    world.attach(c(1), c(2));
    world.settle(1);
    world.said.clear();
    let link = world.wires[world.up(3)].ends[Wire::PARENT].link;
    for (stamp, announcement) in
        [(STAMPS, old), (STAMPS + 1, signed_by(c(1), world.above(c(1), c(3))))]
    {
        let message = LinkMessage::AddRoute(AddRoute { stamp, announcement });
        world.input(c(1), Input::Message { link, stream: StreamId::CONTROL, message });
    }
    let kinds: Vec<_> = world.node(1).offences.iter().map(|offence| offence.kind).collect();
    assert_eq!(kinds, [OffenceKind::OldAnnouncement, OffenceKind::Misplaced]);
    let [said] = &world.said[..] else { panic!("one word: {:?}", world.said) };
    let LinkMessage::AddRoute(add) = &said.message else { panic!("{said:?}") };
    assert_eq!(
        (said.to, add.announcement.parent, add.announcement.attachment),
        (c(3), c(2), Attachment(2))
    );
    world.settle(2);
    world.assert_converged();
}

#[test]
fn a_parent_that_brings_an_old_word_is_shown_nothing() {
    let mut world = family();
    let old = world.current(c(5)).expect("it has announced itself");
    world.attach(c(5), c(6));
    world.attach(c(5), c(3));
    world.settle(1);
    world.said.clear();
    let link = world.wires[world.up(3)].ends[Wire::CHILD].link;
    let message = LinkMessage::AddRoute(AddRoute { stamp: STAMPS, announcement: old });
    world.input(c(3), Input::Message { link, stream: StreamId::CONTROL, message });
    assert_eq!(world.offences(3, OffenceKind::OldAnnouncement), 1);
    assert!(world.said.is_empty(), "{:?}", world.said);
    assert!(world.node(3).routes.contains_key(&c(5)));
}

#[test]
fn a_child_that_says_it_is_leaving_is_let_go_and_a_parent_cannot_say_so() {
    let mut world = family();
    let wire = world.up(3);
    let at_parent = world.wires[wire].ends[Wire::PARENT].link;
    let at_child = world.wires[wire].ends[Wire::CHILD].link;
    let leaving =
        |link| Input::Message { link, stream: StreamId::CONTROL, message: LinkMessage::Detaching };
    world.input(c(3), leaving(at_child));
    assert_eq!(world.offences(3, OffenceKind::Malformed), 1);
    assert!(world.wires[wire].is_up());
    world.input(c(1), leaving(at_parent));
    world.settle(1);
    assert_eq!(world.parent_of(c(3)), None);
    world.assert_converged();
    world.assert_answered(3, 5);
    let away = world.ask_now(2, 5);
    world.settle(2);
    assert_eq!(world.outcome(away), Some(&Outcome::Dead(DeadReason::RouteLost)));
}

#[test]
fn a_dead_reply_to_an_answer_is_never_made() {
    let mut world = family();
    let request = world.ask_now(2, 6);
    world.settle(1);
    world.kill(c(2), &mut Picks(1));
    world.settle(2);
    let letters = world.letters.len();
    world.answer(c(6), 0, true);
    world.settle(3);
    assert_eq!(world.letters.len(), letters + 1, "the answer is the last word");
    assert!(matches!(world.letters[letters].fate, Some(Fate::Dead(_))));
    assert_eq!(world.outcome(request), None, "whoever asked is no more");
}
