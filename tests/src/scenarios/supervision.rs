//! Actors that begin anew when they fail, here and in other contexts.

#![allow(clippy::unwrap_used, reason = "this is all test code")]

use std::{cell::Cell, rc::Rc, time::Duration};

use actogen::{
    Backoff, ChildEvent, ChildSpec, ChildState, Context, DeadReason, Ended, Handled, OrderError,
    Place, Restart, StopReason, Strategy, Supervised, Supervision, prelude::*,
};

use crate::{
    mesh::{Fabric, Mesh, Outcome},
    until::{soon, until},
};

/// Gives how many of these this life has handled.
#[derive(Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "test.Poke", reply = "u64")]
struct Poke;

/// Panics.
#[derive(Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "test.Crash")]
struct Crash;

/// Stops the actor as actors stop.
#[derive(Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "test.Finish")]
struct Finish;

/// Handles nothing more for an hour.
#[derive(Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "test.Doze")]
struct Doze;

/// Does what it is told.
#[derive(RemoteActor, Default)]
#[remote(name = "test.fickle", messages(Poke, Crash, Finish, Doze), spawn(u64))]
struct Fickle {
    poked: u64,
    stubborn: bool,
}

impl From<u64> for Fickle {
    fn from(poked: u64) -> Self {
        Self { poked, ..Self::default() }
    }
}

/// A count with which an actor fails as it starts.
const DOOMED: u64 = u64::MAX;

impl Actor for Fickle {
    type Context = actix::Context<Self>;

    fn started(&mut self, _: &mut Self::Context) {
        assert!(self.poked != DOOMED, "doomed");
    }

    fn stopping(&mut self, _: &mut Self::Context) -> actix::Running {
        if self.stubborn { actix::Running::Continue } else { actix::Running::Stop }
    }
}

impl Handler<Poke> for Fickle {
    type Result = u64;
    fn handle(&mut self, _: Poke, _: &mut Self::Context) -> u64 {
        self.poked += 1;
        self.poked
    }
}

impl Handler<Crash> for Fickle {
    type Result = ();
    fn handle(&mut self, _: Crash, _: &mut Self::Context) {
        panic!("as it was told");
    }
}

impl Handler<Finish> for Fickle {
    type Result = ();
    fn handle(&mut self, _: Finish, ctx: &mut Self::Context) {
        ctx.stop();
    }
}

impl Handler<Doze> for Fickle {
    type Result = ();
    fn handle(&mut self, _: Doze, ctx: &mut Self::Context) {
        ctx.wait(actix::fut::wrap_future(tokio::time::sleep(Duration::from_secs(3600))));
    }
}

fn supervision(strategy: Strategy) -> Supervision {
    Supervision::new(strategy).backoff(Backoff::none()).contained()
}

fn local(name: &str) -> ChildSpec {
    ChildSpec::local(name, |_| Fickle::default())
}

async fn poke(child: &Remote<Fickle>) -> Result<u64, SendError<Poke>> {
    soon("an answer", child.send(Poke)).await
}

async fn child(tree: &Supervised, name: &str) -> Remote<Fickle> {
    soon("a child", tree.child(name)).await.unwrap()
}

async fn states(tree: &Supervised) -> Vec<(ChildState, u64)> {
    let status = soon("the status", tree.status()).await.unwrap();
    status.into_iter().map(|child| (child.state, child.restarts)).collect()
}

/// A life may be over before the supervisor knows that it has begun: it counts, and the next one begins.
pub async fn a_child_that_fails_as_it_starts_is_begun_anew<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let root = mesh.root().await?;
    let below = mesh.child(&root, 1).await?;
    let place = root.place_of(below.id()).ok_or("it is there")?;
    for places in [vec![root.place()], vec![place]] {
        let doomed = ChildSpec::spawned::<Fickle>("doomed", DOOMED).any_of(places);
        let many = supervision(Strategy::OneForOne).restarts(1000, Duration::from_secs(3600));
        let pause = Duration::from_millis(5);
        let backoff = Backoff::new(pause, pause, Duration::from_secs(60));
        let tree = root.supervise(many.backoff(backoff).child(doomed));
        let begun = async {
            while states(&tree).await[0].1 < 3 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        soon("three lives", begun).await;
        soon("the end", tree.end()).await;
    }
    Ok(())
}

