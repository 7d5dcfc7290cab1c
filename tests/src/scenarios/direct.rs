//! Direct links: who gets one, that both ends take it, and that nothing is lost or overtaken when it comes, is given up, or breaks.

use actogen::{
    ConnectError, Context, ContextEvent, ContextEvents, ContextId, DeadReason, Handle, Handled,
    LossKind, OffenceKind, Policy, Remote, StopReason,
};
use actogen_core::wire::{
    Header,
    control::{self, Answer, Hello, RefusalReason, Role},
    direct::{Ask, Body, Grant, Ticket},
};

use crate::{
    actors::{Desk, Echo, Gate, Never, Note, Notes, Parcel, Recorder, WhoAmI, pattern},
    mesh::{Fabric, Mesh, Outcome},
    rogue::Rogue,
    until::{soon, until, until_equal},
};

/// The root, and two children of it.
async fn family<F: Fabric>(mesh: &Mesh<F>) -> actogen::Result<[Context; 3]> {
    let root = mesh.root().await?;
    let (one, two) = (mesh.child(&root, 1).await?, mesh.child(&root, 2).await?);
    Ok([root, one, two])
}

/// The neighbour that brings what `from` sends to a desk.
async fn neighbour(desk: &Remote<Desk>, from: &Context) -> actogen::Result<Option<u64>> {
    let (_, _, neighbour) = desk.clone().attach(from).send(WhoAmI()).await?;
    Ok(neighbour)
}

async fn event(events: &mut ContextEvents) -> actogen::Result<ContextEvent> {
    Ok(soon("an event", events.next())
        .await
        .ok_or("it has ended")?
        .map_err(|n| format!("{n} dropped"))?)
}

/// Both ends send by it as soon as it stands, are told when it comes and goes, and send by the tree when it is given up.
pub async fn a_direct_link_is_taken_by_both_ends<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let [root, one, two] = family(mesh).await?;
    let (here, there) = (one.start(Desk::default()), two.start(Desk::default()));
    assert_eq!(neighbour(&there, &one).await?, Some(0));
    let (mut ones, mut twos) = (one.events(), two.events());
    one.connect(there.address()).await?;
    for (events, peer) in [(&mut ones, two.id()), (&mut twos, one.id())] {
        assert_eq!(event(events).await?, ContextEvent::Linked { context: peer });
    }
    assert_eq!((one.direct_links(), two.direct_links()), (vec![two.id()], vec![one.id()]));
    assert_eq!(neighbour(&there, &one).await?, Some(1));
    // The other end's paths go over by themselves.
    until_equal("both take it", Some(2), async || neighbour(&here, &two).await.unwrap_or_default())
        .await;
    assert_eq!(neighbour(&there, &root).await?, Some(0), "it is a way to nobody else");
    one.connect(two.id()).await?;
    two.disconnect(one.id()).await?;
    assert_eq!(neighbour(&here, &two).await?, Some(0));
    until_equal("both leave it", Some(0), async || {
        neighbour(&there, &one).await.unwrap_or_default()
    })
    .await;
    for (events, peer) in [(&mut ones, two.id()), (&mut twos, one.id())] {
        let ContextEvent::Unlinked { context, loss } = event(events).await? else {
            panic!("another")
        };
        assert_eq!((context, loss.kind), (peer, LossKind::Detached), "{loss}");
    }
    assert!(one.direct_links().is_empty() && two.direct_links().is_empty());
    until_equal("the links are gone", 1, async || one.holdings().await.router.links).await;
    assert!(two.disconnect(one.id()).await.is_err(), "there is none");
    Ok(())
}

/// Numbers of one sender, in the order in which they came.
async fn numbers(of: &Remote<Recorder>) -> actogen::Result<Vec<u64>> {
    Ok(of.send(Notes()).await?.into_iter().map(|note| note.1).collect())
}

async fn send_numbered(to: Remote<Recorder>, count: u64, large: u64) -> Outcome {
    for number in 0..count {
        if number % large == 1 {
            to.tell(Parcel(1, number, pattern(100_000))).await?;
        } else {
            to.tell(Note(1, number)).await?;
        }
        if number % 50 == 0 {
            tokio::task::yield_now().await;
        }
    }
    Ok(())
}

