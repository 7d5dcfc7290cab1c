//! Trees and routes: who reaches whom, and who learns that somebody is gone.

use actogen::{
    Context, ContextId, Dead, DeadReason, Handled, Policy, Remote, SendError, StopReason,
};

use crate::{
    actors::{Announce, Desk, Echo, Herald, Never, Note, Notes, Parcel, Recorder, pattern},
    mesh::{Fabric, Mesh, Outcome},
    rogue::Rogue,
    until::{soon, until, until_equal},
};

/// The address of an actor as another context has it.
fn seen_from<A>(context: &Context, actor: &Remote<A>) -> Remote<A> {
    actor.clone().attach(context)
}

async fn answers(from: &Context, desk: &Remote<Desk>) -> actogen::Result<()> {
    let body = format!("from {} to {}", from.id().0, desk.context_id().0).into_bytes();
    assert_eq!(seen_from(from, desk).send(Echo(body.clone())).await?, body);
    Ok(())
}

/// Everybody in a chain of ten below the root reaches everybody.
pub async fn m01_a_chain_of_ten_reaches_from_end_to_end<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let root = mesh.root().await?;
    let mut all = mesh.chain(&root, 1..=10).await?;
    all.insert(0, root);
    let desks: Vec<_> = all.iter().map(|context| context.start(Desk::default())).collect();
    for context in &all {
        for desk in &desks {
            answers(context, desk).await?;
        }
    }
    Ok(())
}

/// Siblings, cousins, and parents, children and grandchildren reach each other both ways.
pub async fn m01_siblings_cousins_and_generations_reach_each_other<F: Fabric>(
    mesh: &Mesh<F>,
) -> Outcome {
    let root = mesh.root().await?;
    let (left, right) = (mesh.child(&root, 1).await?, mesh.child(&root, 2).await?);
    let (niece, nephew) = (mesh.child(&left, 3).await?, mesh.child(&right, 4).await?);
    let all = [root, left, right, niece, nephew];
    let desks = all.each_ref().map(|context| context.start(Desk::default()));
    for context in &all {
        for desk in &desks {
            answers(context, desk).await?;
        }
    }
    Ok(())
}

/// A child's first message, sent the moment it has started, is answered by a far cousin.
pub async fn m02_a_childs_first_message_is_answered_by_a_far_cousin<F: Fabric>(
    mesh: &Mesh<F>,
) -> Outcome {
    let root = mesh.root().await?;
    let far = mesh.chain(&root, 1..=4).await?;
    let near = mesh.chain(&root, 5..=7).await?;
    let desk = far[3].start(Desk::default());
    for id in 20..30 {
        let child = mesh.child_unseen(&near[2], id, |builder| builder).await?;
        answers(&child, &desk).await?;
    }
    Ok(())
}

/// A child can be addressed by a far cousin that has its address from the child's own first message.
pub async fn m02_an_address_in_a_first_message_works_at_once<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let root = mesh.root().await?;
    let far = mesh.chain(&root, 1..=3).await?;
    let near = mesh.chain(&root, 5..=6).await?;
    let herald = far[2].start(Herald);
    for id in 20..25 {
        let child = mesh.child_unseen(&near[1], id, |builder| builder).await?;
        let recorder = child.start(Recorder::default());
        seen_from(&child, &herald).send(Announce(recorder.clone(), 0, 3)).await?;
        until_equal("the herald's notes", vec![(0, 0), (0, 1), (0, 2)], async || {
            recorder.send(Notes()).await.unwrap_or_default()
        })
        .await;
    }
    Ok(())
}

/// Who has addressed a lost context hears of it once per stream; who has not, never.
pub async fn m05_only_who_addressed_hears_of_a_loss_once_per_stream<F: Fabric>(
    mesh: &Mesh<F>,
) -> Outcome {
    let root = mesh.root().await?;
    let mut rogue = Rogue::child_of(mesh, &root, 1).await?;
    let (addressed, not) = (mesh.child(&root, 2).await?, mesh.child(&root, 3).await?);
    let desk = addressed.start(Desk::default());
    let header = rogue.header_to(addressed.id(), desk.address().handle);
    rogue.message(&header, 0, &[]).await?;
    rogue.heard_out().await?;
    until_equal("the root notes who was addressed", 1, async || {
        root.holdings().await.router.addressed
    })
    .await;
    for gone in [&not, &addressed] {
        mesh.kill(gone).await;
        until("the root has lost it", || root.place_of(gone.id()).is_none()).await;
        root.holdings().await;
    }
    rogue.heard_out().await?;
    let mut streams = Vec::new();
    for (stream, del) in rogue.withdrawals() {
        let lost: Vec<_> = del.routes.iter().map(|withdrawn| withdrawn.context).collect();
        assert_eq!(lost, [addressed.id()], "nobody hears of what it has not addressed");
        streams.push(stream);
    }
    streams.sort_unstable();
    assert_eq!(streams, actogen_core::StreamId::all().collect::<Vec<_>>());
    rogue.cut().await;
    Ok(())
}

