//! Order: every pair's messages arrive in the order in which they were sent, each once.

use actogen::{Context, Remote};

use crate::{
    actors::{End, Ending, Gate, Note, Notes, Parcel, Recorder, pattern},
    mesh::{Fabric, Mesh, Outcome},
    until::{until, until_equal},
};

/// All notes of one sender, in the order in which they arrived.
fn of(notes: &[(u64, u64)], sender: u64) -> Vec<u64> {
    notes.iter().filter(|note| note.0 == sender).map(|note| note.1).collect()
}

/// Sends numbered notes, every so often one with a body that travels in fragments.
async fn send_numbered(
    to: Remote<Recorder>,
    sender: u64,
    count: u64,
    large: Option<u64>,
) -> Outcome {
    for number in 0..count {
        if large.is_some_and(|every| number % every == 1) {
            to.tell(Parcel(sender, number, pattern(100_000))).await?;
        } else {
            to.tell(Note(sender, number)).await?;
        }
    }
    Ok(())
}

async fn tree<F: Fabric>(mesh: &Mesh<F>) -> actogen::Result<Vec<Context>> {
    let root = mesh.root().await?;
    let mut all = mesh.chain(&root, 1..=3).await?;
    all.extend(mesh.chain(&root, 4..=5).await?);
    all.push(root);
    Ok(all)
}

/// Every context sends to a recorder in every context: all arrive, in order per pair.
pub async fn r02_many_to_many_arrive_in_order_per_pair<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let all = tree(mesh).await?;
    let recorders: Vec<_> = all.iter().map(|context| context.start(Recorder::default())).collect();
    let mut senders = Vec::new();
    for context in &all {
        for recorder in &recorders {
            let to = recorder.clone().attach(context);
            senders.push(tokio::task::spawn_local(send_numbered(to, context.id().0, 60, Some(20))));
        }
    }
    for sender in senders {
        sender.await??;
    }
    for recorder in &recorders {
        until_equal("all arrive", all.len() * 60, async || {
            recorder.send(Notes()).await.unwrap_or_default().len()
        })
        .await;
        let notes = recorder.send(Notes()).await?;
        for context in &all {
            assert_eq!(of(&notes, context.id().0), (0..60).collect::<Vec<_>>(), "{context:?}");
        }
    }
    Ok(())
}

/// Runs of one kind of message, broken by another kind, by requests and by other mailboxes on the same lane: each reaches its own
/// mailbox as what it is.
pub async fn r15_a_burst_of_several_kinds_to_several_mailboxes_is_never_mixed_up<F: Fabric>(
    mesh: &Mesh<F>,
) -> Outcome {
    let root = mesh.root().await?;
    let one = mesh.child(&root, 1).await?;
    // Four lanes: some of nine mailboxes share one.
    let recorders: Vec<_> = (0..9).map(|_| one.start(Recorder::default())).collect();
    let far: Vec<_> = recorders.iter().map(|to| to.clone().attach(&root)).collect();
    let mut asked = tokio::task::JoinSet::new();
    const RUNS: u64 = 40;
    let lengths = [1, 7, 1, 30, 2, 1, 12, 3, 1];
    for run in 0..RUNS {
        for (to, length) in far.iter().zip(lengths) {
            to.tell(Parcel(run, 0, pattern(usize::try_from(run)?))).await?;
            for number in 1..=length {
                to.tell(Note(run, number)).await?;
            }
            let other = &far[usize::try_from(run + length)? % far.len()];
            asked.spawn_local(other.send(Notes()));
            tokio::task::yield_now().await;
            to.tell(Note(run, length + 1)).await?;
        }
    }
    while let Some(answer) = asked.join_next().await {
        answer??;
    }
    for (to, length) in far.iter().zip(lengths) {
        let expected: Vec<_> =
            (0..RUNS).flat_map(|run| (0..length + 2).map(move |n| (run, n))).collect();
        assert_eq!(to.send(Notes()).await?, expected);
    }
    assert_eq!(one.stats().dead(), 0);
    Ok(())
}

