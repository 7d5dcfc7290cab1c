//! How contexts end, and how they leave a parent without ending.

#![allow(clippy::unwrap_used, reason = "this is all test code")]

use std::{cell::RefCell, rc::Rc, time::Duration};

use actogen::{
    Context, ContextEvent, ContextId, DeadReason, DetachError, Limits, LossKind, Phase, prelude::*,
};

use crate::{
    actors::{Desk, Echo},
    mesh::{Fabric, Mesh, Outcome},
    until::{soon, until},
};

/// Says when it is stopped.
#[derive(RemoteActor)]
#[remote(name = "test.witness")]
struct Witness(u64, Rc<RefCell<Vec<String>>>);

impl Actor for Witness {
    type Context = actix::Context<Self>;

    fn stopped(&mut self, _: &mut Self::Context) {
        self.1.borrow_mut().push(format!("actor {}", self.0));
    }
}

/// The next loss of a context that this one is told of.
async fn loss_of(events: &mut actogen::ContextEvents, context: ContextId) -> LossKind {
    loop {
        if let Some(Ok(ContextEvent::Down { context: lost, loss })) =
            soon("a loss", events.next()).await
            && lost == context
        {
            return loss.kind;
        }
    }
}

/// Where nobody answers any more.
async fn nowhere<F: Fabric>(mesh: &Mesh<F>, root: &Context) -> actogen::Result<String> {
    let gone = mesh.child(root, 99).await?;
    let endpoint = gone.endpoint().ok_or("it could be dialled")?;
    mesh.kill(&gone).await;
    Ok(endpoint)
}

/// So that nobody waits for long where nobody answers.
fn hasty() -> Limits {
    let time = Duration::from_secs(1);
    Limits { handshake_time: time / 2, detection_time: 2 * time, ..crate::mesh::limits() }
}

async fn echoes(from: &Context, desk: &Remote<Desk>) -> Result<(), SendError<Echo>> {
    let desk = desk.clone().attach(from);
    soon("an answer", desk.send(Echo(vec![7; 100]))).await.map(|body| assert_eq!(body.len(), 100))
}

/// A shutdown stops a context's own actors first, then those below it; and when a context is down, nothing below it works any more.
pub async fn m18_a_tree_ends_from_its_leaves<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let root = mesh.root().await?;
    let chain = mesh.chain(&root, 1..=2).await?;
    let line = [root.clone(), chain[0].clone(), chain[1].clone()];
    let seen = Rc::<RefCell<Vec<String>>>::default();
    for (depth, context) in line.iter().enumerate() {
        context.start(Witness(context.id().0, seen.clone()));
        let (mut phase, seen) = (context.phase(), seen.clone());
        let below: Vec<_> = line[depth + 1..].to_vec();
        tokio::task::spawn_local(async move {
            let _ = phase.wait_for(|phase| *phase == Phase::Down).await;
            let work = below.iter().filter(|context| context.is_running()).count();
            seen.borrow_mut().push(format!("down above {work}"));
        });
    }
    soon("the end", root.shutdown()).await;
    until("all are told", || seen.borrow().len() == 6).await;
    let seen = seen.borrow();
    assert_eq!(seen[..3], ["actor 0", "actor 1", "actor 2"]);
    assert_eq!(seen[3..], ["down above 0"; 3]);
    Ok(())
}

/// Its old parent, and whoever reached it by that, has lost a detached context, with the reason; it lives on with what is below it when
/// that parent is gone.
pub async fn m18_a_detached_context_is_lost_for_its_parent_and_outlives_it<F: Fabric>(
    mesh: &Mesh<F>,
) -> Outcome {
    let root = mesh.root().await?;
    let parent = mesh.child(&root, 1).await?;
    let child = mesh.child(&parent, 2).await?;
    let below = mesh.child(&child, 3).await?;
    let (desk, low_desk) = (child.start(Desk::default()), below.start(Desk::default()));
    echoes(&root, &desk).await?;
    let mut events = [root.events(), parent.events()];
    soon("the parent's word", child.detach()).await?;
    assert!(child.outlives_parent() && child.family().ancestors.is_empty());
    for events in &mut events {
        assert_eq!(loss_of(events, child.id()).await, LossKind::Detached);
    }
    for from in [&root, &parent] {
        let error = echoes(from, &desk).await.unwrap_err();
        assert_eq!(error.reason(), Some(DeadReason::RouteLost), "{error}");
    }
    soon("the parent's end", parent.shutdown()).await;
    // Nothing tells that it goes on but that it does.
    echoes(&child, &low_desk).await?;
    echoes(&below, &desk).await?;
    assert!(child.is_running() && below.is_running());
    assert_eq!(child.detach().await, Err(DetachError::NoParent(child.id())));
    Ok(())
}

