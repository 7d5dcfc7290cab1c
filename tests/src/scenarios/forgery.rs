//! Peers that say what is not so: about others, about routes, about answers, about themselves.

use actogen::RemoteMessage;
use actogen::{Context, ContextId, Dead, DeadReason, Handle, Handled, Remote, Stats};
use actogen_core::{
    Attachment, Incarnation,
    offence::OffenceKind,
    wire::{
        Header, Kind,
        control::{DelRoute, LinkMessage, Loss, LossKind, Outside, Withdrawn},
    },
};
use actogen_runtime::{Call, Encoded, Way, envelope::Outcome as Answered};

use crate::{
    actors::{Desk, Echo, Never, Note, Notes, Recorder},
    mesh::{Fabric, Mesh, Outcome},
    rogue::Rogue,
    until::{soon, until},
};

async fn answers(from: &Context, desk: &Remote<Desk>) -> Outcome {
    let body = b"still here".to_vec();
    assert_eq!(desk.clone().attach(from).send(Echo(body.clone())).await?, body);
    Ok(())
}

fn first_attachment(of: &Context) -> Withdrawn {
    let (context, incarnation) = (of.id(), of.incarnation());
    Withdrawn { context, incarnation, attachment: Attachment(1) }
}

/// A sibling's, the root's, a stranger's route stays when a rogue child withdraws it; each attempt is counted.
pub async fn m03_forged_withdrawal_is_refused<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let root = mesh.root().await?;
    let sibling = mesh.child(&root, 2).await?;
    let desk = sibling.start(Desk::default());
    let here = root.start(Desk::default());
    let mut rogue = Rogue::child_of(mesh, &root, 1).await?;
    let stranger = Withdrawn { context: ContextId(77), ..first_attachment(&sibling) };
    let forged = [first_attachment(&sibling), first_attachment(&root), stranger];
    for (done, withdrawn) in (1..).zip(forged) {
        rogue.del_route(vec![withdrawn]).await?;
        rogue.heard_out().await?;
        assert_eq!(root.offences(OffenceKind::ForgedWithdrawal), done, "{withdrawn:?}");
    }
    let stamp = rogue.next_stamp();
    let loss = Loss::new(LossKind::LinkClosed, rogue.id, "all are gone");
    let everybody = Outside::AllExcept(Vec::new());
    let del = DelRoute { stamp, routes: Vec::new(), outside: everybody, loss };
    rogue.own(&LinkMessage::DelRoute(del)).await?;
    rogue.heard_out().await?;
    assert_eq!(root.offences(OffenceKind::ForgedWithdrawal), 4);
    assert_eq!(root.place_of(sibling.id()), Some(sibling.place()));
    answers(&root, &desk).await?;
    answers(&sibling, &here).await?;
    rogue.cut().await;
    Ok(())
}

/// A rogue's withdrawal wakes nobody who waits for the context it names.
pub async fn m03_forged_withdrawal_wakes_nobody<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let root = mesh.root().await?;
    let (asker, sibling) = (mesh.child(&root, 3).await?, mesh.child(&root, 2).await?);
    let desk = sibling.start(Desk::default());
    let mut rogue = Rogue::child_of(mesh, &root, 1).await?;
    let calls = [begin(&root, &desk, &Never())?, begin(&asker, &desk, &Never())?];
    answers(&asker, &desk).await?;
    rogue.del_route(vec![first_attachment(&sibling)]).await?;
    rogue.heard_out().await?;
    answers(&asker, &desk).await?;
    for (context, call) in [&root, &asker].iter().zip(calls) {
        assert_eq!(context.holdings().await.pending, 1);
        drop(call);
    }
    rogue.cut().await;
    Ok(())
}

/// An announcement with a signature that is not its subject's, of a parent that is not behind the link, or of an older attachment is
/// refused, and leaves routes as they were.
pub async fn m02_announcements_that_do_not_hold_are_refused<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let root = mesh.root().await?;
    let sibling = mesh.child(&root, 2).await?;
    let desk = sibling.start(Desk::default());
    let mut rogue = Rogue::child_of(mesh, &root, 1).await?;
    let me = rogue.id;
    let unsigned = rogue.announcement(ContextId(50), Attachment(1), me);
    rogue.add_route(unsigned).await?;
    let misplaced = rogue.announcement(ContextId(51), Attachment(1), sibling.id());
    rogue.add_route(misplaced).await?;
    let of_sibling = rogue.announcement(sibling.id(), Attachment(9), me);
    rogue.add_route(of_sibling).await?;
    let of_root = rogue.announcement(ContextId::ROOT, Attachment(9), me);
    rogue.add_route(of_root).await?;
    rogue.heard_out().await?;
    assert_eq!(root.offences(OffenceKind::BadSignature), 2);
    assert_eq!(root.offences(OffenceKind::Misplaced), 2);
    let newer = rogue.announcement(me, Attachment(5), ContextId::ROOT);
    rogue.add_route(newer).await?;
    let older = rogue.announcement(me, Attachment(3), ContextId::ROOT);
    rogue.add_route(older).await?;
    rogue.heard_out().await?;
    assert_eq!(root.offences(OffenceKind::OldAnnouncement), 1);
    assert_eq!(root.descendants(), [me, sibling.id()]);
    answers(&root, &desk).await?;
    rogue.cut().await;
    Ok(())
}

