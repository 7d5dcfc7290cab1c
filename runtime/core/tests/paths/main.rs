//! Properties of paths and direct links (protocol rules 7 and 9): what one context sends another arrives in order, whatever breaks
//! and whichever words get lost; nothing waits for longer than the rule says or takes more room; everything has one fate.

mod dials;
mod pair;

use std::time::Duration;

use actogen_core::{
    id::{ContextId, PathEpoch, StreamId},
    route::{
        epochs::Epochs,
        path::{Pass, Paths, Way},
    },
};
use proptest::{
    prelude::*,
    test_runner::{FileFailurePersistence, RngSeed},
};

use pair::{Fate, Outcome, Pair};

fn config() -> ProptestConfig {
    let defaults = ProptestConfig::default();
    let rng_seed = match defaults.rng_seed {
        // The same cases in every run unless somebody asks for others.
        RngSeed::Random => RngSeed::Fixed(2024),
        fixed => fixed,
    };
    let file = FileFailurePersistence::Direct("proptest-regressions/paths.txt");
    ProptestConfig { rng_seed, failure_persistence: Some(Box::new(file)), ..defaults }
}

#[derive(Clone, Debug)]
enum Action {
    Send { end: usize, lane: usize, bytes: usize, is_request: bool, is_foreign: bool },
    Watch { end: usize, lane: usize },
    EndActor { end: usize },
    Read(Vec<u64>),
    Wait { millis: u64 },
    AskTicket { end: usize },
    Break(u64),
    Notice { end: usize },
    Detach { end: usize, pick: u64 },
    Part(u64),
    Attach { end: usize },
    Refuse { end: usize, stream: usize },
}

fn action() -> impl Strategy<Value = Action> {
    let end = || 0..2_usize;
    prop_oneof![
        20 => (end(), 0..2_usize, 1..200_usize, any::<bool>(), prop::bool::weighted(0.1))
            .prop_map(|(end, lane, bytes, is_request, is_foreign)| {
                Action::Send { end, lane, bytes, is_request, is_foreign }
            }),
        1 => (end(), 0..2_usize).prop_map(|(end, lane)| Action::Watch { end, lane }),
        1 => prop::option::weighted(0.1, end()).prop_map(|end| {
            end.map_or(Action::Wait { millis: 1 }, |end| Action::EndActor { end })
        }),
        12 => prop::collection::vec(any::<u64>(), 1..8).prop_map(Action::Read),
        2 => (1..3000_u64).prop_map(|millis| Action::Wait { millis }),
        6 => end().prop_map(|end| Action::AskTicket { end }),
        3 => any::<u64>().prop_map(Action::Break),
        4 => end().prop_map(|end| Action::Notice { end }),
        1 => (end(), any::<u64>()).prop_map(|(end, pick)| Action::Detach { end, pick }),
        1 => any::<u64>().prop_map(Action::Part),
        8 => end().prop_map(|end| Action::Attach { end }),
        2 => (end(), 0..5_usize).prop_map(|(end, stream)| Action::Refuse { end, stream }),
    ]
}

