//! What a router makes of direct links: a second way to their peer, and nothing else (protocol rules 8 and 9).

use actogen_core::{
    Limits,
    id::{ContextId, Incarnation, LinkId, StreamId},
    offence::OffenceKind,
    policy::Side,
    route::{path::Way, propagate::Whom},
    router::{Effect, Input},
    wire::{
        control::{Contexts, DelRoute, LinkMessage, Loss, LossKind, Outside, Withdrawn},
        direct::Lost,
    },
};

use crate::{
    node::Node,
    scenarios::c,
    words::{announced, announcement_of},
};

const UP: LinkId = LinkId(1);
const DOWN: LinkId = LinkId(2);
const BESIDE: LinkId = LinkId(9);
const TREE: Option<Way> = Some(Way::Tree);
const LINK: Way = Way::Direct(BESIDE);

/// 5 below the root, with a child 6, and a direct link to 7, which is somewhere else.
fn five() -> Node {
    let mut five = Node::new(c(5), Incarnation::new(1, 5), &Limits::default());
    up(&mut five, UP, 0, Side::Parent);
    up(&mut five, DOWN, 6, Side::Child);
    tell(&mut five, DOWN, announce(1, 6, 5));
    let effects = up(&mut five, BESIDE, 7, Side::Direct);
    assert_eq!(effects, [Effect::Change { context: c(7), to: LINK }], "nobody else hears of it");
    five
}

fn up(node: &mut Node, link: LinkId, peer: u64, side: Side) -> Vec<Effect> {
    let mut out = Vec::new();
    node.core.handle(Input::LinkUp { link, peer: c(peer), side }, &mut out);
    out
}

fn down(node: &mut Node, link: LinkId, peer: u64) -> Vec<Effect> {
    let mut out = Vec::new();
    let loss = Loss::new(LossKind::LinkClosed, c(peer), "it broke");
    node.core.handle(Input::LinkDown { link, loss }, &mut out);
    out
}

fn announce(stamp: u64, context: u64, parent: u64) -> LinkMessage {
    announcement_of(stamp, announced(context, parent, 1))
}

fn tell(node: &mut Node, link: LinkId, message: LinkMessage) -> Vec<Effect> {
    let mut out = Vec::new();
    node.core.handle(Input::Message { link, stream: StreamId::CONTROL, message }, &mut out);
    out
}

fn lost(node: &mut Node, link: LinkId, number: u64) -> Vec<Effect> {
    let lost = Lost { incarnation: Incarnation::new(1, 7), number };
    let mut out = Vec::new();
    node.core.handle(Input::Lost { link, peer: c(7), lost }, &mut out);
    out
}

fn broken(context: u64, way: Way, other: Option<Way>) -> Effect {
    Effect::Broken { context: c(context), way, other }
}

fn woken(effects: &[Effect]) -> Vec<Whom> {
    let wakes = effects.iter().filter_map(|effect| match effect {
        Effect::Wake { wake, .. } => Some(wake.whom.clone()),
        _ => None,
    });
    wakes.collect()
}

fn ways(effects: &[Effect]) -> Vec<Effect> {
    let is_way = |effect: &&Effect| {
        matches!(effect, Effect::Change { .. } | Effect::Broken { .. } | Effect::AskAgain { .. })
    };
    effects.iter().filter(is_way).cloned().collect()
}

fn tells(effects: &[Effect]) -> Vec<(ContextId, Way)> {
    let told = effects.iter().filter_map(|effect| match effect {
        Effect::TellLost { context, by, .. } => Some((*context, *by)),
        _ => None,
    });
    told.collect()
}

