//! Many of everything: nothing is exhausted, nothing is left behind, and the books balance.

use actogen::{Context, ContextHoldings, ContextId, DeadReason, Limits, Remote, SendError};
use actogen_core::limits::FRAGMENT;

use crate::{
    actors::{Desk, Echo, Gate, Note, Notes, Parcel, Recorder, Unlisted, pattern},
    mesh::{Fabric, Mesh, Outcome, limits},
    rogue::Rogue,
    until::{until, until_equal},
};

/// 1,000 requests to contexts that are not there end with the right reason, leave the tables where they were and the node healthy.
pub async fn r01_a_thousand_requests_to_the_absent_leave_nothing_behind<F: Fabric>(
    mesh: &Mesh<F>,
) -> Outcome {
    let root = mesh.root().await?;
    let child = mesh.child(&root, 1).await?;
    let desk = child.start(Desk::default());
    let here = root.start(Desk::default());
    let before = [root.holdings().await, child.holdings().await];
    for from in [&root, &child] {
        let mut asked = Vec::new();
        for n in 0..500 {
            let mut address = desk.address();
            address.context = ContextId(1000 + n);
            let bytes = postcard::to_extend(&address, Vec::new())?;
            let absent: Remote<Desk> = postcard::from_bytes(&bytes)?;
            let absent = absent.attach(from);
            asked.push(tokio::task::spawn_local(async move { absent.send(Echo(vec![1])).await }));
        }
        for request in asked {
            let dead = request.await?.expect_err("nobody is there");
            assert_eq!(dead.reason(), Some(DeadReason::NoRoute), "{dead}");
        }
    }
    assert_eq!(desk.attach(&root).send(Echo(vec![1])).await?, [1]);
    assert_eq!(here.attach(&child).send(Echo(vec![1])).await?, [1]);
    let settled = |held: ContextHoldings| (held.router, held.routes, held.pending, held.mailboxes);
    for (context, before) in [&root, &child].into_iter().zip(before) {
        let after = context.holdings().await;
        // Who has addressed whom is noted for as long as the route lives.
        let mut after_router = after;
        after_router.router.addressed = before.router.addressed;
        assert_eq!(settled(after_router), settled(before));
    }
    Ok(())
}

/// Requests are answered all the while a long body goes the same way: each within what a few of its fragments take, by whichever lane
/// it goes and however long the body is.
pub async fn r08_requests_pass_beside_long_bodies<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    const LANES: u64 = 4;
    let vast = || {
        let max_message = 512 << 20;
        let (link_large_bytes, reassembly_bytes) = (max_message, max_message);
        Limits { max_message, link_large_bytes, reassembly_bytes, ..limits() }
    };
    let root = mesh.root_with(|builder| builder.limits(vast())).await?;
    let child = mesh.child_with(&root, 1, |builder| builder.limits(vast())).await?;
    let desk = || child.start(Desk::default()).attach(&root);
    let by_lane =
        |lane| std::iter::repeat_with(desk).find(|desk| desk.address().handle.0 % LANES == lane);
    let desks: Vec<_> = (0..LANES).filter_map(by_lane).collect();
    let receiver = desk();
    for &bytes in F::LONG_BODIES {
        let body = receiver.send(Parcel(0, 0, vec![7; bytes]));
        tokio::pin!(body);
        let mut answered = 0;
        for desk in desks.iter().cycle() {
            tokio::select! {
                biased;
                done = &mut body => {
                    done?;
                    break;
                }
                answer = desk.send(Echo(vec![1])) => assert_eq!(answer?, [1]),
            }
            answered += 1;
        }
        let fragments = bytes / FRAGMENT;
        assert!(
            answered * F::FRAGMENTS_PASS >= fragments,
            "{answered} requests were answered beside {fragments} fragments"
        );
    }
    Ok(())
}