/// What waits when an actor fails is handled by its next life, under the same address; the message in which it failed is not tried again.
pub async fn a_restart_keeps_address_and_mailbox<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let root = mesh.root().await?;
    let below = mesh.child(&root, 1).await?;
    let tree = root.supervise(supervision(Strategy::OneForOne).child(local("one")));
    let one = child(&tree, "one").await;
    let far = one.clone().attach(&below);
    for from in [&one, &far] {
        let before = poke(from).await?;
        let crash = from.send(Crash);
        let behind = [from.send(Poke), from.send(Poke), from.send(Poke)];
        let failed = soon("an answer", crash).await.unwrap_err();
        assert!(failed.to_string().contains("as it was told"), "{failed}");
        let mut counts = Vec::new();
        for request in behind {
            counts.push(soon("an answer", request).await?);
        }
        assert_eq!(counts, [1, 2, 3], "before it were {before}");
    }
    assert_eq!(child(&tree, "one").await, one);
    assert_eq!(states(&tree).await, [(ChildState::Up, 2)]);
    soon("the end", tree.end()).await;
    Ok(())
}

/// Who has done its work stays down, and so does who is never begun anew; whoever sends to them is told.
pub async fn a_policy_says_who_begins_anew<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let root = mesh.root().await?;
    let tree = root.supervise(
        supervision(Strategy::OneForOne)
            .child(local("permanent"))
            .child(local("transient").restart(Restart::Transient))
            .child(local("temporary").restart(Restart::Temporary)),
    );
    let mut down = Vec::new();
    for name in ["permanent", "transient", "temporary"] {
        let one = child(&tree, name).await;
        down.push(root.watch(&one));
        soon("an answer", one.send(Finish)).await?;
        if name == "permanent" {
            assert_eq!(poke(&one).await?, 1);
        }
    }
    for down in down.drain(1..) {
        assert_eq!(soon("the end", down).await.stopped(), Some(&StopReason::Normal));
    }
    let stopped = (ChildState::Stopped, 0);
    assert_eq!(states(&tree).await, [(ChildState::Up, 1), stopped, stopped]);
    let gone = soon("an answer", tree.child::<Fickle>("transient")).await.unwrap_err();
    assert!(matches!(gone, OrderError::Stopped { .. }), "{gone}");
    soon("the end", tree.end()).await;
    assert_eq!(soon("the end", down.remove(0)).await.stopped(), Some(&StopReason::Normal));
    Ok(())
}

/// What an operator stops stays down though all others begin anew, until he says otherwise; a renewal counts as no failure.
pub async fn an_operators_word_stands<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let root = mesh.root().await?;
    let tree =
        root.supervise(supervision(Strategy::OneForAll).child(local("one")).child(local("two")));
    let (one, two) = (child(&tree, "one").await, child(&tree, "two").await);
    let down = root.watch(&two);
    tree.stop("two").await?;
    assert_eq!(soon("the end", down).await.stopped(), Some(&StopReason::Normal));
    let dead = poke(&two).await.unwrap_err();
    assert_eq!(dead.reason(), Some(DeadReason::Stopped));
    assert_eq!(soon("an answer", one.send(Crash)).await.unwrap_err().reason(), None);
    assert_eq!(poke(&one).await?, 1);
    assert_eq!(states(&tree).await, [(ChildState::Up, 1), (ChildState::Stopped, 0)]);
    tree.start("two").await?;
    let two = child(&tree, "two").await;
    assert_eq!(poke(&two).await?, 1);
    tree.renew("two").await?;
    // It is asked to end before it handles this.
    assert_eq!(poke(&two).await?, 1);
    assert_eq!(states(&tree).await, [(ChildState::Up, 1), (ChildState::Up, 0)]);
    let unknown = tree.stop("three").await.unwrap_err();
    assert_eq!(
        unknown.to_string(),
        r#"the supervisor has no child `three`; it has ["one", "two"]"#
    );
    soon("the end", tree.end()).await;
    Ok(())
}