#[test]
fn m03_a_direct_link_announces_and_withdraws_nothing_and_is_never_a_parent() {
    let mut five = five();
    assert_eq!(five.core.parent(), Some(UP));
    let withdrawn = Withdrawn {
        context: c(6),
        incarnation: Incarnation::new(1, 6),
        attachment: five.core.table().get(c(6)).unwrap().announcement.attachment,
    };
    let withdrawal = |stamp, routes, outside| {
        let loss = Loss::new(LossKind::LinkClosed, c(6), "a lie");
        LinkMessage::DelRoute(DelRoute { stamp, routes, outside, loss })
    };
    let lies = [
        (announce(1, 7, 5), OffenceKind::Misplaced),
        (announce(2, 8, 7), OffenceKind::Misplaced),
        (announce(3, 6, 7), OffenceKind::Misplaced),
        (withdrawal(4, vec![withdrawn], Outside::None), OffenceKind::ForgedWithdrawal),
        (withdrawal(5, vec![], Outside::Listed(vec![c(0)])), OffenceKind::ForgedWithdrawal),
        (withdrawal(6, vec![], Outside::AllExcept(vec![])), OffenceKind::ForgedWithdrawal),
        (LinkMessage::Above(Contexts { contexts: vec![c(7)] }), OffenceKind::Malformed),
        (LinkMessage::Detaching, OffenceKind::Malformed),
    ];
    for (lie, kind) in lies {
        let shown = format!("{lie:?}");
        match &tell(&mut five, BESIDE, lie)[..] {
            [Effect::Offence(offence)] => {
                assert_eq!((offence.kind, offence.offender), (kind, c(7)), "{shown}");
            }
            other => panic!("{shown}: {other:?}"),
        }
    }
    assert_eq!(five.core.table().len(), 1);
}

#[test]
fn who_is_addressed_by_a_direct_link_is_not_noted_since_it_leads_nowhere() {
    let mut five = five();
    let mut out = Vec::new();
    five.core.handle(Input::Addressed { link: BESIDE, context: c(6), via: DOWN }, &mut out);
    let mut notes = five.core.links().flat_map(|(_, state)| state.addressed());
    assert_eq!((notes.next(), out), (None, vec![]));
}

#[test]
fn a_direct_link_that_is_lost_wakes_calls_to_its_peer_alone() {
    let mut five = five();
    let effects = down(&mut five, BESIDE, 7);
    let expected = [broken(7, LINK, TREE), Effect::AskAgain { context: c(7) }];
    assert_eq!(ways(&effects), expected);
    assert_eq!(woken(&effects), [Whom::Calls(c(7))]);
    assert_eq!(tells(&effects), [(c(7), Way::Tree)]);
    let first = effects.iter().position(|effect| matches!(effect, Effect::TellLost { .. }));
    let second = effects.iter().position(|effect| matches!(effect, Effect::Broken { .. }));
    assert!(first < second, "before anything goes by the way that is left");
    assert!(!effects.iter().any(|effect| matches!(effect, Effect::Down { .. })));
}

#[test]
fn each_word_about_a_loss_is_newer_than_the_one_before() {
    let mut five = five();
    let mut numbers = Vec::new();
    for _ in 0..3 {
        let effects = down(&mut five, BESIDE, 7);
        numbers.extend(effects.iter().filter_map(|effect| match effect {
            Effect::TellLost { lost, .. } => Some((lost.incarnation, lost.number)),
            _ => None,
        }));
        up(&mut five, BESIDE, 7, Side::Direct);
    }
    assert_eq!(numbers, [1, 2, 3].map(|number| (Incarnation::new(1, 5), number)));
}

#[test]
fn a_direct_link_outlasts_the_tree_and_its_end_is_the_last_then() {
    let mut five = five();
    let effects = down(&mut five, UP, 0);
    assert_eq!(tells(&effects), [(c(7), LINK)]);
    let expected = [broken(7, Way::Tree, Some(LINK)), Effect::AskAgain { context: c(7) }];
    assert_eq!(ways(&effects), expected);
    assert_eq!(woken(&effects), [Whom::Calls(c(7)), Whom::OutsideExcept(vec![c(7)])]);
    let effects = down(&mut five, BESIDE, 7);
    assert_eq!(ways(&effects), [broken(7, LINK, None)]);
    assert_eq!(woken(&effects), [Whom::Context(c(7))]);
    assert!(effects.contains(&Effect::Remove { context: c(7) }));
    assert_eq!(tells(&effects), [], "there is no way to say it");
    let effects = up(&mut five, LinkId(20), 0, Side::Parent);
    assert_eq!(tells(&effects), [(c(7), Way::Tree)], "now there is");
}

