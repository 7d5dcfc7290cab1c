//! Channels: values from near and far, their end, and several receivers at once.

#![allow(clippy::unwrap_used, reason = "this is all test code")]

use std::time::Duration;

use actogen::{
    CHANNEL_QUEUE, Context, DeadReason, ReceiveError, Receiver, Select, SendError, Sender,
};
use futures_util::FutureExt;

use crate::{
    mesh::{Fabric, Mesh, Outcome},
    until::{soon, until},
};

/// Sends numbers from wherever it is called.
#[actogen::function(name = "test.count_to")]
async fn count_to(sender: Sender<u32>, end: u32, close: bool) -> actogen::Result<()> {
    for n in 0..end {
        sender.send(n).await?;
    }
    if close {
        sender.close().await?;
    }
    Ok(())
}

/// Sends numbers with a kilobyte each.
#[actogen::function(name = "test.send_pages")]
async fn send_pages(sender: Sender<(u32, Vec<u8>)>, end: u32) -> actogen::Result<()> {
    for n in 0..end {
        sender.send((n, vec![0; 1000])).await?;
    }
    Ok(())
}

async fn take(receiver: &Receiver<u32>, count: u32) -> Vec<u32> {
    let mut taken = Vec::new();
    for _ in 0..count {
        taken.push(soon("a value", receiver.recv()).await.unwrap());
    }
    taken
}

async fn filled<const N: usize>(cx: &Context, values: [u32; N]) -> (Sender<u32>, Receiver<u32>) {
    let (sender, receiver) = cx.channel();
    for value in values {
        sender.send(value).await.unwrap();
    }
    (sender, receiver)
}

/// Values of several senders, here, in a child and in a grandchild, come in the order in which each has sent them.
pub async fn m14_values_come_in_their_order_near_and_far<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let root = mesh.root().await?;
    let mut contexts = mesh.chain(&root, 1..=2).await?;
    contexts.push(root.clone());
    for context in &contexts {
        let (sender, receiver) = root.channel();
        let call = root.call_in::<count_to>(context.place(), (sender, 200, false));
        assert_eq!(take(&receiver, 200).await, (0..200).collect::<Vec<_>>());
        call.await?;
    }
    Ok(())
}

/// A channel that a sender closes ends for its receiver behind the values, once for each who asks.
pub async fn m14_a_sender_ends_the_channel_behind_its_values<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let root = mesh.root().await?;
    let child = mesh.child(&root, 1).await?;
    let (sender, receiver) = root.channel();
    let call = root.call_in::<count_to>(child.place(), (sender.clone(), 100, true));
    assert_eq!(take(&receiver, 100).await.len(), 100);
    for _ in 0..2 {
        assert_eq!(soon("the end", receiver.recv()).await, Err(ReceiveError::Closed));
    }
    call.await?;
    let error = soon("a refusal", sender.send(1)).await.unwrap_err();
    assert!(matches!(error, SendError::Unsent(1, _)), "{error}");
    Ok(())
}

/// A receiver that hangs on a context ends when that is lost, behind what had come, and says why.
pub async fn m14_a_receiver_ends_with_the_context_that_it_hangs_on<F: Fabric>(
    mesh: &Mesh<F>,
) -> Outcome {
    let root = mesh.root().await?;
    let child = mesh.child(&root, 1).await?;
    let (sender, receiver) = root.channel();
    receiver.end_with(child.place());
    root.call_in::<count_to>(child.place(), (sender, 20, false)).await?;
    mesh.kill(&child).await;
    assert_eq!(take(&receiver, 20).await.len(), 20);
    match soon("the end", receiver.recv()).await {
        Err(ReceiveError::Lost(dead)) => assert_eq!(dead.reason, DeadReason::RouteLost),
        other => panic!("{other:?}"),
    }
    Ok(())
}

/// A receiver that is closed or dropped leaves nothing behind, and what is sent to it is dead.
pub async fn m14_what_is_sent_to_a_closed_receiver_is_dead<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let root = mesh.root().await?;
    let child = mesh.child(&root, 1).await?;
    let before = root.holdings().await.mailboxes;
    let (sender, receiver) = root.channel::<u32>();
    let mut waiting = Box::pin(receiver.recv());
    assert_eq!(waiting.as_mut().now_or_never(), None);
    receiver.close();
    assert_eq!(soon("the end", waiting).await, Err(ReceiveError::Closed));
    drop(receiver);
    let dead = || root.stats().dead();
    let dead_before = dead();
    root.call_in::<count_to>(child.place(), (sender, 3, false)).await?;
    until("three dead letters", || dead() >= dead_before + 3).await;
    crate::until::until_equal("mailboxes", before, || async { root.holdings().await.mailboxes })
        .await;
    Ok(())
}

