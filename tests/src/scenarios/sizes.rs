//! Messages that are larger than may be.

use actogen::{Context, DeadReason, Handled, Limits, SendError};

use crate::{
    actors::{Desk, Echo, Produce, pattern},
    mesh::{Fabric, Mesh, Outcome, limits},
};

const LIMIT: usize = 100_000;

fn small() -> Limits {
    Limits { max_message: LIMIT, ..limits() }
}

/// A root with a limit, a child and a grandchild with the default one.
async fn below_a_limit<F: Fabric>(mesh: &Mesh<F>) -> actogen::Result<[Context; 3]> {
    let root = mesh.root_with(|builder| builder.limits(small())).await?;
    let mut chain = mesh.chain(&root, 1..=2).await?;
    let grandchild = chain.remove(1);
    Ok([root, chain.remove(0), grandchild])
}

/// A limit is inherited two levels down.
pub async fn m09_the_limit_is_inherited_two_levels_down<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let [root, child, grandchild] = below_a_limit(mesh).await?;
    assert_eq!([&root, &child, &grandchild].map(|context| context.max_message()), [LIMIT; 3]);
    let tighter = Limits { max_message: LIMIT / 2, ..limits() };
    let below = mesh.child_with(&grandchild, 3, |builder| builder.limits(tighter)).await?;
    assert_eq!(below.max_message(), LIMIT / 2);
    Ok(())
}

/// A request over the limit is handed back to its sender, and the link carries on.
pub async fn m09_an_oversize_request_is_refused_to_its_sender<F: Fabric>(
    mesh: &Mesh<F>,
) -> Outcome {
    let [root, child, grandchild] = below_a_limit(mesh).await?;
    let (high, low) = (root.start(Desk::default()), grandchild.start(Desk::default()));
    for (from, desk) in [(&root, &low), (&child, &low), (&child, &high), (&grandchild, &high)] {
        let desk = desk.clone().attach(from);
        let refused = desk.send(Echo(pattern(LIMIT))).await;
        let Err(SendError::Unsent(Echo(body), dead)) = refused else { panic!("{refused:?}") };
        assert_eq!((dead.reason, dead.handled), (DeadReason::TooLarge, Handled::No), "{dead}");
        assert!(body == pattern(LIMIT), "the message comes back");
        let fits = desk.send(Echo(pattern(LIMIT - 100))).await?;
        assert!(fits == pattern(LIMIT - 100), "what fits passes");
    }
    Ok(())
}

/// Whoever asks wakes when the answer is larger than may be, and is told that the request was handled.
pub async fn m09_the_asker_wakes_when_the_reply_is_oversize<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let [root, child, grandchild] = below_a_limit(mesh).await?;
    let (high, low) = (root.start(Desk::default()), grandchild.start(Desk::default()));
    for (from, desk) in [(&root, &low), (&child, &low), (&child, &high), (&grandchild, &high)] {
        let desk = desk.clone().attach(from);
        let dead = desk.send(Produce(LIMIT as u64 + 1)).await;
        let Err(SendError::Dead(dead)) = dead else { panic!("it is too large") };
        assert_eq!((dead.reason, dead.handled), (DeadReason::TooLarge, Handled::Yes), "{dead}");
        assert_eq!(dead.by, desk.context_id());
    }
    Ok(())
}

/// A child with a tighter limit of its own refuses what its parent sends beyond it: requests at their arrival, and answers so that the
/// child wakes.
pub async fn m09_a_tighter_limit_below_holds_in_both_directions<F: Fabric>(
    mesh: &Mesh<F>,
) -> Outcome {
    let root = mesh.root().await?;
    let child = mesh.child_with(&root, 1, |builder| builder.limits(small())).await?;
    let below = mesh.child(&child, 2).await?;
    let above = root.start(Desk::default());
    for low in [&child, &below] {
        let desk = low.start(Desk::default()).attach(&root);
        for size in [LIMIT + 1, 200_000, 1 << 20] {
            let dead = desk.send(Echo(pattern(size))).await.map(|b| b.len());
            let dead = dead.expect_err("it is too large");
            assert_eq!(dead.reason(), Some(DeadReason::TooLarge), "{size}: {dead}");
            assert_eq!(dead.handled(), Handled::No);
            let asked = above.clone().attach(low).send(Produce(size as u64)).await.map(|b| b.len());
            let dead = asked.expect_err("the answer is too large");
            assert_eq!(dead.reason(), Some(DeadReason::TooLarge), "{size}: {dead}");
            assert_eq!(dead.handled(), Handled::Yes);
        }
        assert_eq!(desk.send(Echo(vec![1])).await?, [1], "the link carries on");
    }
    Ok(())
}

/// A limit below the size of one frame holds as well.
pub async fn m09_a_limit_below_one_frame_holds<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let root = mesh.root().await?;
    let tiny = Limits { max_message: 2048, ..limits() };
    let child = mesh.child_with(&root, 1, |builder| builder.limits(tiny)).await?;
    let desk = child.start(Desk::default()).attach(&root);
    let dead = desk.send(Echo(pattern(3000))).await.expect_err("it is too large");
    assert_eq!((dead.reason(), dead.handled()), (Some(DeadReason::TooLarge), Handled::No));
    let above = root.start(Desk::default()).attach(&child);
    let dead = above.send(Produce(3000)).await.expect_err("the answer is too large");
    assert_eq!((dead.reason(), dead.handled()), (Some(DeadReason::TooLarge), Handled::Yes));
    assert_eq!(desk.send(Echo(vec![1])).await?, [1]);
    Ok(())
}

/// A message over the limit is an error at its sender, in every way of sending; the link stays up and what was sent before and after
/// arrives.
pub async fn r09_a_message_over_the_limit_leaves_the_link_up<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let root = mesh.root_with(|builder| builder.limits(small())).await?;
    let child = mesh.child(&root, 1).await?;
    let desk = child.start(Desk::default()).attach(&root);
    let over = || Echo(vec![0; root.max_message() + 1]);
    assert_eq!(desk.send(Echo(vec![1])).await?, [1]);
    let errors = [
        desk.try_send(over()).map_err(|error| error.reason()),
        desk.tell(over()).await.map_err(|error| error.reason()),
        desk.send(over()).await.map(drop).map_err(|error| error.reason()),
    ];
    assert_eq!(errors, [Err(Some(DeadReason::TooLarge)); 3]);
    desk.do_send(over());
    assert_eq!(root.stats().dead_of(DeadReason::TooLarge), 1, "do_send's is a dead letter");
    assert_eq!(root.stats().refused, 3);
    assert_eq!(desk.send(Echo(vec![2])).await?, [2]);
    assert_eq!(root.place_of(child.id()), Some(child.place()));
    Ok(())
}
