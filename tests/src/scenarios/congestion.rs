//! Ways that are full: nobody stops reading, who sends to a destination that takes nothing is paused, and everybody else goes on.

use actogen::{Context, Dead, DeadReason, Handled, Limits, Remote, SendError};
use actogen_core::limits::MAX_FRAME;
use tokio::task::JoinHandle;

use crate::{
    actors::{Desk, Echo, Note, Notes, Parcel, Recorder, pattern},
    mesh::{Fabric, Mesh, Outcome, limits},
    until::{soon, until, until_equal},
};

/// A message's body: four make a fragment.
const BODY: usize = 16 * 1024;

/// More messages than lanes, windows and budgets hold on the way over one relay.
const MANY: u64 = 500;

/// As [`MANY`], over the three relays of the longest way here.
const MORE: u64 = 1_000;

/// What goes on meanwhile.
const OTHERS: u64 = 100;

/// Lanes and budgets small enough to be filled soon. The budget's half takes what is on its way when a pause is asked for.
fn narrow() -> Limits {
    Limits {
        lane_bytes: 2 * MAX_FRAME,
        relay_bytes: 5 * 1024 * 1024,
        detection_time: std::time::Duration::from_secs(30),
        ..limits()
    }
}

async fn root<F: Fabric>(mesh: &Mesh<F>) -> actogen::Result<Context> {
    mesh.root_with(|builder| builder.limits(narrow())).await
}

async fn below<F: Fabric>(mesh: &Mesh<F>, parent: &Context, id: u64) -> actogen::Result<Context> {
    mesh.child_with(parent, id, |builder| builder.limits(narrow())).await
}

/// Tells numbered parcels, and says how many were told.
fn telling(to: Remote<Recorder>, count: u64) -> JoinHandle<Result<u64, SendError<Parcel>>> {
    tokio::task::spawn_local(async move {
        for number in 0..count {
            to.tell(Parcel(0, number, pattern(BODY))).await?;
        }
        Ok(count)
    })
}

async fn numbers(recorder: &Remote<Recorder>) -> Vec<u64> {
    let notes = recorder.send(Notes()).await.unwrap_or_default();
    notes.into_iter().map(|(_, number)| number).collect()
}

async fn paused(contexts: &[&Context]) -> Vec<usize> {
    let mut paused = Vec::new();
    for context in contexts {
        paused.push(context.holdings().await.paused);
    }
    paused
}

/// All that was sent has been taken, and nothing waits or is paused any more.
async fn at_rest(contexts: &[&Context]) {
    until_equal("nothing is left to wait for", true, async || {
        let mut rest = true;
        for context in contexts {
            let held = context.holdings().await;
            rest &= held.held == 0 && held.paused == 0 && held.pending == 0;
        }
        rest
    })
    .await;
    let all = contexts.iter().map(|context| context.stats());
    let (sent, delivered, dead) = all.fold((0, 0, 0), |(sent, delivered, dead), stats| {
        (sent + stats.sent, delivered + stats.delivered, dead + stats.dead())
    });
    assert_eq!((sent, dead), (delivered, 0), "each message is delivered");
}

/// A context behind a relay stops reading: its senders are paused, another one behind the same incoming link goes on, and nothing is
/// lost when the first reads on.
pub async fn one_that_stops_reading_holds_its_own_senders_alone<F: Fabric>(
    mesh: &Mesh<F>,
) -> Outcome {
    let relay = root(mesh).await?;
    let (sender, fast) = (below(mesh, &relay, 1).await?, below(mesh, &relay, 2).await?);
    mesh.may_fall_silent();
    let slow = below(mesh, &relay, 3).await?;
    let stopped = slow.start(Recorder::default());
    let going = fast.start(Recorder::default());
    mesh.silence(&slow, true);
    let held = telling(stopped.clone().attach(&sender), MANY);
    until_equal("the sender is paused", vec![1], async || paused(&[&sender]).await).await;
    assert!(relay.holdings().await.held > 0);
    let refused = stopped.clone().attach(&sender).try_send(Note(1, 0));
    assert!(matches!(refused, Err(SendError::Full(_))), "{refused:?}");
    let passing = telling(going.clone().attach(&sender), OTHERS);
    assert_eq!(soon("the other goes on", passing).await??, OTHERS);
    until_equal("all of it arrives", (0..OTHERS).collect(), async || numbers(&going).await).await;
    assert!(!held.is_finished());
    mesh.silence(&slow, false);
    // QUIC looks for a silent peer ever less often: the longer the silence, the longer this takes.
    assert_eq!(held.await??, MANY);
    until_equal("all arrives in order", (0..MANY).collect(), async || numbers(&stopped).await)
        .await;
    assert_eq!(sender.stats().refused, 1);
    let others = [&relay, &fast, &slow].map(|context| context.stats());
    assert_eq!(others.iter().map(|stats| stats.dead() + stats.refused).sum::<u64>(), 0);
    Ok(())
}