/// One failure more than is borne, and the supervisor gives up: it ends its children, and itself with the reason, which ends its context.
pub async fn a_supervisor_that_gives_up_ends_its_context<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let root = mesh.root().await?;
    let below = mesh.child(&root, 1).await?;
    let supervision = Supervision::new(Strategy::OneForOne)
        .backoff(Backoff::none())
        .restarts(2, Duration::from_secs(3600));
    let tree = below.supervise(supervision.child(local("one")).child(local("two")));
    let (one, two) = (child(&tree, "one").await, child(&tree, "two").await);
    let ends = [root.watch(&one.clone().attach(&root)), root.watch(&two.attach(&root))];
    let given_up = tree.watch();
    let mut phase = below.phase();
    for _ in 0..3 {
        soon("an answer", one.send(Crash)).await.unwrap_err();
    }
    let StopReason::Error(why) = soon("the end", given_up).await.stopped().unwrap().clone() else {
        panic!("it gave no reason")
    };
    assert_eq!(
        why,
        "it gave up: too many lives began anew; the last was of `one`: panicked: as it was told"
    );
    for end in ends {
        soon("the end of a child", end).await;
    }
    soon("the end of the context", phase.wait_for(|phase| *phase != actogen::Phase::Running))
        .await?;
    Ok(())
}

/// A supervisor below another fails like any other child, and begins anew with all that is below it.
pub async fn failures_escalate_to_the_supervisor_above<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let root = mesh.root().await?;
    let lives = Rc::new(Cell::new(0));
    let count = lives.clone();
    let inner = Supervision::nested("inner", move || {
        let count = count.clone();
        let leaf = ChildSpec::local("leaf", move |_| {
            count.set(count.get() + 1);
            // Its first two lives are short.
            assert!(count.get() > 2, "too young");
            Fickle::default()
        });
        supervision(Strategy::OneForOne).start_attempts(1).child(leaf)
    });
    let tree = root.supervise(supervision(Strategy::OneForAll).child(inner).child(local("two")));
    let two = child(&tree, "two").await;
    until("a third life", || lives.get() == 3).await;
    assert_eq!(poke(&two).await?, 1);
    let status = soon("the status", tree.status()).await?;
    let why = status[0].last_end.as_deref().unwrap();
    assert!(
        why.contains("`leaf` could not be started: making the actor panicked: too young"),
        "{why}"
    );
    assert_eq!((status[0].restarts, status[1].restarts), (2, 0));
    soon("the end", tree.end()).await;
    assert_eq!(lives.get(), 3);
    Ok(())
}

/// A child elsewhere begins anew where it was, under the same address; when its context is lost, in another one.
pub async fn a_child_elsewhere_outlives_its_context<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let root = mesh.root().await?;
    let (first, second) = (mesh.child(&root, 1).await?, mesh.child(&root, 2).await?);
    let places: Vec<Place> = [&first, &second].map(|context| context.place()).into();
    let spec = ChildSpec::spawned::<Fickle>("one", 10).any_of(places);
    let tree = root.supervise(supervision(Strategy::OneForOne).child(spec));
    let one = child(&tree, "one").await;
    assert_eq!(one.context_id(), first.id());
    assert_eq!(poke(&one).await?, 11);
    let crash = one.send(Crash);
    let behind = one.send(Poke);
    soon("an answer", crash).await.unwrap_err();
    assert_eq!(soon("an answer", behind).await?, 11);
    assert_eq!(child(&tree, "one").await, one);
    let down = root.watch(&one);
    mesh.kill(&first).await;
    assert!(matches!(soon("the notice", down).await.ended, Ended::ContextLost(_)));
    let one = loop {
        let one = child(&tree, "one").await;
        if one.context_id() == second.id() {
            break one;
        }
    };
    assert_eq!(poke(&one).await?, 11);
    assert_eq!(states(&tree).await, [(ChildState::Up, 2)]);
    Ok(())
}