/// Requests to many peers that have broken end at once, and the node has room for the living.
pub async fn r20_sending_to_many_broken_peers_exhausts_nothing<F: Fabric>(
    mesh: &Mesh<F>,
) -> Outcome {
    let root = mesh.root().await?;
    let living = mesh.child(&root, 1).await?;
    let desk = living.start(Desk::default()).attach(&root);
    let baseline = root.holdings().await;
    let mut broken = Vec::new();
    for id in 10..30 {
        let child = mesh.child(&root, id).await?;
        broken.push(child.start(Desk::default()).attach(&root));
        for peer in &broken {
            peer.do_send(Parcel(0, 0, pattern(10_000)));
        }
        mesh.kill(&child).await;
        until("it is gone", || root.place_of(child.id()).is_none()).await;
    }
    for peer in &broken {
        for _ in 0..50 {
            peer.do_send(Parcel(0, 0, pattern(1_000)));
        }
        let dead = peer.send(Echo(vec![1])).await.expect_err("it is broken");
        assert_eq!(dead.reason(), Some(DeadReason::RouteLost), "{dead}");
    }
    assert_eq!(desk.send(Echo(vec![1])).await?, [1]);
    until_equal("the tables are where they were", baseline, async || root.holdings().await).await;
    Ok(())
}

/// Links and routes that come and go leave the tables where they were.
pub async fn r19_churn_leaves_the_tables_at_baseline<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let root = mesh.root().await?;
    let living = mesh.child(&root, 1).await?;
    let desk = living.start(Desk::default());
    let baseline = [root.holdings().await, living.holdings().await];
    let transport = mesh.transport(2).await?;
    for n in 0..F::CHURN {
        let mut peer = Rogue::link_by(transport.clone(), &root, None).await?;
        peer.announce(actogen_core::Attachment(1)).await?;
        let header = peer.header_to(living.id(), desk.address().handle);
        peer.message(&header, 0, &[]).await?;
        if n % 2 == 0 {
            peer.heard_out().await?;
        }
        peer.cut().await;
    }
    assert_eq!(desk.clone().attach(&root).send(Echo(vec![1])).await?, [1]);
    for (context, before) in [&root, &living].into_iter().zip(baseline) {
        until_equal("the tables are where they were", before, async || {
            let mut held = context.holdings().await;
            // The one request above.
            held.noted = before.noted;
            held.router.addressed = before.router.addressed;
            held
        })
        .await;
    }
    Ok(())
}

/// Contexts that join with actors, talk, and are lost leave the tables where they were.
pub async fn r19_contexts_that_come_and_go_leave_nothing_behind<F: Fabric>(
    mesh: &Mesh<F>,
) -> Outcome {
    let root = mesh.root().await?;
    let steady = mesh.child(&root, 1).await?;
    let recorder = steady.start(Recorder::default());
    let baseline = [root.holdings().await, steady.holdings().await];
    for round in 0..15 {
        let child = mesh.child(&root, 2).await?;
        let desk = child.start(Desk::default());
        recorder.clone().attach(&child).tell(Note(2, round)).await?;
        assert_eq!(desk.clone().attach(&steady).send(Echo(vec![1])).await?, [1]);
        let watch = steady.watch(&desk);
        if round % 2 == 0 {
            mesh.kill(&child).await;
        } else {
            child.shutdown().await;
        }
        crate::until::soon("the notice", watch).await;
        until("it is gone", || root.place_of(child.id()).is_none()).await;
    }
    for (context, before) in [&root, &steady].into_iter().zip(baseline) {
        until_equal("the tables are where they were", before, async || context.holdings().await)
            .await;
    }
    Ok(())
}

fn books(contexts: &[Context]) -> (u64, u64) {
    let all = contexts.iter().map(|context| context.stats());
    all.fold((0, 0), |(sent, ended), stats| {
        (sent + stats.sent, ended + stats.delivered + stats.refused + stats.dead())
    })
}