/// Over several relays the pause goes back hop by hop, and whoever lies behind the same links as the stopped one goes on.
pub async fn a_pause_goes_back_hop_by_hop<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let root = root(mesh).await?;
    let first = below(mesh, &root, 1).await?;
    let sender = below(mesh, &first, 2).await?;
    let last = below(mesh, &root, 3).await?;
    let fast = below(mesh, &last, 4).await?;
    mesh.may_fall_silent();
    let slow = below(mesh, &last, 5).await?;
    let stopped = slow.start(Recorder::default());
    let going = fast.start(Recorder::default());
    mesh.silence(&slow, true);
    let held = telling(stopped.clone().attach(&sender), MORE);
    let way = [&sender, &first, &root];
    until_equal("each hop is paused", vec![1; 3], async || paused(&way).await).await;
    let passing = telling(going.clone().attach(&sender), OTHERS);
    assert_eq!(soon("the other goes on", passing).await??, OTHERS);
    until_equal("all of it arrives", (0..OTHERS).collect(), async || numbers(&going).await).await;
    assert!(!held.is_finished());
    mesh.silence(&slow, false);
    // QUIC looks for a silent peer ever less often: the longer the silence, the longer this takes.
    assert_eq!(held.await??, MORE);
    until_equal("all arrives in order", (0..MORE).collect(), async || numbers(&stopped).await)
        .await;
    at_rest(&[&root, &first, &sender, &last, &fast, &slow]).await;
    Ok(())
}

/// Requests that are asked one after the other, each with its own body, until as many are under way as there may be.
fn asking(desk: &Remote<Desk>, count: u64) -> Vec<JoinHandle<Result<Vec<u8>, SendError<Echo>>>> {
    let ask = |_| {
        let desk = desk.clone();
        tokio::task::spawn_local(async move { desk.send(Echo(pattern(BODY))).await })
    };
    (0..count).map(ask).collect()
}

async fn outcomes(
    asked: Vec<JoinHandle<Result<Vec<u8>, SendError<Echo>>>>,
) -> actogen::Result<Vec<(DeadReason, Handled)>> {
    let mut ended = Vec::new();
    for request in asked {
        let error = soon("an answer", request).await?.expect_err("nobody is there to answer");
        let reason = match &error {
            SendError::Dead(Dead { reason, .. }) | SendError::Unsent(_, Dead { reason, .. }) => {
                *reason
            }
            other => return Err(format!("a request ended with {other:?}").into()),
        };
        ended.push((reason, error.handled()));
    }
    Ok(ended)
}

/// The stopped one dies: each request that waited at its sender, beside a lane or in one is answered, and what was told is accounted
/// for.
pub async fn when_the_paused_one_dies_everybody_is_answered<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let relay = root(mesh).await?;
    let sender = below(mesh, &relay, 1).await?;
    mesh.may_fall_silent();
    let slow = below(mesh, &relay, 3).await?;
    let (desk, recorder) = (slow.start(Desk::default()), slow.start(Recorder::default()));
    mesh.silence(&slow, true);
    let asked = asking(&desk.attach(&sender), MANY);
    until_equal("the sender is paused", vec![1], async || paused(&[&sender]).await).await;
    let told = telling(recorder.attach(&sender), 1);
    let waiting = relay.holdings().await.held;
    assert!(waiting > 0);
    // Its last word must get through.
    mesh.silence(&slow, false);
    mesh.kill(&slow).await;
    let ended = outcomes(asked).await?;
    assert!(ended.iter().all(|(reason, _)| *reason == DeadReason::RouteLost), "{ended:?}");
    let unhandled = ended.iter().filter(|(_, handled)| *handled == Handled::No).count() as u64;
    // What comes later than the word of the loss is answered as well, to nobody who still waits.
    let given_up = relay.stats().dead_of(DeadReason::RouteLost);
    assert!(given_up >= waiting && unhandled >= waiting, "{unhandled}, {given_up} of {waiting}");
    // It has left, or comes back: both are an end of the wait.
    let _ = soon("who told goes on", told).await?;
    until_equal("nothing is left", (0, 0, 0), async || {
        let (held, sender) = (relay.holdings().await, sender.holdings().await);
        (held.held, held.paused + sender.paused, sender.pending)
    })
    .await;
    until("the books balance", || {
        let (relay, sender) = (relay.stats(), sender.stats());
        let known = sender.refused + sender.dead() + relay.dead();
        known <= sender.sent && sender.sent <= known + relay.unknown
    })
    .await;
    Ok(())
}

