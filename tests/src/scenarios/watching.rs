//! Watches: one notice each, with the reason, behind the last messages of the watched. And what contexts notice of each other.

use std::time::Duration;

use actogen::{
    Address, Context, ContextEvent, ContextEvents, ContextId, DeadReason, Down, Ended, Handle,
    LossKind, Remote, StopReason,
};
use actogen_core::Incarnation;
use tokio::time::Instant;

use crate::{
    actors::{Bomb, Desk, Echo, End, Ending, Never, Notes, Parcel, Recorder, pattern},
    mesh::{Fabric, Mesh, Outcome, limits},
    until::{soon, until, until_equal},
};

async fn family<F: Fabric>(mesh: &Mesh<F>) -> actogen::Result<[Context; 3]> {
    let root = mesh.root().await?;
    let (one, two) = (mesh.child(&root, 1).await?, mesh.child(&root, 2).await?);
    Ok([root, one, two])
}

/// Stopped, stopped with an error, panicked, killed, never existed, context lost: each watcher, near and far, is told which.
pub async fn r10_each_reason_reaches_near_and_far_watchers<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let [root, one, two] = family(mesh).await?;
    for from in [&one, &root, &two] {
        let start = || one.start(Recorder::default());
        let normal = start();
        let watch = from.watch(&normal);
        normal.tell(End(Ending::Stop)).await?;
        assert_eq!(soon("normal", watch).await.stopped(), Some(&StopReason::Normal));
        for reason in [StopReason::Error("it had enough".into()), StopReason::Killed] {
            let actor = start();
            let watch = from.watch(&actor);
            until_equal("it is watched", 1, async || one.holdings().await.watched).await;
            assert!(one.stop(&actor, reason.clone()));
            assert_eq!(soon("the reason", watch).await.stopped(), Some(&reason));
        }
        let bomb = one.start(Bomb::default());
        let watch = from.watch(&bomb);
        bomb.tell(End(Ending::Panic("boom".into()))).await?;
        let down = soon("panic", watch).await;
        assert_eq!(down.stopped(), Some(&StopReason::Panic("boom".into())));
        let never = absent(&one);
        let down = soon("never existed", from.watch(&never)).await;
        assert_eq!(down.stopped(), Some(&StopReason::NeverExisted));
    }
    let desk = one.start(Desk::default());
    let watches = [root.watch(&desk), two.watch(&desk)];
    // The watch requests have arrived before the context goes.
    until_equal("both watch", 2, async || one.holdings().await.watched).await;
    mesh.kill(&one).await;
    for watch in watches {
        let down = soon("context lost", watch).await;
        assert_eq!(down.lost(), Some(DeadReason::RouteLost), "{down}");
        assert!(down.to_string().starts_with("context 1 lost: "), "{down}");
    }
    Ok(())
}

fn absent(of: &Context) -> Remote<Desk> {
    let address =
        Address { handle: Handle(0x0bad_0bad_0bad_0bad), ..of.start(Desk::default()).address() };
    let bytes = postcard::to_extend(&address, Vec::new()).expect("an address can be written");
    postcard::from_bytes(&bytes).expect("it was an address")
}

/// Watching what has ended, never was, or whose context is lost or unknown tells so at once.
pub async fn r04_watching_the_dead_tells_at_once<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let [root, one, two] = family(mesh).await?;
    let ended = one.start(Desk::default());
    one.unbind(&ended);
    until("it has ended", || one.stopped(ended.address().handle).is_some()).await;
    let lost = two.start(Desk::default());
    mesh.kill(&two).await;
    until("the root has lost it", || root.place_of(two.id()).is_none()).await;
    let unknown = Address { context: ContextId(77), ..lost.address() };
    let unknown: Remote<Desk> = postcard::from_bytes(&postcard::to_extend(&unknown, Vec::new())?)?;
    for from in [&root, &one] {
        let normal = soon("ended", from.watch(&ended)).await;
        assert_eq!(normal.stopped(), Some(&StopReason::Normal), "{normal}");
        let never = soon("never existed", from.watch(&absent(&one))).await;
        assert_eq!(never.stopped(), Some(&StopReason::NeverExisted), "{never}");
        let lost = soon("lost", from.watch(&lost)).await;
        assert_eq!(lost.lost(), Some(DeadReason::RouteLost), "{lost}");
        let unknown = soon("unknown", from.watch(&unknown)).await;
        assert_eq!(unknown.lost(), Some(DeadReason::NoRoute), "{unknown}");
    }
    Ok(())
}