#[test]
fn a_withdrawal_removes_the_candidate_of_the_tree_alone() {
    let mut five = five();
    let withdrawal = |stamp, context| {
        let loss = Loss::new(LossKind::LinkClosed, c(context), "gone");
        let outside = Outside::Listed(vec![c(context)]);
        LinkMessage::DelRoute(DelRoute { stamp, routes: Vec::new(), outside, loss })
    };
    let expected = [broken(7, Way::Tree, Some(LINK)), Effect::AskAgain { context: c(7) }];
    assert_eq!(ways(&tell(&mut five, UP, withdrawal(1, 7))), expected);
    assert_eq!(ways(&tell(&mut five, UP, withdrawal(2, 8))), [], "another one");
    assert_eq!(five.core.candidates(c(7)).best(), Some(LINK));
}

#[test]
fn the_tree_may_be_found_and_lost_below_as_well() {
    let mut five = five();
    // 7 comes to hang below 6, and its child link goes.
    let effects = tell(&mut five, DOWN, announce(2, 7, 6));
    assert!(ways(&effects).contains(&broken(7, Way::Tree, Some(LINK))), "it is another way now");
    assert_eq!(five.core.candidates(c(7)).tree, Some(DOWN));
    let effects = down(&mut five, DOWN, 6);
    assert!(ways(&effects).contains(&broken(7, Way::Tree, Some(LINK))));
    let mut whom = woken(&effects);
    whom.sort_by_key(|whom| format!("{whom:?}"));
    // Of its other copies none has come.
    whom.dedup();
    assert_eq!(whom, [Whom::Calls(c(7)), Whom::Context(c(6))]);
}

#[test]
fn a_newer_link_takes_the_place_of_a_stale_one_whose_waits_end_with_it() {
    let mut five = five();
    let newer = LinkId(10);
    let effects = up(&mut five, newer, 7, Side::Direct);
    let to = Way::Direct(newer);
    assert_eq!(ways(&effects), [broken(7, LINK, Some(to)), Effect::Change { context: c(7), to }]);
    let is_closed = |effect: &Effect| matches!(effect, Effect::Close { link: BESIDE, .. });
    assert!(effects.iter().any(is_closed));
    let effects = down(&mut five, BESIDE, 7);
    assert_eq!(woken(&effects), [Whom::Calls(c(7))]);
    assert_eq!((ways(&effects).len(), tells(&effects)), (1, vec![]), "its watches are asked again");
    assert_eq!(five.core.candidates(c(7)).direct, Some(newer));
}

#[test]
fn a_word_of_loss_by_the_tree_ends_the_link_once_and_by_the_link_the_tree() {
    let mut five = five();
    assert_eq!(lost(&mut five, BESIDE, 1), [broken(7, Way::Tree, Some(LINK))]);
    let effects = lost(&mut five, UP, 2);
    assert_eq!(ways(&effects), [broken(7, LINK, TREE)]);
    let is_closed = |effect: &Effect| matches!(effect, Effect::Close { link: BESIDE, .. });
    assert!(effects.iter().any(is_closed));
    assert_eq!(woken(&effects), [], "what has come by it is still to be read");
    assert_eq!(lost(&mut five, BESIDE, 3), [], "it is no way any more");
    up(&mut five, LinkId(10), 7, Side::Direct);
    assert_eq!(lost(&mut five, UP, 2), [], "a late copy is not about the newer link");
    assert_eq!(woken(&down(&mut five, BESIDE, 7)), [Whom::Calls(c(7))]);
    down(&mut five, LinkId(10), 7);
    assert_eq!(lost(&mut five, UP, 4), [Effect::AskAgain { context: c(7) }]);
    assert_eq!(lost(&mut five, UP, 4), []);
}

#[test]
fn a_direct_link_without_a_tree_is_taken_at_once() {
    let mut root = Node::new(c(0), Incarnation::new(1, 1), &Limits::default());
    let effects = up(&mut root, BESIDE, 7, Side::Direct);
    assert_eq!(effects, [broken(7, Way::Tree, Some(LINK))]);
}