/// A stable address leads to the life of now, in whichever context that is. What comes between two lives is handled by the next, in its order; what comes
/// to a child that is down is refused with the reason.
pub async fn a_stable_address_outlives_its_actors_contexts<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let root = mesh.root().await?;
    let (first, second) = (mesh.child(&root, 1).await?, mesh.child(&root, 2).await?);
    let other = mesh.child(&root, 3).await?;
    let places: Vec<Place> = [&first, &second].map(|context| context.place()).into();
    let spec = ChildSpec::spawned::<Fickle>("one", 10).any_of(places).stable();
    let pause = Duration::from_millis(200);
    let backoff = Backoff::new(pause, pause, Duration::from_secs(60));
    let tree = root.supervise(supervision(Strategy::OneForOne).backoff(backoff).child(spec));
    let mut lives = tree.events();
    let one = child(&tree, "one").await;
    assert_eq!(one.context_id(), root.id());
    let far = one.clone().attach(&other);
    assert_eq!((poke(&one).await?, poke(&far).await?), (11, 12));
    // It fails where it is: its mailbox is kept.
    let crash = soon("an answer", far.send(Crash)).await.unwrap_err();
    assert!(crash.to_string().contains("as it was told"), "{crash}");
    assert_eq!(poke(&far).await?, 11);
    // Its context is lost.
    mesh.kill(&first).await;
    until("its loss", || root.place_of(first.id()).is_none()).await;
    let asked = [one.send(Poke), one.send(Poke), one.send(Poke)];
    let from_far = far.send(Poke);
    for (asked, expected) in asked.into_iter().zip(11..) {
        assert_eq!(soon("an answer", asked).await?, expected);
    }
    assert_eq!(soon("an answer", from_far).await?, 14);
    assert_eq!(child(&tree, "one").await, one);
    let moved = soon("the next life", async {
        loop {
            if let Some(Ok(ChildEvent::Up { address, .. })) = lives.next().await
                && address.context == second.id()
            {
                return;
            }
        }
    });
    moved.await;
    soon("an order", tree.stop("one")).await?;
    let refused = until_down(&far).await;
    assert_eq!((refused.reason(), refused.handled()), (Some(DeadReason::Stopped), Handled::No));
    soon("an order", tree.start("one")).await?;
    assert_eq!(poke(&far).await?, 11);
    soon("the end", tree.end()).await;
    assert_eq!(until_down(&far).await.handled(), Handled::No);
    Ok(())
}

/// Pokes an actor that ends until it is refused.
async fn until_down(actor: &Remote<Fickle>) -> SendError<Poke> {
    soon("a refusal", async {
        loop {
            if let Err(error) = actor.send(Poke).await {
                return error;
            }
        }
    })
    .await
}

/// A stable address of a child in the supervisor's own context: the actor sees who sends.
pub async fn a_stable_address_leads_within_a_context_too<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let root = mesh.root().await?;
    let below = mesh.child(&root, 1).await?;
    let spec = ChildSpec::spawned::<Fickle>("one", 0).stable();
    let tree = root.supervise(supervision(Strategy::OneForOne).child(spec));
    let one = child(&tree, "one").await;
    for from in [&one, &one.clone().attach(&below)] {
        assert_eq!(poke(from).await?, 1);
        soon("an answer", from.send(Crash)).await.unwrap_err();
    }
    soon("the end", tree.end()).await;
    Ok(())
}

/// A child that is placed by a group lives with one of its members, and with another one when that one's context is lost.
pub async fn a_child_is_placed_with_a_member_of_a_group<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let root = mesh.root().await?;
    let hosts = [mesh.child(&root, 1).await?, mesh.child(&root, 2).await?];
    let group = soon("a group", root.group::<Fickle>("hosts")).await?;
    let spec = ChildSpec::spawned::<Fickle>("one", 0).in_group(group.clone());
    let pause = Duration::from_millis(20);
    let backoff = Backoff::new(pause, pause, Duration::from_secs(60));
    let patient = supervision(Strategy::OneForOne).start_attempts(1000).backoff(backoff);
    let tree = root.supervise(patient.child(spec));
    // While it has no members, the child waits for one.
    let waits = soon("a start that fails", async {
        loop {
            if let Some(Ok(ChildEvent::NotStarted { why, .. })) = tree.events().next().await {
                return why;
            }
        }
    });
    assert!(waits.await.contains("no context to start it in"));
    for host in &hosts {
        let group = soon("a group", host.group::<Fickle>("hosts")).await?;
        soon("to join", group.join(&host.start(Fickle::default()))).await?;
    }
    let one = child(&tree, "one").await;
    let (lost, left) = match one.context_id() == hosts[0].id() {
        true => (&hosts[0], &hosts[1]),
        false => (&hosts[1], &hosts[0]),
    };
    mesh.kill(lost).await;
    let moved = async {
        while child(&tree, "one").await.context_id() != left.id() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    soon("the next life", moved).await;
    assert_eq!(group.members().len(), 1);
    Ok(())
}