/// A notice comes behind everything that the watched sent to the watcher before it ended, over a link that is full.
pub async fn r03_a_notice_comes_after_the_last_message_over_a_saturated_link<F: Fabric>(
    mesh: &Mesh<F>,
) -> Outcome {
    let [root, one, _] = family(mesh).await?;
    let recorder = root.start(Recorder::default());
    let desk = one.start(Desk::default());
    let watch = root.watch_for(&desk, &recorder);
    until_equal("it is watched", 1, async || one.holdings().await.watched).await;
    let (to, count) = (recorder.clone().attach(&one), 400);
    for number in 0..count {
        to.tell(Parcel(1, number, pattern(4096))).await?;
    }
    one.stop(&desk, StopReason::Killed);
    let down = soon("the notice", watch).await;
    assert_eq!(down.stopped(), Some(&StopReason::Killed), "{down}");
    // Taken by the recorder's own queue when the notice was here already: so the answer holds them all.
    let notes = recorder.send(Notes()).await?;
    assert_eq!(notes, (0..count).map(|number| (1, number)).collect::<Vec<_>>());
    Ok(())
}

/// A saturated link that is cut tells its watchers why, once each, and drops no notice.
pub async fn r03_a_loss_over_a_saturated_link_reaches_every_watcher<F: Fabric>(
    mesh: &Mesh<F>,
) -> Outcome {
    let [root, one, two] = family(mesh).await?;
    let desks: Vec<_> = (0..100).map(|_| one.start(Desk::default())).collect();
    let watches: Vec<_> =
        [&root, &two].into_iter().flat_map(|from| desks.iter().map(|d| from.watch(d))).collect();
    until_equal("all are watched", 200, async || one.holdings().await.watched).await;
    for desk in &desks {
        desk.clone().attach(&root).do_send(Parcel(0, 0, pattern(60_000)));
    }
    mesh.kill(&one).await;
    for watch in watches {
        let down = soon("the notice", watch).await;
        assert_eq!(down.lost(), Some(DeadReason::RouteLost), "{down}");
    }
    assert_eq!((root.holdings().await.pending, two.holdings().await.pending), (0, 0));
    Ok(())
}

/// A watch that is taken back brings no notice, near and far.
pub async fn r11_unwatch_then_stop_brings_no_notice<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let [root, one, two] = family(mesh).await?;
    let desk = one.start(Desk::default());
    for from in [&root, &one, &two] {
        let watch = from.watch(&desk);
        until_equal("it is watched", 1, async || one.holdings().await.watched).await;
        drop(watch);
        until_equal("it is not watched", 0, async || one.holdings().await.watched).await;
        assert_eq!(from.holdings().await.pending, 0);
    }
    one.unbind(&desk);
    until("it has ended", || one.stopped(desk.address().handle).is_some()).await;
    Ok(())
}