/// A receiver that takes nothing holds its senders back instead of gathering what they send; when it takes again, all comes.
pub async fn m14_a_receiver_that_takes_nothing_holds_its_senders_back<F: Fabric>(
    mesh: &Mesh<F>,
) -> Outcome {
    const COUNT: u32 = 20_000;
    let root = mesh.root().await?;
    let child = mesh.child(&root, 1).await?;
    let (sender, receiver) = root.channel();
    let call = root.call_in::<send_pages>(child.place(), (sender, COUNT));
    let mut call = Box::pin(call.within(Duration::from_secs(60)));
    let full = format!("Receiver {{ waiting: {CHANNEL_QUEUE}, .. }}");
    until("the queue fills", || format!("{receiver:?}") == full).await;
    until("the sender waits", || child.stats().sent > 500).await;
    assert!(call.as_mut().now_or_never().is_none(), "it has sent everything");
    for number in 0..COUNT {
        assert_eq!(soon("a value", receiver.recv()).await?.0, number);
    }
    soon("the call's end", call).await?;
    Ok(())
}

/// A select without members has nothing to wait for.
pub async fn m14_an_empty_select_gives_nothing<F: Fabric>(_: &Mesh<F>) -> Outcome {
    let mut select = Select::<u32>::new();
    assert!(soon("nothing", select.next()).await.is_none());
    assert_eq!(select.next_within(Duration::ZERO).await, Ok(None));
    Ok(())
}

/// What had come before the receivers were added comes first, receiver by receiver; then all in the order of its arrival.
pub async fn m14_a_select_keeps_the_order_of_arrival<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let root = mesh.root().await?;
    let (first, from_first) = filled(&root, [1, 2]).await;
    let (second, from_second) = filled(&root, [3]).await;
    until("all has come", || {
        format!("{from_first:?}{from_second:?}")
            == "Receiver { waiting: 2, .. }Receiver { waiting: 1, .. }"
    })
    .await;
    let mut select = Select::new();
    let (a, b) = (select.add(from_first), select.add(from_second));
    for (sender, value, waiting) in [(&second, 4, 4), (&first, 5, 5), (&second, 6, 6)] {
        sender.send(value).await.unwrap();
        let all = format!("Select {{ members: 2, waiting: {waiting} }}");
        until("it has come", || format!("{select:?}") == all).await;
    }
    for expected in [(a, 1), (a, 2), (b, 3), (b, 4), (a, 5), (b, 6)] {
        let (from, value) = soon("a value", select.next()).await.unwrap();
        assert_eq!((from, value.unwrap()), expected);
    }
    // Taken out, a receiver keeps what comes to it.
    let receiver = select.remove(a).unwrap();
    first.send(7).await.unwrap();
    assert_eq!(soon("a value", receiver.recv()).await, Ok(7));
    assert_eq!(select.len(), 1);
    Ok(())
}

/// What comes from the members of a select within another comes from that one.
pub async fn m14_a_select_in_a_select_gives_what_comes_there<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let root = mesh.root().await?;
    let (early, from_early) = filled(&root, [1]).await;
    until("it has come", || format!("{from_early:?}").contains("waiting: 1")).await;
    let (beside, from_beside) = root.channel();
    let mut inner = Select::new();
    inner.add(from_early);
    let mut outer = Select::new();
    let nested = outer.add_select(inner);
    let next_to = outer.add(from_beside);
    assert_eq!(soon("a value", outer.next()).await, Some((nested, Ok(1))));
    beside.send(2).await.unwrap();
    assert_eq!(soon("a value", outer.next()).await, Some((next_to, Ok(2))));
    early.send(3).await.unwrap();
    assert_eq!(soon("a value", outer.next()).await, Some((nested, Ok(3))));
    early.close().await.unwrap();
    assert_eq!(soon("the end", outer.next()).await, Some((nested, Err(ReceiveError::Closed))));
    assert_eq!(outer.len(), 1);
    Ok(())
}

/// A wait with a limit ends with it, and loses nothing.
pub async fn m14_a_select_waits_for_no_longer_than_it_is_told<F: Fabric>(
    mesh: &Mesh<F>,
) -> Outcome {
    let root = mesh.root().await?;
    let (sender, receiver) = root.channel::<u32>();
    let limit = Duration::from_millis(5);
    assert_eq!(receiver.recv_within(limit).await, Err(ReceiveError::Timeout(limit)));
    let mut select = Select::new();
    let key = select.add(receiver);
    assert_eq!(select.next_within(limit).await, Err(ReceiveError::Timeout(limit)));
    sender.send(1).await.unwrap();
    assert_eq!(soon("a value", select.next()).await, Some((key, Ok(1))));
    Ok(())
}

/// The end of a member comes once, behind its values; then it is none any more, and the others stay.
pub async fn m14_a_member_that_has_ended_is_none_any_more<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let root = mesh.root().await?;
    let (done, from_done) = filled(&root, [1]).await;
    let (other, from_other) = root.channel();
    let mut select = Select::new();
    let (ends, stays) = (select.add(from_done), select.add(from_other));
    done.close().await.unwrap();
    assert_eq!(soon("a value", select.next()).await, Some((ends, Ok(1))));
    assert_eq!(soon("the end", select.next()).await, Some((ends, Err(ReceiveError::Closed))));
    other.send(2).await.unwrap();
    assert_eq!(soon("a value", select.next()).await, Some((stays, Ok(2))));
    other.close().await.unwrap();
    assert_eq!(soon("the end", select.next()).await, Some((stays, Err(ReceiveError::Closed))));
    assert!(soon("nothing", select.next()).await.is_none());
    Ok(())
}