/// A relay that shuts down answers what waits in it.
pub async fn a_relay_that_ends_answers_what_waits_in_it<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let sender = root(mesh).await?;
    let relay = below(mesh, &sender, 1).await?;
    mesh.may_fall_silent();
    let slow = below(mesh, &relay, 2).await?;
    let desk = slow.start(Desk::default());
    mesh.silence(&slow, true);
    let asked = asking(&desk.attach(&sender), MANY);
    until_equal("the sender is paused", vec![1], async || paused(&[&sender]).await).await;
    let waiting = relay.holdings().await.held;
    soon("the relay ends", relay.shutdown()).await;
    let ended = outcomes(asked).await?;
    let answered = (DeadReason::Shutdown, Handled::No);
    let told = ended.iter().filter(|&&outcome| outcome == answered).count() as u64;
    assert!(told >= waiting, "{told} of {waiting} were told");
    assert_eq!(relay.holdings().await.held, 0);
    until_equal("nothing waits", 0, async || sender.holdings().await.pending).await;
    Ok(())
}

/// What a sender's end finds waiting on the way still arrives, and before the word of that end.
pub async fn a_loss_does_not_overtake_what_waits<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let relay = root(mesh).await?;
    let sender = below(mesh, &relay, 1).await?;
    mesh.may_fall_silent();
    let slow = below(mesh, &relay, 3).await?;
    let recorder = slow.start(Recorder::default());
    let watched = sender.start(Desk::default()).attach(&slow);
    let watch = slow.watch_for(&watched, &recorder);
    until_equal("it is watched", 1, async || sender.holdings().await.watched).await;
    mesh.silence(&slow, true);
    let _told = telling(recorder.clone().attach(&sender), MANY);
    until_equal("the sender is paused", vec![1], async || paused(&[&sender]).await).await;
    let waiting = relay.holdings().await.held;
    assert!(waiting > 0);
    mesh.kill(&sender).await;
    until("it is gone", || relay.place_of(sender.id()).is_none()).await;
    mesh.silence(&slow, false);
    let down = soon("the notice", watch).await;
    assert_eq!(down.lost(), Some(DeadReason::RouteLost), "{down}");
    // Behind all that the recorder was given before the notice.
    let before = numbers(&recorder).await;
    assert!(before.len() as u64 >= waiting, "{} of at least {waiting}", before.len());
    assert_eq!(before, (0..before.len() as u64).collect::<Vec<_>>());
    until_equal("nothing waits", 0, async || relay.holdings().await.held).await;
    assert_eq!(numbers(&recorder).await, before, "nothing comes behind the notice");
    assert_eq!((relay.stats().dead(), slow.stats().dead(), slow.stats().offences), (0, 0, 0));
    Ok(())
}

/// Bodies that travel in fragments wait in order with everything else, and arrive whole.
pub async fn long_bodies_wait_and_arrive_whole<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let change = |mut limits: Limits| {
        limits.max_message = 400_000;
        limits.link_large_bytes = 400_000;
        limits
    };
    let relay = mesh.root_with(|builder| builder.limits(change(narrow()))).await?;
    let sender = mesh.child_with(&relay, 1, |builder| builder.limits(change(narrow()))).await?;
    mesh.may_fall_silent();
    let slow = mesh.child_with(&relay, 3, |builder| builder.limits(change(narrow()))).await?;
    let recorder = slow.start(Recorder::default());
    mesh.silence(&slow, true);
    let to = recorder.clone().attach(&sender);
    let told = tokio::task::spawn_local(async move {
        for number in 0..60 {
            to.tell(Parcel(0, 2 * number, pattern(300_000))).await?;
            to.tell(Parcel(0, 2 * number + 1, pattern(10))).await?;
        }
        Outcome::Ok(())
    });
    until_equal("the sender is paused", vec![1], async || paused(&[&sender]).await).await;
    mesh.silence(&slow, false);
    told.await??;
    until_equal("all arrives in order", (0..120).collect(), async || numbers(&recorder).await)
        .await;
    at_rest(&[&relay, &sender, &slow]).await;
    Ok(())
}