/// A small message that is sent behind a large one to the same mailbox arrives behind it.
pub async fn r02_what_follows_a_large_message_stays_behind_it<F: Fabric>(
    mesh: &Mesh<F>,
) -> Outcome {
    let all = tree(mesh).await?;
    let recorder = all[2].start(Recorder::default());
    for from in &all {
        let to = recorder.clone().attach(from);
        for number in 0..6 {
            to.tell(Parcel(from.id().0, 2 * number, pattern(300_000))).await?;
            to.tell(Note(from.id().0, 2 * number + 1)).await?;
        }
    }
    until_equal("all arrive", all.len() * 12, async || {
        recorder.send(Notes()).await.unwrap_or_default().len()
    })
    .await;
    let notes = recorder.send(Notes()).await?;
    for from in &all {
        assert_eq!(of(&notes, from.id().0), (0..12).collect::<Vec<_>>(), "{from:?}");
    }
    Ok(())
}

/// Several tasks that send to one mailbox each keep their own order.
pub async fn r15_concurrent_senders_keep_their_own_order<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let all = tree(mesh).await?;
    let recorder = all[2].start(Recorder::default());
    let mut senders = Vec::new();
    for (number, context) in all.iter().enumerate() {
        for task in 0..5 {
            let to = recorder.clone().attach(context);
            let sender = number as u64 * 10 + task;
            senders.push((sender, tokio::task::spawn_local(send_numbered(to, sender, 100, None))));
        }
    }
    let mut numbers = Vec::new();
    for (number, sender) in senders {
        sender.await??;
        numbers.push(number);
    }
    until_equal("all arrive", numbers.len() * 100, async || {
        recorder.send(Notes()).await.unwrap_or_default().len()
    })
    .await;
    let notes = recorder.send(Notes()).await?;
    for number in numbers {
        assert_eq!(of(&notes, number), (0..100).collect::<Vec<_>>(), "sender {number}");
    }
    Ok(())
}

/// One sender's `do_send`, `tell`, `try_send` and `send` to one actor keep their order among each other, near and far.
pub async fn r15_all_ways_of_sending_keep_one_order<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let all = tree(mesh).await?;
    let recorder = all[2].start(Recorder::default());
    for from in &all {
        let (to, me) = (recorder.clone().attach(from), from.id().0);
        for round in 0..10 {
            to.do_send(Note(me, 4 * round));
            to.tell(Note(me, 4 * round + 1)).await?;
            to.try_send(Note(me, 4 * round + 2))?;
            to.send(Note(me, 4 * round + 3)).await?;
        }
        let notes = to.send(Notes()).await?;
        assert_eq!(of(&notes, me), (0..40).collect::<Vec<_>>(), "{from:?}");
    }
    Ok(())
}

/// An actor that is registered again under the name of one that has stopped gets nothing that was sent to the old.
pub async fn r15_a_recreated_mailbox_of_the_same_name_gets_nothing_of_the_old<F: Fabric>(
    mesh: &Mesh<F>,
) -> Outcome {
    let all = tree(mesh).await?;
    let (home, far) = (&all[2], &all[4]);
    let first = home.start(Recorder::default());
    home.register("recorder", &first)?;
    let old: Remote<Recorder> = far.lookup_in(home.place(), "recorder").await?;
    assert_eq!(old, first);
    for number in 0..20 {
        old.do_send(Note(1, number));
    }
    old.do_send(End(Ending::Stop));
    for number in 20..40 {
        old.do_send(Note(1, number));
    }
    until("the first has stopped", || home.stopped(first.address().handle).is_some()).await;
    let second = home.start(Recorder::default());
    home.register("recorder", &second)?;
    let new: Remote<Recorder> = far.lookup_in(home.place(), "recorder").await?;
    assert_ne!(new, old);
    for number in 40..60 {
        old.do_send(Note(1, number));
        new.tell(Note(2, number)).await?;
    }
    let dead = old.send(Notes()).await.expect_err("it has stopped");
    assert_eq!(dead.reason(), Some(actogen::DeadReason::Stopped), "{dead}");
    assert_eq!(new.send(Notes()).await?, (40..60).map(|n| (2, n)).collect::<Vec<_>>());
    Ok(())
}