/// A parent that goes without having been asked leaves no context that outlives it.
pub async fn m18_a_parent_that_was_not_asked_detaches_nobody<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let root = mesh.root().await?;
    let child = mesh.child(&root, 1).await?;
    assert!(!child.outlives_parent());
    mesh.kill(&root).await;
    let mut phase = child.phase();
    let _ = soon("the child's end", phase.wait_for(|phase| *phase == Phase::Down)).await?;
    Ok(())
}

/// A detached context and what is below it are reached again, at their old addresses, when it has attached below another.
pub async fn m02_a_detached_subtree_attaches_below_another<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let root = mesh.root().await?;
    let (first, second) = (mesh.child(&root, 1).await?, mesh.child(&root, 2).await?);
    let child = mesh.child(&first, 3).await?;
    let below = mesh.child(&child, 4).await?;
    let (desk, low_desk) = (child.start(Desk::default()), below.start(Desk::default()));
    child.detach().await?;
    let endpoint = second.endpoint().ok_or("it can be dialled")?;
    let parent = soon("the new parent", child.attach_to(&endpoint, Some(second.id()))).await?;
    assert_eq!(parent, second.place());
    let above = |context: &Context| context.family().ancestors;
    until("all know whom they are below", || {
        above(&child) == [second.id(), root.id()]
            && above(&below) == [child.id(), second.id(), root.id()]
    })
    .await;
    mesh.known_above(&below).await;
    for from in [&root, &first, &second] {
        echoes(from, &desk).await?;
        echoes(from, &low_desk).await?;
    }
    Ok(())
}

/// A context that attaches below another leaves its parent, and loses none of its addresses.
pub async fn m02_a_subtree_moves_to_another_parent<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let root = mesh.root().await?;
    let nowhere = nowhere(mesh, &root).await?;
    let (first, second) = (mesh.child(&root, 1).await?, mesh.child(&root, 2).await?);
    let child = mesh.child_with(&first, 3, |builder| builder.limits(hasty())).await?;
    let below = mesh.child(&child, 4).await?;
    let low_desk = below.start(Desk::default());
    echoes(&root, &low_desk).await?;
    let endpoint = second.endpoint().ok_or("it can be dialled")?;
    soon("the new parent", child.attach_to(&endpoint, None)).await?;
    until("it has moved", || child.family().ancestors == [second.id(), root.id()]).await;
    mesh.known_above(&below).await;
    let towards = |context: &Context| root.neighbour_towards(context.id());
    until("all go by the new way", || {
        [&child, &below].iter().all(|context| towards(context) == Some(second.place()))
    })
    .await;
    for from in [&root, &first, &second] {
        echoes(from, &low_desk).await?;
    }
    // What was its parent is nothing to it any more.
    mesh.kill(&first).await;
    until("the loss is known", || root.place_of(first.id()).is_none()).await;
    echoes(&root, &low_desk).await?;
    soon("a refusal", child.attach_to(&nowhere, None)).await.unwrap_err();
    echoes(&root, &low_desk).await?;
    Ok(())
}

/// A context that was given another parent to fall back on goes there when its own is lost, and ends with that.
pub async fn an_orphan_rejoins_another_parent<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let root = mesh.root().await?;
    let first = mesh.child(&root, 1).await?;
    let others = [nowhere(mesh, &root).await?, root.endpoint().ok_or("the root can be dialled")?];
    let child =
        mesh.child_with(&first, 2, |builder| builder.limits(hasty()).other_parents(others)).await?;
    let desk = child.start(Desk::default());
    mesh.kill(&first).await;
    until("it has another parent", || child.family().ancestors == [root.id()]).await;
    mesh.known_above(&child).await;
    echoes(&root, &desk).await?;
    Ok(())
}

/// An orphan that finds none of those whom it may rejoin ends, within the detection time.
pub async fn an_orphan_whom_nobody_takes_ends<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let root = mesh.root().await?;
    let others = [nowhere(mesh, &root).await?];
    let child =
        mesh.child_with(&root, 1, |builder| builder.limits(hasty()).other_parents(others)).await?;
    mesh.kill(&root).await;
    let mut phase = child.phase();
    let _ = soon("the child's end", phase.wait_for(|phase| *phase == Phase::Down)).await?;
    Ok(())
}
