use proptest::{prelude::*, strategy::Strategy as Generator};

use super::{Strategy, *};

const SECOND: Duration = Duration::from_secs(1);

fn crash() -> LifeEnd {
    LifeEnd { is_normal: false, with_context: false, why: "panicked".into() }
}

fn normal() -> LifeEnd {
    LifeEnd { is_normal: true, with_context: false, why: "stopped".into() }
}

fn plan(strategy: Strategy, restarts: &[Restart]) -> Plan {
    let mut plan = Plan::new(strategy, Intensity::default(), Backoff::none());
    restarts.iter().for_each(|&restart| plan.add(restart, None));
    plan
}

/// A host whose children start and end at once.
fn settle(plan: &mut Plan, now: Duration) -> Vec<Act> {
    let mut all = Vec::new();
    loop {
        let mut acts = Vec::new();
        plan.act(now, &mut acts);
        if acts.is_empty() {
            return all;
        }
        for act in acts {
            match act {
                Act::Start(child) => plan.started(child, now),
                Act::Stop(child) => plan.ended(child, &normal(), now, 0.0),
                Act::End(_) => {}
            }
            all.push(act);
        }
    }
}

fn up(strategy: Strategy, restarts: &[Restart]) -> Plan {
    let mut plan = plan(strategy, restarts);
    let starts: Vec<_> = (0..restarts.len()).map(Act::Start).collect();
    assert_eq!(settle(&mut plan, SECOND), starts);
    plan
}

#[test]
fn each_strategy_takes_down_whom_it_says_the_last_first() {
    use Act::{Start, Stop};
    let permanent = [Restart::Permanent; 3];
    for (strategy, acts) in [
        (Strategy::OneForOne, vec![Start(1)]),
        (Strategy::OneForAll, vec![Stop(2), Stop(0), Start(0), Start(1), Start(2)]),
        (Strategy::RestForOne, vec![Stop(2), Start(1), Start(2)]),
    ] {
        let mut plan = up(strategy, &permanent);
        plan.ended(1, &crash(), 2 * SECOND, 0.0);
        assert_eq!(settle(&mut plan, 2 * SECOND), acts, "{strategy:?}");
    }
}

#[test]
fn a_policy_says_who_gets_another_life() {
    for (restart, after_normal, after_crash) in [
        (Restart::Permanent, true, true),
        (Restart::Transient, false, true),
        (Restart::Temporary, false, false),
    ] {
        for (end, again) in [(normal(), after_normal), (crash(), after_crash)] {
            let mut plan = up(Strategy::OneForAll, &[restart, Restart::Permanent]);
            plan.ended(0, &end, 2 * SECOND, 0.0);
            let began = settle(&mut plan, 2 * SECOND).contains(&Act::Start(0));
            assert_eq!(began, again, "{restart:?} after {end:?}");
        }
    }
}

/// Its one life may end by the failure of another child as well.
#[test]
fn a_temporary_child_has_one_life_unless_it_is_asked_for() {
    let mut plan = up(Strategy::OneForAll, &[Restart::Temporary, Restart::Permanent]);
    plan.ended(1, &crash(), 2 * SECOND, 0.0);
    assert_eq!(settle(&mut plan, 2 * SECOND), [Act::Stop(0), Act::Start(1)]);
    plan.want(0, true, 3 * SECOND);
    assert_eq!(settle(&mut plan, 3 * SECOND), [Act::Start(0)]);
    let mut acts = Vec::new();
    plan.renew(0, 4 * SECOND, &mut acts);
    assert_eq!(acts, [Act::Stop(0)]);
    plan.ended(0, &normal(), 4 * SECOND, 0.0);
    assert_eq!(settle(&mut plan, 4 * SECOND), [Act::Start(0)]);
}

#[test]
fn a_window_without_end_is_one() {
    let intensity = Intensity { within: Duration::MAX, ..Intensity::default() };
    let mut plan = Plan::new(Strategy::OneForOne, intensity, Backoff::none());
    plan.add(Restart::Permanent, None);
    settle(&mut plan, SECOND);
    plan.ended(0, &crash(), 2 * SECOND, 0.0);
    assert_eq!(settle(&mut plan, 3 * SECOND), [Act::Start(0)]);
}