/// A supervisor's word that an actor elsewhere shall end overtakes what waits for the actor, and what it waits for itself.
pub async fn a_supervisors_stop_overtakes_messages<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let root = mesh.root().await?;
    let below = mesh.child(&root, 1).await?;
    let spec = ChildSpec::spawned::<Fickle>("one", 0).at(below.place());
    let spec = spec.grace(Duration::from_secs(3600));
    let tree = root.supervise(supervision(Strategy::OneForOne).child(spec));
    let one = child(&tree, "one").await;
    one.tell(Doze).await?;
    let asked: Vec<_> = (0..1000).map(|_| one.send(Poke)).collect();
    soon("an order", tree.stop("one")).await?;
    for asked in asked {
        let refused = soon("an answer", asked).await.unwrap_err();
        assert_eq!((refused.reason(), refused.handled()), (Some(DeadReason::Stopped), Handled::No));
    }
    assert_eq!(states(&tree).await, [(ChildState::Stopped, 0)]);
    Ok(())
}

/// The end of a supervisor is the end of what it supervises, the last first, wherever that is, and however long that would go on.
pub async fn the_end_of_a_supervisor_is_the_end_of_all<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let root = mesh.root().await?;
    let below = mesh.child(&root, 1).await?;
    let stubborn = |_: &Context| Fickle { stubborn: true, ..Fickle::default() };
    let there = ChildSpec::spawned::<Fickle>("there", 0).at(below.place());
    let here = ChildSpec::local("here", stubborn).grace(Duration::from_millis(50));
    let tree = root.supervise(supervision(Strategy::RestForOne).child(there).child(here));
    let (there, here) = (child(&tree, "there").await, child(&tree, "here").await);
    let (mut there_down, here_down) = (root.watch(&there), root.watch(&here));
    let (_, here_ended) = soon("the end", async { tokio::join!(tree.end(), here_down) }).await;
    assert_eq!(here_ended.stopped(), Some(&StopReason::Killed));
    let ended = soon("the other's end", &mut there_down).await;
    assert_eq!(ended.stopped(), Some(&StopReason::Normal));
    Ok(())
}

/// A child that cannot be started is tried again, elsewhere if it may be, and given up after so many times.
pub async fn a_child_that_does_not_start_is_tried_elsewhere<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let root = mesh.root().await?;
    let (gone, below) = (mesh.child(&root, 1).await?, mesh.child(&root, 2).await?);
    let places: Vec<Place> = [&gone, &below].map(|context| context.place()).into();
    mesh.kill(&gone).await;
    until("its loss", || root.place_of(gone.id()).is_none()).await;
    let spec = ChildSpec::spawned::<Fickle>("one", 0).any_of(places);
    let tree = root.supervise(supervision(Strategy::OneForOne).child(spec));
    let one = child(&tree, "one").await;
    assert_eq!((one.context_id(), poke(&one).await?), (below.id(), 1));
    soon("the end", tree.end()).await;
    let spec = ChildSpec::spawned::<Fickle>("one", 0).at(gone.place());
    let tree = root.supervise(supervision(Strategy::OneForOne).start_attempts(2).child(spec));
    let given_up = soon("the end", tree.watch()).await;
    let why = given_up.stopped().unwrap().to_string();
    assert!(why.contains("`one` could not be started"), "{why}");
    Ok(())
}