/// Sends a request whose reply handle the test knows.
fn begin<M: RemoteMessage + serde::Serialize>(
    from: &Context,
    to: &Remote<Desk>,
    message: &M,
) -> actogen::Result<Call> {
    let call = from.begin_call(to.address(), None)?;
    let body = M::CODEC.encode(message)?;
    let encoded = Encoded { tag: M::TAG.get(), codec: M::CODEC.number(), body: &body, trace: None };
    match from.way(to.address())? {
        Way::Away(away) => from
            .post_away(&away, encoded, Some(call.reply_handle()))
            .map_err(|error| format!("{error:?}"))?,
        Way::Here(_) => return Err("the desk is elsewhere".into()),
    }
    Ok(call)
}

/// Whoever knows the very handle under which a call waits cannot end it, by an answer, a failure or a dead reply, in its own name or
/// another's.
pub async fn m04_a_known_handle_and_a_forged_dead_reply_end_nobodys_call<F: Fabric>(
    mesh: &Mesh<F>,
) -> Outcome {
    let root = mesh.root().await?;
    let (sibling, asked) = (mesh.child(&root, 2).await?, mesh.child(&root, 3).await?);
    let desk = asked.start(Desk::default());
    let mut rogue = Rogue::child_of(mesh, &root, 1).await?;
    for victim in [&root, &sibling] {
        let call = begin(victim, &desk, &Never())?;
        let (to, handle) = (victim.id(), call.reply_handle());
        let before = victim.offences(OffenceKind::StrangersAnswer);
        for kind in [Kind::Reply, Kind::Failed] {
            let header = rogue.header_to(to, handle).kind(kind);
            rogue.frame(&header, b"").await?;
        }
        let dead = Dead::new(DeadReason::RouteLost, Handled::No, asked.id(), "it is gone");
        rogue.dead_reply(to, handle, None, &dead).await?;
        until("each is counted where the call waits", || {
            victim.offences(OffenceKind::StrangersAnswer) == before + 3
        })
        .await;
        let bad = root.offences(OffenceKind::BadSource);
        for source in [asked.id(), ContextId::ROOT] {
            rogue.dead_reply(to, handle, Some(source), &dead).await?;
            let mut header = rogue.header_to(to, handle).kind(Kind::Reply);
            header.source = Some(source);
            rogue.frame(&header, b"").await?;
        }
        rogue.heard_out().await?;
        assert_eq!(root.offences(OffenceKind::BadSource), bad + 4, "refused at the first hop");
        answers(victim, &desk).await?;
        assert_eq!(victim.holdings().await.pending, 1, "the call still waits");
        drop(call);
    }
    rogue.cut().await;
    Ok(())
}

/// A dead reply to a handle that nobody waits under is dropped, and so is one for a call that has ended.
pub async fn m04_a_guessed_handle_ends_nobodys_call<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let root = mesh.root().await?;
    let asked = mesh.child(&root, 3).await?;
    let desk = asked.start(Desk::default());
    let mut rogue = Rogue::child_of(mesh, &root, 1).await?;
    let call = begin(&root, &desk, &Never())?;
    let dead = Dead::new(DeadReason::RouteLost, Handled::No, asked.id(), "it is gone");
    for guess in 0..64 {
        rogue
            .dead_reply(root.id(), Handle(call.reply_handle().0 ^ (4 << (guess % 60))), None, &dead)
            .await?;
    }
    rogue.heard_out().await?;
    assert_eq!(root.holdings().await.pending, 1);
    assert_eq!(root.stats().dead_of(DeadReason::RouteLost), 0, "no dead reply is a dead letter");
    drop(call);
    rogue.cut().await;
    Ok(())
}