#[test]
fn what_an_operator_has_stopped_stays_down() {
    let mut plan = up(Strategy::OneForAll, &[Restart::Permanent; 2]);
    plan.want(0, false, SECOND);
    assert_eq!(settle(&mut plan, SECOND), [Act::Stop(0)]);
    plan.ended(1, &crash(), 2 * SECOND, 0.0);
    // The other waits for nobody who is not wanted.
    assert_eq!(settle(&mut plan, 2 * SECOND), [Act::Start(1)]);
    plan.want(0, true, 3 * SECOND);
    assert_eq!(settle(&mut plan, 3 * SECOND), [Act::Start(0)]);
}

#[test]
fn the_window_slides() {
    let mut plan = up(Strategy::OneForOne, &[Restart::Permanent]);
    // Three in any five seconds are borne, for ever.
    for n in 0..30 {
        let now = 2 * SECOND * (n + 1);
        plan.ended(0, &crash(), now, 0.0);
        assert_eq!(settle(&mut plan, now), [Act::Start(0)]);
    }
    for n in 0..2 {
        plan.ended(0, &crash(), 61 * SECOND, 0.0);
        let acts = settle(&mut plan, 61 * SECOND);
        assert_eq!(acts == [Act::Start(0)], n == 0, "{acts:?}");
    }
    assert!(plan.is_ending());
}

#[test]
fn waits_double_and_a_stable_life_ends_the_row() {
    let backoff = Backoff::new(SECOND, 5 * SECOND, 60 * SECOND);
    let delays: Vec<_> = (0..5).map(|n| backoff.delay(n, 1.0).as_secs()).collect();
    assert_eq!(delays, [1, 2, 4, 5, 5]);
    assert_eq!(backoff.delay(40, 0.5), SECOND * 5 / 2);
    let bears = Intensity { restarts: 100, ..Intensity::default() };
    let mut plan = Plan::new(Strategy::OneForOne, bears, backoff);
    plan.add(Restart::Permanent, None);
    let (mut now, mut waits) = (Duration::ZERO, Vec::new());
    for lived in [0, 0, 0, 60, 0] {
        let mut acts = Vec::new();
        if let Some(due) = plan.act(now, &mut acts) {
            waits.push((due - now).as_secs());
            now = due;
            plan.act(now, &mut acts);
        }
        assert_eq!(acts, [Act::Start(0)]);
        plan.started(0, now);
        now += SECOND * lived;
        plan.ended(0, &crash(), now, 1.0);
    }
    assert_eq!(waits, [1, 2, 4, 1]);
}

#[test]
fn failures_to_start_have_a_count_of_their_own() {
    let mut plan = plan(Strategy::OneForOne, &[Restart::Permanent; 2]);
    let mut acts = Vec::new();
    for attempt in 1..=5 {
        acts.clear();
        plan.act(SECOND, &mut acts);
        assert!(acts.contains(&Act::Start(0)), "{attempt}: {acts:?}");
        plan.started(1, SECOND);
        plan.refused(0, "no such actor", SECOND, 0.0);
        assert_eq!(plan.is_ending(), attempt == 5);
    }
    assert_eq!(plan.restarts(0), 0);
    assert!(matches!(&settle(&mut plan, SECOND)[..], [Act::Stop(1), Act::End(Some(_))]));
}

#[test]
fn who_is_lost_with_its_context_comes_up_behind_it_and_does_not_count() {
    let bears = Intensity { restarts: 1, ..Intensity::default() };
    let mut plan = Plan::new(Strategy::OneForOne, bears, Backoff::none());
    plan.add(Restart::Permanent, None);
    plan.add(Restart::Permanent, Some(0));
    plan.add(Restart::Permanent, Some(0));
    assert_eq!(settle(&mut plan, SECOND), [Act::Start(0), Act::Start(1), Act::Start(2)]);
    let lost = LifeEnd { with_context: true, ..crash() };
    for child in [1, 2] {
        plan.ended(child, &lost, SECOND, 0.0);
    }
    plan.ended(0, &crash(), SECOND, 0.0);
    assert_eq!(settle(&mut plan, SECOND), [Act::Start(0), Act::Start(1), Act::Start(2)]);
    assert!(!plan.is_ending());
}