/// 10,000 watches that are taken back while their actors stop: each that stays is told once, and nothing is left of any.
pub async fn r11_racing_unwatches_leave_one_outcome_each<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let [root, one, _] = family(mesh).await?;
    let mut told = 0;
    for _ in 0..20 {
        let desks: Vec<_> = (0..50).map(|_| one.start(Desk::default())).collect();
        let watches: Vec<_> = (0..500).map(|n| root.watch(&desks[n % desks.len()])).collect();
        for desk in &desks {
            one.stop(desk, StopReason::Killed);
        }
        let mut kept = Vec::new();
        for (n, watch) in watches.into_iter().enumerate() {
            if n % 2 == 0 {
                kept.push(watch);
            }
        }
        for watch in kept {
            let down = soon("the notice", watch).await;
            assert_eq!(down.stopped(), Some(&StopReason::Killed), "{down}");
            told += 1;
        }
    }
    assert_eq!(told, 5_000);
    until_equal("nothing waits", 0, async || root.holdings().await.pending).await;
    until_equal("nothing is watched", 0, async || one.holdings().await.watched).await;
    Ok(())
}

/// Each of many watchers of one actor is told once.
pub async fn r11_every_watcher_is_told_once<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let [root, one, two] = family(mesh).await?;
    let desk = one.start(Desk::default());
    let mut watches: Vec<_> =
        [&root, &one, &two].iter().flat_map(|c| (0..30).map(|_| c.watch(&desk))).collect();
    until_equal("all watch", 90, async || one.holdings().await.watched).await;
    one.stop(&desk, StopReason::Error("enough".into()));
    for watch in &mut watches {
        let Down { ended, .. } = soon("the notice", &mut *watch).await;
        assert_eq!(ended, Ended::Stopped(StopReason::Error("enough".into())));
    }
    for watch in &mut watches {
        let again = futures_util::FutureExt::now_or_never(watch);
        assert!(again.is_none(), "no second notice");
    }
    Ok(())
}

/// A peer that falls silent is found within the detection time, and whoever waits for it, or for what is behind it, is told so.
pub async fn r12_a_silent_peer_is_found_within_the_detection_time<F: Fabric>(
    mesh: &Mesh<F>,
) -> Outcome {
    mesh.may_fall_silent();
    let quick = || {
        let mut limits = limits();
        limits.detection_time = Duration::from_secs(2);
        limits
    };
    let root = mesh.root_with(|builder| builder.limits(quick())).await?;
    let silent = mesh.child_with(&root, 1, |builder| builder.limits(quick())).await?;
    let behind = mesh.child_with(&silent, 2, |builder| builder.limits(quick())).await?;
    let other = mesh.child_with(&root, 3, |builder| builder.limits(quick())).await?;
    let (desk, beyond) = (silent.start(Desk::default()), behind.start(Desk::default()));
    let mut waiting = Vec::new();
    for (from, desk) in [(&root, &desk), (&root, &beyond), (&other, &desk), (&other, &beyond)] {
        let desk = desk.clone().attach(from);
        desk.send(Echo(Vec::new())).await?;
        waiting.push(tokio::task::spawn_local(async move { desk.send(Never()).await }));
    }
    until_equal("they wait", 2, async || other.holdings().await.pending).await;
    let mut events = root.events();
    mesh.silence(&silent, true);
    let begun = Instant::now();
    let down = next_down(&mut events).await;
    let took = begun.elapsed();
    assert_eq!((down.0, down.1), (silent.id(), LossKind::Silent));
    assert!(took < Duration::from_millis(3_500), "found after {took:?}");
    for waiter in waiting {
        let dead = soon("a waiter is woken", waiter).await?.expect_err("it is silent");
        assert_eq!(dead.reason(), Some(DeadReason::RouteLost), "{dead}");
        assert!(dead.to_string().contains("silent for 2s"), "{dead}");
    }
    mesh.silence(&silent, false);
    Ok(())
}

/// A short silence, well within the detection time, costs no link.
pub async fn r12_a_short_silence_costs_no_link<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    mesh.may_fall_silent();
    let root = mesh.root().await?;
    let child = mesh.child(&root, 1).await?;
    let desk = child.start(Desk::default()).attach(&root);
    mesh.silence(&child, true);
    let asked = tokio::task::spawn_local({
        let desk = desk.clone();
        async move { desk.send(Echo(vec![1])).await }
    });
    until_equal("it waits", 1, async || root.holdings().await.pending).await;
    mesh.silence(&child, false);
    assert_eq!(soon("the answer", asked).await??, [1]);
    assert_eq!(root.place_of(child.id()), Some(child.place()));
    Ok(())
}