/// A source or an authority that does not belong behind a link is refused at the first hop, counted, and shown with the offender.
pub async fn m07_bad_source_and_bad_authority_are_refused_at_the_first_hop<F: Fabric>(
    mesh: &Mesh<F>,
) -> Outcome {
    let root = mesh.root().await?;
    let hop = mesh.child(&root, 5).await?;
    let sibling = mesh.child(&root, 2).await?;
    let recorder = sibling.start(Recorder::default());
    let mut rogue = Rogue::child_of(mesh, &hop, 1).await?;
    let mut letters = hop.dead_letters();
    let body = Note::CODEC.encode(&Note(666, 0))?;
    let forgeries = [
        (Some(sibling.id()), None, OffenceKind::BadSource),
        (Some(root.id()), None, OffenceKind::BadSource),
        (Some(hop.id()), None, OffenceKind::BadSource),
        (Some(ContextId(77)), None, OffenceKind::BadSource),
        (None, Some(root.id()), OffenceKind::BadAuthority),
        (None, Some(hop.id()), OffenceKind::BadAuthority),
        (None, Some(sibling.id()), OffenceKind::BadAuthority),
    ];
    for (source, authority, kind) in forgeries {
        let before = hop.offences(kind);
        let mut header = rogue.header_to(sibling.id(), recorder.address().handle);
        (header.source, header.authority) = (source, authority);
        rogue.message(&header, Note::TAG.get(), &body).await?;
        let letter = soon("a dead letter", letters.next()).await.ok_or("the context has ended")?;
        let letter = letter.map_err(|dropped| format!("{dropped} dropped"))?;
        assert_eq!(letter.dead.reason, DeadReason::Refused, "{}", letter.dead);
        assert_eq!(letter.from.source, rogue.id, "the offender is named, not whom it named");
        assert!(letter.dead.text.contains("context 1"), "{}", letter.dead.text);
        assert_eq!(hop.offences(kind), before + 1);
    }
    let honest = rogue.header_to(sibling.id(), recorder.address().handle);
    rogue.message(&honest, Note::TAG.get(), &Note::CODEC.encode(&Note(1, 1))?).await?;
    until("the honest note arrives", || sibling.stats().delivered == 1).await;
    assert_eq!(recorder.send(Notes()).await?, [(1, 1)]);
    for other in [&root, &sibling] {
        assert_eq!(Stats { offences: 0, ..other.stats() }, other.stats(), "no other hop saw any");
    }
    rogue.cut().await;
    Ok(())
}

/// A hop that lets forged sources pass is stopped at the next.
pub async fn m07_every_hop_checks<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let root = mesh.root().await?;
    let sibling = mesh.child(&root, 2).await?;
    let recorder = sibling.start(Recorder::default());
    let mut hop = Rogue::child_of(mesh, &root, 1).await?;
    let mut header = hop.header_to(sibling.id(), recorder.address().handle);
    header.source = Some(ContextId(40));
    hop.message(&header, Note::TAG.get(), &Note::CODEC.encode(&Note(40, 0))?).await?;
    hop.heard_out().await?;
    assert_eq!(root.offences(OffenceKind::BadSource), 1);
    assert_eq!(recorder.send(Notes()).await?, []);
    hop.cut().await;
    Ok(())
}

/// Garbage on a connection that a newer one of the same context has replaced, or is about to, leaves the newer alone.
pub async fn r07_garbage_on_an_old_connection_cannot_end_the_new_one<F: Fabric>(
    mesh: &Mesh<F>,
) -> Outcome {
    let root = mesh.root().await?;
    let mut old = Rogue::child_of(mesh, &root, 1).await?;
    let mut new = Rogue::link_by(old.transport(), &root, Some(old.incarnation)).await?;
    // Both stand: the garbage ends the old one alone.
    let lane = actogen_core::StreamId::lane(2);
    old.write(lane, vec![0xff; 64]).await?;
    old.closed().await;
    until("the old link's route is gone", || root.place_of(old.id).is_none()).await;
    new.announce(Attachment(2)).await?;
    assert_eq!(root.place_of(new.id).map(|place| place.incarnation), Some(new.incarnation));
    // The newer announcement has replaced the middle one; garbage on that comes too late.
    let mut newest = Rogue::link_by(new.transport(), &root, Some(new.incarnation)).await?;
    newest.announce(Attachment(3)).await?;
    new.closed().await;
    let _ = new.write(lane, vec![0xff; 64]).await;
    newest.heard_out().await?;
    assert_eq!(root.place_of(newest.id).map(|place| place.incarnation), Some(newest.incarnation));
    assert_eq!(root.holdings().await.router.links, 1);
    newest.cut().await;
    Ok(())
}