/// Under load both ways, on each lane, with long bodies among short ones, a link comes and is given up again and again, by either end:
/// everything arrives, once and in order.
pub async fn order_holds_while_a_direct_link_comes_and_goes<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    const COUNT: u64 = 1500;
    let [_root, one, two] = family(mesh).await?;
    let mut senders = tokio::task::JoinSet::new();
    let mut recorders = Vec::new();
    for (from, at) in [(&one, &two), (&two, &one)] {
        // Their handles lie on all four lanes, more or less.
        for _ in 0..6 {
            let recorder = at.start(Recorder::default());
            let to = recorder.clone().attach(from);
            senders.spawn_local(async move {
                send_numbered(to, COUNT, 150).await.map_err(|e| e.to_string())
            });
            recorders.push(recorder);
        }
    }
    let mut changes = 0;
    while changes < 4 || !senders.is_empty() {
        let (from, to) = if changes % 2 == 0 { (&one, &two) } else { (&two, &one) };
        from.connect(to.id()).await?;
        to.disconnect(from.id()).await?;
        until("both ends have left", || !from.is_linked(to.id())).await;
        changes += 1;
        while let Some(ended) = senders.try_join_next() {
            ended??;
        }
    }
    for recorder in &recorders {
        until_equal("all arrive", COUNT as usize, async || {
            numbers(recorder).await.unwrap_or_default().len()
        })
        .await;
        assert_eq!(numbers(recorder).await?, (0..COUNT).collect::<Vec<_>>());
    }
    Ok(())
}

/// A request and a watch by a link that is given up are answered by the tree, and do not end with the link.
pub async fn what_is_asked_by_a_link_that_is_given_up_is_answered<F: Fabric>(
    mesh: &Mesh<F>,
) -> Outcome {
    let [_root, one, two] = family(mesh).await?;
    let (desk, (gate, open)) = (two.start(Desk::default()), Gate::closed());
    let gate = two.start(gate).attach(&one);
    one.connect(two.id()).await?;
    let far = desk.clone().attach(&one);
    let call = gate.send(Notes());
    let watch = one.watch(&far);
    until_equal("it is watched", 1, async || two.holdings().await.watched).await;
    far.send(Echo(vec![1])).await?;
    one.disconnect(two.id()).await?;
    until_equal("the link is gone", 1, async || one.holdings().await.router.links).await;
    open.notify_one();
    assert_eq!(soon("the answer", call).await?, []);
    assert!(two.stop(&desk, StopReason::Killed));
    assert_eq!(soon("the notice", watch).await.stopped(), Some(&StopReason::Killed));
    Ok(())
}

/// When it breaks, requests by it end in doubt, watches stay, and messages go on by the tree, none of them behind a later one.
pub async fn a_direct_link_that_breaks_leaves_the_tree<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let [_root, one, two] = family(mesh).await?;
    let (desk, recorder) = (two.start(Desk::default()), two.start(Recorder::default()));
    for round in 0..3 {
        one.connect(two.id()).await?;
        let far = desk.clone().attach(&one);
        let call = far.send(Never());
        let watch = one.watch(&far);
        until_equal("it is watched", 1, async || two.holdings().await.watched).await;
        far.send(Echo(vec![1])).await?;
        let to = recorder.clone().attach(&one);
        for number in 0..300 {
            // Some find the link gone, and are handed back.
            let _ = to.tell(Note(1, 1000 * round + number)).await;
            if number == 150 {
                mesh.cut_dialled(one.id(), two.id());
            }
        }
        let dead = soon("the call ends", call).await.expect_err("it is never answered");
        assert_eq!(
            (dead.reason(), dead.handled()),
            (Some(DeadReason::RouteLost), Handled::Maybe),
            "{dead}"
        );
        until("both have seen it", || {
            one.direct_links().is_empty() && two.direct_links().is_empty()
        })
        .await;
        assert_eq!(neighbour(&desk, &one).await?, Some(0));
        to.send(Note(1, 1000 * round + 999)).await?;
        drop(watch);
        until_equal("no watch is held twice", 0, async || two.holdings().await.watched).await;
    }
    let numbers = numbers(&recorder).await?;
    assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
    assert!([999, 1999, 2999].iter().all(|last| numbers.contains(last)), "{numbers:?}");
    let watch = one.watch(&desk.clone().attach(&one));
    until_equal("it is watched", 1, async || two.holdings().await.watched).await;
    assert!(two.stop(&desk, StopReason::Killed));
    assert_eq!(soon("the notice", watch).await.stopped(), Some(&StopReason::Killed));
    Ok(())
}