/// A request that waits at somebody who is lost.
async fn never_answered(from: Context, desk: Remote<Desk>) -> Result<(), SendError<Never>> {
    seen_from(&from, &desk).send(Never()).await
}

/// Waits at `desk` from each of `from`, cuts `gone` off, and expects each to be woken for that.
async fn all_are_woken<F: Fabric>(
    mesh: &Mesh<F>,
    from: &[&Context],
    at: &Context,
    gone: &Context,
) -> Outcome {
    let desk = at.start(Desk::default());
    let mut waiting = Vec::new();
    for &context in from {
        waiting.push(tokio::task::spawn_local(never_answered(context.clone(), desk.clone())));
        // The request has arrived when one that was sent behind it is answered.
        until_equal("it waits", 1, async || context.holdings().await.pending).await;
        answers(context, &desk).await?;
    }
    mesh.kill(gone).await;
    for (context, waiter) in from.iter().zip(waiting) {
        let woken = soon("a waiter is woken", waiter).await?;
        let Err(SendError::Dead(dead)) = woken else { panic!("{context:?}: {woken:?}") };
        let Dead { reason, handled, text, .. } = &dead;
        assert_eq!((*reason, *handled), (DeadReason::RouteLost, Handled::Maybe), "{dead}");
        let expected = format!("{} lost: ", gone.id());
        assert!(text.starts_with(&expected), "{context:?} is told {text:?}, not {expected:?}");
        assert!(text.len() > expected.len(), "the reason's own text is there");
    }
    Ok(())
}

/// A waiter learns at once that the child which it waits for has gone.
pub async fn m06_a_lost_child_wakes_its_waiters<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let root = mesh.root().await?;
    let child = mesh.child(&root, 1).await?;
    all_are_woken(mesh, &[&root], &child, &child).await
}

/// A waiter learns at once that a grandchild has gone.
pub async fn m06_a_lost_grandchild_wakes_its_waiters<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let root = mesh.root().await?;
    let chain = mesh.chain(&root, 1..=2).await?;
    all_are_woken(mesh, &[&root, &chain[0]], &chain[1], &chain[1]).await
}

/// A waiter learns at once that a context on the way to whom it waits for has gone.
pub async fn m06_a_lost_intermediary_wakes_those_who_wait_beyond_it<F: Fabric>(
    mesh: &Mesh<F>,
) -> Outcome {
    let root = mesh.root().await?;
    let chain = mesh.chain(&root, 1..=3).await?;
    let other = mesh.child(&root, 9).await?;
    all_are_woken(mesh, &[&root, &other], &chain[2], &chain[0]).await
}

/// A waiter learns at once that a sibling has gone.
pub async fn m06_a_lost_near_sibling_wakes_its_waiters<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let root = mesh.root().await?;
    let (one, two) = (mesh.child(&root, 1).await?, mesh.child(&root, 2).await?);
    all_are_woken(mesh, &[&one], &two, &two).await
}

/// A waiter deep in the tree learns at once that a far cousin has gone.
pub async fn m06_a_lost_far_sibling_wakes_its_waiters<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let root = mesh.root().await?;
    let near = mesh.chain(&root, 1..=3).await?;
    let far = mesh.chain(&root, 5..=7).await?;
    all_are_woken(mesh, &[&near[2], &near[0]], &far[2], &far[2]).await
}

/// A waiter below a context that loses its parent learns that what lies beyond is gone.
pub async fn m06_a_lost_parent_wakes_those_who_wait_outside<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let root = mesh.root().await?;
    let middle = mesh.child_with(&root, 1, |builder| builder.ends_with_parent(false)).await?;
    let below = mesh.child(&middle, 2).await?;
    let desk = mesh.child(&root, 3).await?.start(Desk::default());
    let waiting = tokio::task::spawn_local(never_answered(below.clone(), desk.clone()));
    until_equal("it waits", 1, async || below.holdings().await.pending).await;
    answers(&below, &desk).await?;
    mesh.kill(&root).await;
    let woken = soon("the waiter is woken", waiting).await?;
    let Err(SendError::Dead(dead)) = woken else { panic!("{woken:?}") };
    assert_eq!((dead.reason, dead.handled), (DeadReason::RouteLost, Handled::Maybe), "{dead}");
    assert!(dead.text.starts_with("context 0 lost: "), "{dead}");
    Ok(())
}