/// A route message that is repeated on its stream costs the sender its link, and changes nothing.
pub async fn r23_a_replayed_route_message_is_not_accepted<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let root = mesh.root().await?;
    let sibling = mesh.child(&root, 2).await?;
    let desk = sibling.start(Desk::default());
    let mut rogue = Rogue::link(mesh, &root, 1).await?;
    let announcement = rogue.announcement(rogue.id, Attachment(1), root.id());
    let message =
        LinkMessage::AddRoute(actogen_core::wire::control::AddRoute { stamp: 1, announcement });
    rogue.own(&message).await?;
    until("the rogue is routed", || root.place_of(rogue.id).is_some()).await;
    let _ = rogue.own(&message).await;
    rogue.closed().await;
    until("the rogue is gone", || root.place_of(rogue.id).is_none()).await;
    assert!(root.offences(OffenceKind::BadCopy) >= 1);
    answers(&root, &desk).await
}

/// An announcement of an old life, or of an attachment that is over, does not take the route of the living.
pub async fn r23_an_old_incarnation_is_not_accepted<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let root = mesh.root().await?;
    let first = mesh.child(&root, 1).await?;
    let old_life = first.incarnation();
    mesh.kill(&first).await;
    until("the root has lost it", || root.place_of(first.id()).is_none()).await;
    let second = mesh.child(&root, 1).await?;
    assert!(second.incarnation() > old_life, "each life is newer than the last");
    let desk = second.start(Desk::default());
    let transport = mesh.transport(1).await?;
    let mut rogue = Rogue::link_by(transport, &root, Some(old_life)).await?;
    let announcement = rogue.announcement(rogue.id, Attachment(99), root.id());
    rogue.add_route(announcement).await?;
    until("it is refused", || root.offences(OffenceKind::OldAnnouncement) == 1).await;
    assert_eq!(root.place_of(second.id()), Some(second.place()));
    answers(&root, &desk).await?;
    rogue.cut().await;
    answers(&root, &desk).await
}

/// An answer that comes twice ends one call, and no other.
pub async fn r23_a_replayed_answer_ends_nothing<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let root = mesh.root().await?;
    let mut rogue = Rogue::child_of(mesh, &root, 1).await?;
    let address = actogen::Address {
        context: rogue.id,
        handle: Handle(0x1234_5678_0000_0001),
        incarnation: rogue.incarnation,
    };
    let desk: Remote<Desk> = postcard::from_bytes(&postcard::to_extend(&address, Vec::new())?)?;
    let first = begin(&root, &desk, &Never())?;
    let second = begin(&root, &desk, &Never())?;
    let answer = Header::to(first.reply_handle()).kind(Kind::Reply);
    for _ in 0..3 {
        rogue.frame(&answer, b"once").await?;
    }
    let Answered::Reply(bytes) = soon("the answer", first).await else {
        panic!("it was answered by a reply")
    };
    assert_eq!(&bytes[..], b"once");
    rogue.heard_out().await?;
    assert_eq!(root.holdings().await.pending, 1);
    drop(second);
    rogue.cut().await;
    Ok(())
}

/// The incarnation that a rogue claims to be a newer one is not checked by its parent alone: the announcement's own signature is, and
/// the context it belongs to keeps its addresses.
pub async fn r04_an_old_address_on_a_restarted_peer_is_stale<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let root = mesh.root().await?;
    let asker = mesh.child(&root, 3).await?;
    let first = mesh.child(&root, 1).await?;
    let old = first.start(Desk::default());
    answers(&asker, &old).await?;
    mesh.kill(&first).await;
    until("the root has lost it", || root.place_of(first.id()).is_none()).await;
    let second = mesh.child(&root, 1).await?;
    let new = second.start(Desk::default());
    answers(&asker, &new).await?;
    for from in [&root, &asker, &second] {
        let dead = old.clone().attach(from).send(Echo(Vec::new())).await;
        let dead = dead.expect_err("that life is over");
        assert_eq!(dead.reason(), Some(DeadReason::Stale), "{dead} at {from:?}");
        assert_eq!(dead.handled(), Handled::No);
        let down = soon("a watch of an old life", from.watch(&old)).await;
        assert_eq!(down.lost(), Some(DeadReason::Stale), "{down}");
    }
    assert!(second.incarnation() > first.incarnation());
    assert_ne!(second.incarnation(), Incarnation::ANY);
    Ok(())
}