/// Two that connect to each other at the same moment, time and again, come to hold one link, and each is told that it stands.
pub async fn two_that_connect_to_each_other_hold_one_link<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let [_root, one, two] = family(mesh).await?;
    let (here, there) = (one.start(Desk::default()), two.start(Desk::default()));
    for _ in 0..5 {
        let (mine, yours) = tokio::join!(one.connect(two.id()), two.connect(one.id()));
        mine?;
        yours?;
        for (desk, from) in [(&there, &one), (&here, &two)] {
            until_equal("each takes it", Some(from.id().0), async || {
                neighbour(desk, from).await.unwrap_or_default()
            })
            .await;
        }
        for context in [&one, &two] {
            until_equal("it is one", 2, async || context.holdings().await.router.links).await;
        }
        one.disconnect(two.id()).await?;
        for context in [&one, &two] {
            until_equal("it is gone", 1, async || context.holdings().await.router.links).await;
        }
    }
    Ok(())
}

/// Who dies is lost to whoever holds a direct link to it: its link, its calls and its watches end.
pub async fn the_death_of_a_peer_ends_its_direct_links<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let [root, one, two] = family(mesh).await?;
    let far = two.start(Desk::default()).attach(&one);
    one.connect(two.id()).await?;
    let (call, watch) = (far.send(Never()), one.watch(&far));
    until_equal("it is watched", 1, async || two.holdings().await.watched).await;
    far.send(Echo(vec![1])).await?;
    mesh.kill(&two).await;
    let dead = soon("the call ends", call).await.expect_err("it is never answered");
    assert_eq!(dead.reason(), Some(DeadReason::RouteLost), "{dead}");
    assert_eq!(soon("the watch ends", watch).await.lost(), Some(DeadReason::RouteLost));
    until("it is forgotten", || one.direct_links().is_empty() && root.descendants() == [one.id()])
        .await;
    let dead = far.send(Echo(vec![1])).await.expect_err("it is gone");
    assert_eq!(
        (dead.reason(), dead.handled()),
        (Some(DeadReason::RouteLost), Handled::No),
        "{dead}"
    );
    until_equal("nothing waits", 0, async || one.holdings().await.pending).await;
    Ok(())
}

fn direct_hello(of: &Context, id: u64, ticket: Ticket) -> Vec<u8> {
    let mut opening = Vec::new();
    let hello = Hello {
        version: control::VERSION,
        capabilities: 0,
        role: Role::Direct(ticket),
        context: ContextId(id),
        incarnation: Some(of.incarnation()),
        yours: None,
        max_message: 1 << 20,
        ancestors: Vec::new(),
    };
    control::put_opening(&hello, &mut opening);
    opening
}

/// A ticket to a direct link for `of`, by the tree.
async fn ticket(of: &Context, to: &Context) -> actogen::Result<Ticket> {
    let ask = Ask { incarnation: of.incarnation() }.to_bytes();
    let grant = of.ask(to.place().address(Handle::TICKET), &ask).await?;
    Ok(Grant::from_bytes(&grant)?.ticket)
}

fn refused(answer: &Answer) {
    match answer {
        Answer::Refusal(refusal) => {
            assert_eq!(refusal.reason, RefusalReason::Ticket, "{}", refusal.text);
            assert!(refusal.text.contains("connect"), "it says what to do: {}", refusal.text);
        }
        Answer::Welcome(_) => panic!("it is let in"),
    }
}

/// Without a ticket, with another's, with a guess, and with one that has been used, nobody is let in.
pub async fn a_ticket_lets_in_whom_it_names_once<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let [_root, one, two] = family(mesh).await?;
    let guess = Ticket::new([7; 32]);
    let (answer, _) =
        Rogue::open(mesh.transport(9).await?, &two, direct_hello(&one, 9, guess)).await?;
    refused(&answer);
    let good = ticket(&one, &two).await?;
    let (answer, _) =
        Rogue::open(mesh.transport(9).await?, &two, direct_hello(&one, 9, good)).await?;
    refused(&answer);
    let itself = mesh.transport(1).await?;
    let (answer, _) = Rogue::open(itself.clone(), &two, direct_hello(&one, 1, guess)).await?;
    refused(&answer);
    let (answer, first) = Rogue::open(itself.clone(), &two, direct_hello(&one, 1, good)).await?;
    assert!(matches!(answer, Answer::Welcome(_)), "a wrong guess does not spoil it");
    let (answer, _) = Rogue::open(itself, &two, direct_hello(&one, 1, good)).await?;
    refused(&answer);
    assert!(two.is_running());
    first.cut().await;
    Ok(())
}