#[derive(Clone, Debug)]
enum Event {
    Ended(usize, bool),
    Refused(usize),
    Started(usize),
    Want(usize, bool),
    Renew(usize),
    Pass(u64),
}

fn event() -> impl Generator<Value = Event> {
    let child = 0..4_usize;
    prop_oneof![
        (child.clone(), any::<bool>()).prop_map(|(c, normal)| Event::Ended(c, normal)),
        child.clone().prop_map(Event::Refused),
        child.clone().prop_map(Event::Started),
        (child.clone(), any::<bool>()).prop_map(|(c, wanted)| Event::Want(c, wanted)),
        child.prop_map(Event::Renew),
        (0..3000_u64).prop_map(Event::Pass),
    ]
}

proptest! {
    /// Whatever happens: nobody is started who lives, nobody stopped who does not, and in the end everybody is down, or up as wanted.
    #[test]
    fn any_sequence_of_events_leads_to_rest(
        strategy in prop::sample::select(vec![Strategy::OneForOne, Strategy::OneForAll, Strategy::RestForOne]),
        restarts in prop::collection::vec(prop::sample::select(vec![Restart::Permanent, Restart::Transient, Restart::Temporary]), 4),
        events in prop::collection::vec(event(), 0..60),
    ) {
        let backoff = Backoff::new(SECOND, 5 * SECOND, 60 * SECOND);
        let mut plan = Plan::new(strategy, Intensity::default(), backoff);
        restarts.iter().for_each(|&restart| plan.add(restart, None));
        let (mut now, mut lives) = (Duration::ZERO, [State::Down; 4]);
        let act = |plan: &mut Plan, now, lives: &mut [State; 4]| {
            let mut acts = Vec::new();
            let due = plan.act(now, &mut acts);
            for act in &acts {
                match *act {
                    Act::Start(child) => {
                        assert_eq!(lives[child], State::Down);
                        lives[child] = State::Starting;
                    }
                    Act::Stop(child) => {
                        assert_ne!(lives[child], State::Down);
                        lives[child] = State::Stopping;
                    }
                    Act::End(_) => assert!(lives.iter().all(|life| *life == State::Down)),
                }
            }
            (due, acts)
        };
        let is_over = |acts: &[Act]| acts.iter().any(|act| matches!(act, Act::End(_)));
        for event in events {
            if is_over(&act(&mut plan, now, &mut lives).1) {
                return Ok(());
            }
            match event {
                Event::Ended(c, is_normal) if lives[c] != State::Down => {
                    lives[c] = State::Down;
                    plan.ended(c, &LifeEnd { is_normal, with_context: false, why: String::new() }, now, 0.5);
                }
                Event::Refused(c) if lives[c] == State::Starting => {
                    lives[c] = State::Down;
                    plan.refused(c, "", now, 0.5);
                }
                Event::Started(c) if lives[c] == State::Starting => {
                    lives[c] = State::Up { since: now };
                    plan.started(c, now);
                }
                Event::Want(c, wanted) => plan.want(c, wanted, now),
                Event::Renew(c) => {
                    let mut acts = Vec::new();
                    plan.renew(c, now, &mut acts);
                    if !acts.is_empty() {
                        lives[c] = State::Stopping;
                    }
                }
                Event::Pass(millis) => now += Duration::from_millis(millis),
                _ => {}
            }
        }
        // From here on everything goes well.
        for _ in 0..100 {
            let (due, acts) = act(&mut plan, now, &mut lives);
            for (c, life) in lives.iter_mut().enumerate() {
                match life {
                    State::Starting => {
                        *life = State::Up { since: now };
                        plan.started(c, now);
                    }
                    State::Stopping => {
                        *life = State::Down;
                        plan.ended(c, &normal(), now, 0.5);
                    }
                    _ => {}
                }
            }
            if is_over(&acts) {
                return Ok(());
            }
            now = due.unwrap_or(now);
        }
        prop_assert!(!plan.is_ending());
        for (c, life) in lives.iter().enumerate() {
            prop_assert_eq!(matches!(life, State::Up { .. }), plan.is_wanted(c), "{}: {:?}", c, life);
        }
    }
}