/// Delivered, refused and dead messages add up to those that were sent, whatever way and wherever to, while no link breaks.
pub async fn the_books_balance_while_no_link_breaks<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let mut few = limits();
    few.mailbox_messages = 50;
    let mut small = limits();
    small.max_message = 400_000;
    let root = mesh.root_with(|builder| builder.limits(small)).await?;
    let mut all = mesh.chain(&root, 1..=2).await?;
    all.push(mesh.child_with(&root, 3, |builder| builder.limits(few)).await?);
    all.push(root.clone());
    let recorder = all[1].start(Recorder::default());
    let desk = all[1].start(Desk::default());
    let (gate, open) = Gate::closed();
    let gate = all[2].start(gate);
    let stopped = all[0].start(Recorder::default());
    all[0].unbind(&stopped);
    let mut nowhere = desk.address();
    nowhere.context = ContextId(77);
    let nowhere: Remote<Desk> = postcard::from_bytes(&postcard::to_extend(&nowhere, Vec::new())?)?;
    let bytes = postcard::to_extend(&desk, Vec::new())?;
    let unlisted: actogen::RemoteRecipient<Unlisted> = postcard::from_bytes(&bytes)?;
    for from in &all {
        for number in 0..100 {
            recorder.clone().attach(from).do_send(Note(0, number));
            gate.clone().attach(from).do_send(Note(0, number));
            stopped.clone().attach(from).do_send(Note(0, number));
            nowhere.clone().attach(from).do_send(Echo(vec![1]));
            unlisted.clone().attach(from).do_send(Unlisted(number));
            let _ = gate.clone().attach(from).try_send(Note(1, number));
        }
        recorder.clone().attach(from).tell(Parcel(0, 100, pattern(300_000))).await?;
        let over = Echo(vec![0; from.max_message() + 1]);
        // In its own context a message is not written, so that it has no size.
        let is_near = from.id() == desk.context_id();
        assert_eq!(desk.clone().attach(from).send(over).await.is_ok(), is_near);
        assert_eq!(desk.clone().attach(from).send(Echo(vec![2])).await?, [2]);
        assert!(matches!(
            stopped.clone().attach(from).send(Notes()).await,
            Err(SendError::Dead(_) | SendError::Unsent(..))
        ));
    }
    open.notify_one();
    until_equal("the books balance", true, async || {
        let (sent, ended) = books(&all);
        sent == ended && recorder.send(Notes()).await.is_ok_and(|notes| notes.len() == 404)
    })
    .await;
    let (sent, ended) = books(&all);
    assert_eq!(sent, ended);
    assert!(sent >= 4 * 603);
    Ok(())
}

/// When a link breaks with messages in flight, those whose fate nobody knows are counted as unknown, and never too few.
pub async fn the_books_count_what_was_in_flight_as_unknown<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let root = mesh.root().await?;
    let mut lives = vec![root.clone()];
    for round in 0..6 {
        let child = mesh.child(&root, 1).await?;
        let recorder = child.start(Recorder::default()).attach(&root);
        for number in 0..200 {
            recorder.do_send(Parcel(0, number, pattern(2_000)));
        }
        recorder.do_send(Parcel(0, 200, pattern(200_000)));
        if round % 2 == 0 {
            recorder.send(Notes()).await?;
        }
        mesh.kill(&child).await;
        until("it is gone", || root.place_of(child.id()).is_none()).await;
        root.holdings().await;
        lives.push(child);
    }
    let unknown = root.stats().unknown;
    until("nothing that was sent is missing in the books", || {
        let (sent, ended) = books(&lives);
        sent <= ended + unknown
    })
    .await;
    // Whoever had answered had reported nothing yet, so that little can be said of what was in flight; but no more was than was sent,
    // in frames, besides the runtime's own requests.
    assert!(unknown <= root.stats().sent + 6 * 4 + 6, "{unknown}");
    Ok(())
}