/// Whoever is let in speaks for itself: not for others, not to others, not about routes.
pub async fn m07_a_direct_link_speaks_for_its_peer_alone<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let [root, one, two] = family(mesh).await?;
    let recorder = two.start(Recorder::default());
    let (at_root, to) = (root.start(Recorder::default()), recorder.address().handle);
    let good = ticket(&one, &two).await?;
    let (answer, mut rogue) =
        Rogue::open(mesh.transport(1).await?, &two, direct_hello(&one, 1, good)).await?;
    assert!(matches!(answer, Answer::Welcome(_)));
    let (tag, body) = (<Note as actogen::RemoteMessage>::TAG.get(), [5, 6]);
    let said = |header: Header| header;
    let forged = [
        (OffenceKind::BadSource, said(Header { source: Some(ContextId::ROOT), ..Header::to(to) })),
        (
            OffenceKind::BadAuthority,
            said(Header { authority: Some(ContextId::ROOT), ..Header::to(to) }),
        ),
        (OffenceKind::Transit, rogue.header_to(ContextId::ROOT, at_root.address().handle)),
    ];
    for (kind, header) in forged {
        rogue.message(&header, tag, &body).await?;
        until(&format!("{kind:?} is noticed"), || two.offences(kind) == 1).await;
    }
    // The honest one, on the same lane, shows that nothing of the others is on its way.
    rogue.message(&Header::to(to), tag, &body).await?;
    until_equal("the honest one comes", vec![(5, 6)], async || {
        recorder.send(Notes()).await.unwrap_or_default()
    })
    .await;
    assert_eq!(at_root.send(Notes()).await?, []);
    rogue.cut().await;
    Ok(())
}

/// The policy of the one that is asked, that of each context on the way, and one-way mode keep tickets back; messages go on by the tree.
pub async fn m08_policies_on_the_way_keep_tickets_back<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let odd = || Policy::custom("odd_sources", |origin, _| origin.source.0 % 2 == 1);
    let root = mesh.root_with(|builder| builder.direct_links(odd())).await?;
    let (one, two) = (mesh.child(&root, 1).await?, mesh.child(&root, 2).await?);
    let shy = Policy::custom("nobody", |_, _| false);
    let three = mesh.child_with(&root, 3, |builder| builder.direct_links(shy)).await?;
    for (from, to, policy) in [(&two, &one, "odd_sources"), (&one, &three, "nobody")] {
        let error = from.connect(to.id()).await.expect_err("it may not");
        let ConnectError::NoTicket { peer, dead } = &error else { panic!("{error:?}") };
        assert_eq!((*peer, dead.reason, dead.handled), (to.id(), DeadReason::Refused, Handled::No));
        assert!(error.to_string().contains(policy), "{error}");
        let desk = to.start(Desk::default()).attach(from);
        assert_eq!(desk.send(Echo(vec![1])).await?, [1]);
    }
    one.connect(two.id()).await?;
    let error = one.connect(one.id()).await.expect_err("to itself");
    assert_eq!(error, ConnectError::Itself(one.id()));
    one.connect(root.id()).await?;
    assert_eq!(one.direct_links(), [two.id()], "a neighbour needs none");
    Ok(())
}

/// In one-way mode siblings get no tickets either.
pub async fn m08_one_way_mode_keeps_tickets_back<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let root = mesh.root_with(|builder| builder.one_way(true)).await?;
    let (one, two) = (mesh.child(&root, 1).await?, mesh.child(&root, 2).await?);
    let error = one.connect(two.id()).await.expect_err("it may not");
    let ConnectError::NoTicket { dead, .. } = &error else { panic!("{error:?}") };
    assert_eq!(dead.reason, DeadReason::Refused);
    assert!(error.to_string().contains("one-way mode"), "{error}");
    Ok(())
}