async fn next_down(events: &mut ContextEvents) -> (ContextId, LossKind, String) {
    loop {
        match soon("an event", events.next()).await {
            Some(Ok(ContextEvent::Down { context, loss })) => {
                return (context, loss.kind, loss.text);
            }
            Some(Ok(_)) => {}
            other => panic!("no event: {other:?}"),
        }
    }
}

/// A context that comes and goes again and again: up and down alternate, each up a newer life, each down with its reason.
pub async fn r13_ups_and_downs_alternate_under_flapping<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let root = mesh.root().await?;
    let steady = mesh.child(&root, 9).await?;
    let mut events = root.events();
    let mut lives = Vec::new();
    for flap in 0..6 {
        let child = mesh.child(&root, 1).await?;
        lives.push(child.incarnation());
        if flap % 2 == 0 {
            mesh.kill(&child).await;
        } else {
            child.shutdown().await;
        }
        until("it is gone", || root.place_of(child.id()).is_none()).await;
    }
    let mut last = Incarnation::default();
    for (flap, life) in lives.into_iter().enumerate() {
        let Some(Ok(ContextEvent::Up { context, incarnation })) =
            soon("an event", events.next()).await
        else {
            panic!("up and down alternate")
        };
        assert_eq!((context, incarnation), (ContextId(1), life));
        assert!(incarnation > last, "each life is newer");
        last = incarnation;
        let Some(Ok(ContextEvent::Down { context, loss })) = soon("an event", events.next()).await
        else {
            panic!("up and down alternate")
        };
        let expected = if flap % 2 == 0 { LossKind::LinkClosed } else { LossKind::Shutdown };
        assert_eq!((context, loss.kind), (ContextId(1), expected), "{loss}");
        assert!(!loss.text.is_empty());
    }
    assert_eq!(root.place_of(steady.id()), Some(steady.place()));
    Ok(())
}

/// A watch that is made while its context is being lost is told, whichever comes first.
pub async fn r11_watches_that_race_a_loss_are_told<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let root = mesh.root().await?;
    for _ in 0..10 {
        let child = mesh.child(&root, 1).await?;
        let desk = child.start(Desk::default()).attach(&root);
        let killed = child.clone();
        let before: Vec<_> = (0..20).map(|_| root.watch(&desk)).collect();
        let (during, ()) = tokio::join!(
            async {
                let mut watches = Vec::new();
                for _ in 0..50 {
                    watches.push(root.watch(&desk));
                    tokio::task::yield_now().await;
                }
                watches
            },
            mesh.kill(&killed)
        );
        for watch in before.into_iter().chain(during) {
            let down = soon("the notice", watch).await;
            assert!(
                matches!(down.lost(), Some(DeadReason::RouteLost | DeadReason::NoRoute)),
                "{down}"
            );
        }
        until("it is gone", || root.place_of(child.id()).is_none()).await;
    }
    assert_eq!(root.holdings().await.pending, 0);
    Ok(())
}

/// Watches of somebody who goes away leave nothing at the watched.
pub async fn r19_a_lost_watcher_leaves_no_watch_behind<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let [root, one, two] = family(mesh).await?;
    let (near, far) = (root.start(Desk::default()), one.start(Desk::default()));
    for desk in [&near, &far] {
        let watches: Vec<_> = (0..10).map(|_| two.watch(desk)).collect();
        std::mem::forget(watches);
    }
    until_equal("the root is watched", 10, async || root.holdings().await.watched).await;
    until_equal("the sibling is watched", 10, async || one.holdings().await.watched).await;
    mesh.kill(&two).await;
    until_equal("the root is not watched", 0, async || root.holdings().await.watched).await;
    until_equal("the sibling is not watched", 0, async || one.holdings().await.watched).await;
    Ok(())
}
