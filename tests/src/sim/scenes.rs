//! Plans that are made, not drawn, to answer one question each. Traffic and judgement are those of every simulation.

use std::time::Duration;

use actogen::{ContextEvent, DeadReason, LossKind};

use super::{
    drive::{Report, perform},
    plan::{Action, Plan},
    program::DETECTION,
};

/// What the last datagrams take that were under way when a link fell silent, over two hops of 10 ms each, and the steps of the
/// simulation.
const ON_THE_WAY: Duration = Duration::from_millis(50);

/// A chain of three contexts, whose first link carries nothing any more while requests go both ways over it: every wait across it
/// ends within the detection time, and so does the belief that the other side is there (parity row R12).
pub fn silent_link() -> Report {
    let silent = Duration::from_secs(10);
    let noticed = silent + DETECTION + ON_THE_WAY;
    let actions = vec![
        (silent, Action::Cut(0, 1)),
        // Not before both sides have found out by themselves.
        (silent + Duration::from_secs(10), Action::Mend(0, 1)),
    ];
    perform(Plan::of(12, vec![None, Some(0), Some(1)], actions), false, |ledger| {
        let across: Vec<_> = ledger
            .waits()
            .filter(|wait| (wait.from.slot == 0) != (wait.to.slot == 0))
            .filter(|wait| wait.begun < noticed && wait.ended > silent)
            .collect();
        for wait in across.iter().filter(|wait| wait.ended > noticed) {
            ledger.violation(format!("a wait outlived the detection time: {wait:?}"));
        }
        let lost = across.iter().filter(|wait| wait.reason == Some(DeadReason::RouteLost)).count();
        if lost < 5 {
            ledger.violation(format!(
                "{lost} waits ended because the link was silent: too few to tell"
            ));
        }
        let down: Vec<_> = ledger
            .learned(0)
            .filter(|(at, event)| {
                let is_silence = matches!(event, ContextEvent::Down { loss, .. } if loss.kind == LossKind::Silent);
                is_silence && (silent..=noticed).contains(at)
            })
            .map(|(_, event)| event.context().0)
            .collect();
        if down != [1, 2] {
            ledger.violation(format!("the root noticed in time that {down:?} are silent"));
        }
    })
}

/// A link that breaks again and again: each side hears of each loss and each return, in turn, with the reason (parity row R13).
pub fn flapping_link() -> Report {
    const TIMES: usize = 4;
    let mut actions = Vec::new();
    for time in 0..TIMES as u64 {
        let begin = Duration::from_secs(5 + 7 * time);
        actions.push((begin, Action::Cut(0, 1)));
        actions.push((begin + Duration::from_secs(3), Action::Mend(0, 1)));
    }
    let plan = Plan::of(13, vec![None, Some(0), Some(1), Some(0)], actions);
    perform(plan, false, |ledger| {
        for gone in [1, 2] {
            let kinds: Vec<_> = ledger
                .learned(0)
                .filter_map(|(_, event)| match event {
                    ContextEvent::Down { context, loss } if context.0 == gone => Some(loss.kind),
                    _ => None,
                })
                .collect();
            if kinds != [LossKind::Silent; TIMES] {
                ledger.violation(format!("the root lost context {gone} by {kinds:?}"));
            }
            let returns = ledger
                .learned(0)
                .filter(|(_, event)| {
                    matches!(event, ContextEvent::Up { context, .. } if context.0 == gone)
                })
                .count();
            if returns != TIMES + 1 {
                ledger.violation(format!("context {gone} came up {returns} times"));
            }
        }
        let steady = ledger
            .learned(0)
            .filter(|(_, event)| {
                event.context().0 == 3 && matches!(event, ContextEvent::Down { .. })
            })
            .count();
        if steady > 0 {
            ledger.violation("the root lost context 3, whose link was never touched");
        }
    })
}