fn act(pair: &mut Pair, action: &Action) {
    match *action {
        Action::Send { end, lane, bytes, is_request, is_foreign } => {
            pair.send(end, lane, bytes, is_request, is_foreign);
        }
        Action::Watch { end, lane } => {
            pair.watch(end, lane);
        }
        Action::EndActor { end } => pair.end_actor(end),
        Action::Read(ref picks) => {
            for &pick in picks {
                pair.step(pick);
            }
        }
        Action::Wait { millis } => pair.wait(Duration::from_millis(millis)),
        Action::AskTicket { end } => pair.ask_ticket(end),
        Action::Break(pick) => pair.break_beside(pick),
        Action::Notice { end } => {
            pair.notice_break(end);
        }
        Action::Detach { end, pick } => pair.detach(end, pick),
        Action::Part(pick) => pair.part(pick),
        Action::Attach { end } => pair.attach(end),
        Action::Refuse { end, stream } => pair.refuse(end, stream),
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn whatever_breaks_the_order_holds_and_everything_has_one_fate(actions in prop::collection::vec(action(), 1..150)) {
        let mut pair = Pair::new();
        for action in &actions {
            act(&mut pair, action);
            pair.check_bounds();
        }
        pair.settle();
        pair.check_bounds();
        pair.fates();
        prop_assert_eq!(pair.open_requests(), Vec::<usize>::new(), "they never ended");
    }
}

const SECOND: Duration = Duration::from_secs(1);

/// Two contexts with a direct link, to which both have gone over.
fn linked() -> Pair {
    let mut pair = Pair::new();
    pair.ask_ticket(0);
    pair.read_all();
    pair
}

#[test]
fn both_ends_go_over_to_a_direct_link_at_once_and_neither_waits_for_the_other() {
    let mut pair = linked();
    for end in 0..2 {
        let request = pair.send(end, 0, 10, true, false).unwrap();
        assert_eq!(pair.beside(), 1);
        pair.read_all();
        assert_eq!(pair.outcome(request), Some(Outcome::Answered));
        pair.send(end, 0, 10, false, true);
        assert_eq!(pair.beside(), 0, "what is on foreign authority takes the tree");
        pair.read_all();
    }
}

#[test]
fn what_is_sent_during_a_change_waits_for_the_flush_and_for_five_seconds_at_most() {
    for is_answered in [true, false] {
        let mut pair = Pair::new();
        pair.ask_ticket(0);
        for _ in 0..2 {
            pair.step(0);
        }
        // The link stands; the flushes are under way.
        let request = pair.send(0, 0, 10, true, false).unwrap();
        assert_eq!(pair.beside(), 0);
        if is_answered {
            pair.read_all();
        } else {
            pair.wait(5 * SECOND);
            assert_eq!(pair.beside(), 0, "the old path stays");
            pair.read_all();
            pair.send(0, 0, 10, false, false);
            assert_eq!(pair.beside(), 0, "and late answers are ignored");
            pair.read_all();
        }
        assert_eq!(pair.outcome(request), Some(Outcome::Answered));
    }
}

#[test]
fn a_lost_direct_link_wakes_calls_at_once_and_leaves_watches_to_be_answered_once() {
    let mut pair = linked();
    let watch = pair.watch(0, 0);
    pair.read_all();
    let call = pair.send(0, 0, 10, true, false).unwrap();
    pair.break_beside(0);
    assert!(pair.notice_break(0));
    assert_eq!((pair.outcome(call), pair.outcome(watch)), (Some(Outcome::Woken), None));
    // The other end has not noticed, and would answer by the link.
    pair.end_actor(1);
    let later = pair.send(0, 1, 10, true, false).unwrap();
    pair.read_all();
    assert_eq!(pair.outcome(later), Some(Outcome::Answered), "it was told before it was asked");
    assert_eq!(pair.outcome(watch), Some(Outcome::Answered));
    pair.settle();
    assert!(pair.open_requests().is_empty());
    assert_eq!(pair.fates().get(&Fate::Dropped), None);
}

#[test]
fn losing_the_last_way_ends_watches_too() {
    let mut pair = linked();
    let watch = pair.watch(0, 0);
    pair.read_all();
    pair.detach(0, 0);
    assert_eq!(pair.outcome(watch), None, "the direct link is left");
    pair.break_beside(0);
    assert!(pair.notice_break(0));
    assert_eq!(pair.outcome(watch), Some(Outcome::Woken));
    let call = pair.send(0, 0, 10, true, false).unwrap();
    assert_eq!(pair.outcome(call), Some(Outcome::Dead), "there is no way");
}

#[test]
fn answers_come_by_the_direct_link_once_the_other_end_has_been_told_that_the_tree_is_lost() {
    let mut pair = Pair::new();
    pair.ask_ticket(0);
    for _ in 0..2 {
        pair.step(0);
    }
    // Both have given up their flushes, and have gone on by the tree.
    pair.wait(5 * SECOND);
    pair.detach(0, 0);
    let call = pair.send(0, 0, 10, true, false).unwrap();
    pair.read_all_beside(1);
    pair.read_all_beside(0);
    assert_eq!(pair.outcome(call), Some(Outcome::Answered));
}

#[test]
fn a_new_life_that_is_taken_for_a_broken_path_is_told_and_goes_on() {
    let (a, b, lane) = (ContextId(1), ContextId(2), StreamId::lane(0));
    let mut epochs = Epochs::new(10);
    epochs.take(a, lane, PathEpoch(3)).unwrap();
    let mut paths = Paths::new(100, 10);
    let mut send = |epochs: &mut Epochs, told| {
        if let Some(epoch) = told {
            paths.behind(b, lane, epoch);
        }
        match paths.send(b, lane, 1).unwrap() {
            Pass::Go { way: Way::Tree, epoch } => epochs.take(a, lane, epoch),
            other => panic!("{other:?}"),
        }
    };
    let late = send(&mut epochs, None).unwrap_err();
    assert!(late.tell);
    assert_eq!(send(&mut epochs, Some(late.last)), Ok(()));
}