/// Who listens hears of each life's beginning and end, of what could not begin, and of the supervisor's own end.
pub async fn what_happens_to_children_is_told<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let root = mesh.root().await?;
    let below = mesh.child(&root, 1).await?;
    let spec = ChildSpec::spawned::<Fickle>("far", 0).at(below.place());
    let lives = Cell::new(0);
    let near = ChildSpec::local("near", move |_| {
        lives.set(lives.get() + 1);
        assert!(lives.get() < 2, "too old");
        Fickle::default()
    });
    let supervision = supervision(Strategy::OneForOne).start_attempts(2).child(spec).child(near);
    let tree = root.supervise(supervision);
    let mut events = tree.events();
    let (far, near) = (child(&tree, "far").await, child(&tree, "near").await);
    let mut told = Vec::new();
    let mut tell = async |count: usize| {
        while told.len() < count {
            told.push(match soon("an event", events.next()).await.unwrap().unwrap() {
                ChildEvent::Up { child, address } => format!("{child} up {address:?}"),
                ChildEvent::Ended { child, is_normal, why } => {
                    format!("{child} ended {is_normal} {why}")
                }
                ChildEvent::NotStarted { child, why } => format!("{child} not started {why}"),
                other => format!("{other:?}"),
            });
        }
        std::mem::take(&mut told)
    };
    let mut both = tell(2).await;
    both.sort();
    let up = |name: &str, child: &Remote<Fickle>| format!("{name} up {:?}", child.address());
    assert_eq!(both, [up("far", &far), up("near", &near)]);
    soon("an answer", far.send(Crash)).await.unwrap_err();
    let ended = |name: &str| format!("{name} ended false panicked: as it was told");
    assert_eq!(tell(2).await, [ended("far"), up("far", &far)]);
    soon("an answer", near.send(Crash)).await.unwrap_err();
    let failed = "near not started making the actor panicked: too old";
    assert_eq!(tell(3).await, [ended("near").as_str(), failed, failed]);
    let last = tell(2).await;
    assert_eq!(last[0], "far ended true stopped");
    assert!(last[1].contains("GaveUp") && last[1].contains("`near` could not be started"));
    assert!(soon("the end", events.next()).await.is_none());
    Ok(())
}

/// A panic in the closure that says where a child may live ends nobody: the child is tried again.
pub async fn a_panic_of_what_chooses_a_place_is_a_failed_start<F: Fabric>(
    mesh: &Mesh<F>,
) -> Outcome {
    let root = mesh.root().await?;
    let below = mesh.child(&root, 1).await?;
    let (place, asked) = (below.place(), Rc::new(Cell::new(0)));
    let asks = asked.clone();
    let spec = ChildSpec::spawned::<Fickle>("one", 0).placed_by(move |_| {
        asks.set(asks.get() + 1);
        assert!(asks.get() > 2, "it cannot be said");
        vec![place]
    });
    let tree = root.supervise(supervision(Strategy::OneForOne).child(spec));
    assert_eq!(poke(&child(&tree, "one").await).await?, 1);
    let status = soon("the status", tree.status()).await?;
    let why = status[0].last_end.as_deref().unwrap();
    assert!(why.contains("it cannot be said"), "{why}");
    assert_eq!(asked.get(), 3);
    soon("the end", tree.end()).await;
    Ok(())
}

/// Linked actors end together when one of them fails, near and far, in both directions; a normal end, or the end of the link, sets free.
pub async fn linked_actors_end_together<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let root = mesh.root().await?;
    let below = mesh.child(&root, 1).await?;
    let pair = || {
        let far = below.start(Fickle::default()).attach(&root);
        (root.start(Fickle::default()), far, root.start(Fickle::default()))
    };
    let why = |ended: &actogen::Down| ended.stopped().unwrap().to_string();
    // Who fails, and who goes with it.
    for first in [true, false] {
        let (near, far, other) = pair();
        soon("a link", root.link(&near, &far)).await?;
        soon("a link", root.link(&near, &other)).await?;
        let (victim, follower) = if first { (&near, &far) } else { (&far, &near) };
        let (down, last) = (root.watch(follower), root.watch(&other));
        soon("an answer", victim.send(Crash)).await.unwrap_err();
        let down = why(&soon("the end", down).await);
        assert!(down.contains("linked to") && down.contains("as it was told"), "{down}");
        soon("the end of the third", last).await;
    }
    let (near, far, other) = pair();
    soon("a link", root.link(&near, &far)).await?;
    let link = soon("a link", root.link(&other, &far)).await?;
    soon("its end", link.unlink()).await;
    let down = root.watch(&far);
    soon("an answer", other.send(Crash)).await.unwrap_err();
    soon("an answer", near.send(Finish)).await?;
    assert_eq!(poke(&far).await?, 1);
    mesh.kill(&below).await;
    assert!(matches!(soon("the end", down).await.ended, Ended::ContextLost(_)));
    let near = root.start(Fickle::default());
    let refused = soon("an answer", root.link(&near, &far)).await.unwrap_err();
    assert!(refused.to_string().contains("does not link its actor"), "{refused}");
    let not_here = soon("an answer", root.link(&far, &near)).await.unwrap_err();
    assert!(not_here.to_string().contains("link it from there"), "{not_here}");
    assert_eq!(poke(&near).await?, 1);
    Ok(())
}