/// A receiver that takes nothing hands messages back to `try_send`, lets `tell` wait, and gets all that was told in order when it opens.
pub async fn a_closed_receiver_holds_near_senders_back<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let mut limits = crate::mesh::limits();
    limits.mailbox_messages = 30;
    let root = mesh.root_with(|builder| builder.limits(limits)).await?;
    let (gate, open) = Gate::closed();
    let gate = root.start(gate);
    let mut taken = 0;
    let full = loop {
        match gate.try_send(Note(0, taken)) {
            Ok(()) => taken += 1,
            Err(full) => break full,
        }
    };
    assert!((1..=30).contains(&taken), "{taken}");
    assert_eq!(full.into_message(), Some(Note(0, taken)));
    let telling = tokio::task::spawn_local({
        let gate = gate.clone();
        async move {
            for number in taken..100 {
                gate.tell(Note(0, number)).await?;
            }
            Outcome::Ok(())
        }
    });
    open.notify_one();
    telling.await??;
    assert_eq!(gate.send(Notes()).await?, (0..100).map(|n| (0, n)).collect::<Vec<_>>());
    let stats = root.stats();
    assert_eq!((stats.sent, stats.delivered, stats.refused), (102, 101, 1));
    Ok(())
}

/// As [`a_closed_receiver_holds_near_senders_back`], from afar: the receiver's context asks for a pause, and nothing that was told is
/// refused.
pub async fn a_closed_receiver_holds_far_senders_back<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let root = mesh.root().await?;
    let far = mesh.child(&root, 1).await?;
    let below = mesh.child(&far, 2).await?;
    let (gate, open) = Gate::closed();
    let gate = far.start(gate);
    let mut telling = Vec::new();
    for from in [&root, &below] {
        let (gate, me, body) = (gate.clone().attach(from), from.id().0, pattern(1000));
        telling.push(tokio::task::spawn_local(async move {
            for number in 0..10_000 {
                gate.tell(Parcel(me, number, body.clone())).await?;
            }
            Outcome::Ok(())
        }));
    }
    until("both wait", || {
        let sent = root.stats().sent + below.stats().sent;
        telling.iter().all(|task| !task.is_finished()) && sent > 500
    })
    .await;
    open.notify_one();
    for task in telling {
        task.await??;
    }
    until_equal("all arrive", 20_000, async || far.stats().delivered + far.stats().dead()).await;
    assert_eq!(far.stats().dead(), 0);
    let notes = gate.attach(&far).send(Notes()).await?;
    for from in [&root, &below] {
        assert_eq!(of(&notes, from.id().0), (0..10_000).collect::<Vec<_>>(), "{from:?}");
    }
    Ok(())
}

/// What has been told is flushed when its context shuts down at once.
pub async fn r17_what_was_told_is_flushed_on_shutdown<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let root = mesh.root().await?;
    let recorder = root.start(Recorder::default());
    for round in 0..3 {
        let child = mesh.chain(&root, [10 + 2 * round, 11 + 2 * round]).await?.remove(1);
        let (to, me) = (recorder.clone().attach(&child), child.id().0);
        send_numbered(to, me, 150, Some(50)).await?;
        child.shutdown().await;
        until_equal("all arrive", (0..150).collect(), async || {
            of(&recorder.send(Notes()).await.unwrap_or_default(), me)
        })
        .await;
    }
    Ok(())
}