async fn dead_of<A>(context: &Context, desk: &Remote<A>) -> Dead
where
    Echo: actogen::MessageOf<A>,
{
    match seen_from(context, desk).send(Echo(Vec::new())).await {
        Err(SendError::Dead(dead) | SendError::Unsent(_, dead)) => dead,
        other => panic!("not dead: {other:?}"),
    }
}

/// A long request, which travels in parts, dies with the same reasons and is counted as often as a short one: once.
pub async fn m10_a_long_request_to_nobody_is_answered_as_a_short_one_is<F: Fabric>(
    mesh: &Mesh<F>,
) -> Outcome {
    let root = mesh.root().await?;
    let there = mesh.child(&root, 1).await?;
    let stopped = there.start(Desk::default());
    there.stop(&stopped, StopReason::Normal);
    there.watch(&stopped).await;
    let refusing = there.start_with(Desk::default(), Policy::OnlySelf);
    let mut nobody = stopped.address();
    nobody.handle = actogen::Handle(0x1234_5678_9abc_def0);
    let nobody: Remote<Desk> = postcard::from_bytes(&postcard::to_extend(&nobody, Vec::new())?)?;
    let expected = [
        (&stopped, DeadReason::Stopped),
        (&nobody, DeadReason::NoHandle),
        (&refusing, DeadReason::Refused),
    ];
    for (desk, reason) in expected {
        for (length, count) in [(1, 1), (200_000, 2)] {
            let asked = desk.clone().attach(&root).send(Parcel(1, 1, pattern(length)));
            let error = asked.await.expect_err("nobody is there");
            assert_eq!((error.reason(), error.handled()), (Some(reason), Handled::No), "{length}");
            assert_eq!(there.stats().dead_of(reason), count, "{reason}");
        }
    }
    Ok(())
}

/// An unknown handle, a context that never was, and one that was there: three different reasons.
pub async fn m10_three_kinds_of_absence_have_three_reasons<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let root = mesh.root().await?;
    let asker = mesh.chain(&root, 1..=2).await?.remove(1);
    let there = mesh.child(&root, 3).await?;
    let was_there = mesh.child(&root, 4).await?;
    let (desk, lost) = (there.start(Desk::default()), was_there.start(Desk::default()));
    mesh.kill(&was_there).await;
    until("the root has lost it", || root.place_of(was_there.id()).is_none()).await;
    let moved = |context, handle| -> actogen::Result<Remote<Desk>> {
        let mut address = desk.address();
        (address.context, address.handle) = (context, handle);
        Ok(postcard::from_bytes(&postcard::to_extend(&address, Vec::new())?)?)
    };
    let no_handle = moved(there.id(), actogen::Handle(0x1234_5678_9abc_def0))?;
    let no_context = moved(ContextId(77), desk.address().handle)?;
    for from in [&root, &asker] {
        let expected = [
            (&no_handle, DeadReason::NoHandle, there.id()),
            (&no_context, DeadReason::NoRoute, root.id()),
            (&lost, DeadReason::RouteLost, root.id()),
        ];
        for (whom, reason, by) in expected {
            let dead = dead_of(from, whom).await;
            assert_eq!((dead.reason, dead.handled, dead.by), (reason, Handled::No, by), "{dead}");
        }
    }
    Ok(())
}

/// Notes to somebody who is gone are dead letters where the route ends, with the same reasons.
pub async fn m10_one_way_messages_to_the_absent_are_counted_where_they_end<F: Fabric>(
    mesh: &Mesh<F>,
) -> Outcome {
    let root = mesh.root().await?;
    let asker = mesh.child(&root, 1).await?;
    let other = mesh.child(&root, 2).await?;
    let recorder = other.start(Recorder::default());
    mesh.kill(&other).await;
    until("the root has lost it", || root.place_of(other.id()).is_none()).await;
    let mut letters = root.dead_letters();
    seen_from(&asker, &recorder).do_send(Note(1, 1));
    let letter = soon("a dead letter", letters.next()).await.ok_or("the context has ended")?;
    let letter = letter.map_err(|dropped| format!("{dropped} dropped"))?;
    assert_eq!(letter.dead.reason, DeadReason::RouteLost);
    assert_eq!((letter.to.context, letter.from.source), (other.id(), asker.id()));
    assert_eq!(root.stats().dead_of(DeadReason::RouteLost), 1);
    Ok(())
}
