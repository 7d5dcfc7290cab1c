//! Bytes that are not what they should be, and bodies that come in pieces.

use std::time::Duration;

use actogen::{Context, DeadReason, Handle, Handled, Remote, RemoteMessage, SendError};
use actogen_core::{
    ContextId, StreamId,
    limits::{FRAGMENT, MAX_FRAME},
    offence::OffenceKind,
    wire::{
        self, FragmentField, Header, Kind,
        control::{Goodbye, LinkMessage, LossKind, Report, handles},
        fragment, varint,
    },
};

use futures_util::FutureExt;

use crate::{
    actors::{Desk, Echo, Gate, Note, Notes, Parcel, Produce, Recorder, pattern},
    mesh::{Fabric, Mesh, Outcome},
    rogue::Rogue,
    until::{until, until_equal},
};

async fn answers(from: &Context, desk: &Remote<Desk>) -> Outcome {
    let body = b"still here".to_vec();
    assert_eq!(desk.clone().attach(from).send(Echo(body.clone())).await?, body);
    Ok(())
}

/// A frame with a header as it is, and whatever payload.
fn frame(header: &Header, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    wire::put_frame(header, &[payload], &mut bytes);
    bytes
}

fn own(message: &LinkMessage) -> (Header, Vec<u8>) {
    let mut bytes = Vec::new();
    message.put(&mut bytes);
    let mut reader = wire::FrameReader::new();
    reader.feed(bytes.into());
    let frame = reader.next().ok().flatten().expect("a message of ours is a frame");
    (frame.header, frame.payload.to_vec())
}

/// Everything that a link may not say: what it is, the stream, the bytes.
fn malformed(lane: StreamId) -> Vec<(&'static str, StreamId, Vec<u8>)> {
    let report = own(&LinkMessage::Report(Report { taken: [1; 4] }));
    let goodbye =
        own(&LinkMessage::Goodbye(Goodbye { kind: LossKind::Shutdown, text: "bye".into() }));
    let control = StreamId::CONTROL;
    let garbage = [0xff; 40];
    let mut beyond = Header::to(handles::REPORT);
    beyond.source = Some(ContextId(1));
    let mut too_long = Vec::new();
    varint::put(MAX_FRAME as u64 + 1, &mut too_long);
    let mut endless = Vec::new();
    varint::put(u64::MAX, &mut endless);
    let mut unknown_flag = Vec::new();
    varint::put(10, &mut unknown_flag);
    unknown_flag.extend([0, 0xf0, 1, 2, 3, 4, 5, 6, 7, 8]);
    let elsewhere = if lane == StreamId::lane(0) { StreamId::lane(1) } else { StreamId::lane(0) };
    let misdirected = Header::to(Handle(0x7777_0000_0000_0000 | lane.index() as u64));
    let mut routers_mark = Header::to(Handle(0x7777_0000_0000_0000 | lane.index() as u64));
    routers_mark.kind = Kind::Reply;
    routers_mark.by_router = true;
    vec![
        ("an announcement of garbage", lane, frame(&Header::to(Handle::ADD_ROUTE), &garbage)),
        ("a withdrawal of garbage", lane, frame(&Header::to(Handle::DEL_ROUTE), &garbage)),
        ("a detaching with a payload", control, frame(&Header::to(Handle::DETACHING), b"x")),
        ("a goodbye of garbage", control, frame(&Header::to(handles::GOODBYE), &garbage)),
        ("a goodbye that is cut", control, frame(&goodbye.0, &goodbye.1[..2])),
        ("a report of garbage", control, frame(&Header::to(handles::REPORT), &garbage)),
        (
            "a report with more behind it",
            control,
            frame(&report.0, &[&report.1[..], b"x"].concat()),
        ),
        ("an opening that comes again", control, frame(&Header::to(handles::OPEN), &garbage)),
        ("a report from beyond the link", control, frame(&beyond, &report.1)),
        ("a frame over the limit", lane, too_long),
        ("a length of 2^64 - 1", lane, endless),
        ("a length that never ends", lane, vec![0xff; 16]),
        ("a flag that nobody knows", lane, unknown_flag),
        ("a header that is cut", lane, vec![3, 0, 0, 1]),
        ("a frame on another's stream", elsewhere, frame(&misdirected, b"12345678")),
        ("a router's mark on a reply", lane, frame(&routers_mark, b"")),
    ]
}

/// Each kind of malformed message costs the sender its link and nobody else's, and good messages before it are kept.
pub async fn r05_malformed_control_messages_drop_the_link_that_sent_them<F: Fabric>(
    mesh: &Mesh<F>,
) -> Outcome {
    let root = mesh.root().await?;
    let honest = mesh.child(&root, 1).await?;
    let (desk, here) = (honest.start(Desk::default()), root.start(Desk::default()));
    let recorder = root.start(Recorder::default());
    let lane = recorder.address().handle.stream();
    let mut kept = Vec::new();
    for (id, (what, stream, bytes)) in (10..).zip(malformed(lane)) {
        let mut rogue = Rogue::child_of(mesh, &root, id).await?;
        let before = root.offences(OffenceKind::Malformed);
        let note = Note::CODEC.encode(&Note(id, 0))?;
        let good = frame(
            &Header::to(recorder.address().handle),
            &[&Note::TAG.get().to_le_bytes(), &note[..]].concat(),
        );
        if stream == lane {
            // In one piece: what is good is taken before what is not is seen.
            rogue.write(lane, [good, bytes].concat()).await?;
        } else {
            rogue.write(lane, good).await?;
            rogue.heard_out().await?;
            rogue.write(stream, bytes).await?;
        }
        kept.push((id, 0));
        rogue.closed().await;
        until("the rogue's route is gone", || root.place_of(rogue.id).is_none()).await;
        assert_eq!(root.offences(OffenceKind::Malformed), before + 1, "{what}");
        assert_eq!(recorder.send(Notes()).await?, kept, "{what}");
        answers(&root, &desk).await?;
        answers(&honest, &here).await?;
    }
    Ok(())
}

/// Garbage in place of an opening gets no link, and no one else loses theirs.
pub async fn r05_garbage_instead_of_an_opening_gets_no_link<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let root = mesh.root().await?;
    let honest = mesh.child(&root, 1).await?;
    let desk = honest.start(Desk::default());
    for (id, opening) in (10..).zip([
        vec![0xff; 64],
        frame(&Header::to(handles::OPEN), b"garbage"),
        frame(&Header::to(Handle::ADD_ROUTE), b"too early"),
        frame(&Header::to(Handle(0x1234_5678)), b"12345678 too early"),
    ]) {
        let opened = Rogue::open(mesh.transport(id).await?, &root, opening).await;
        assert!(opened.is_err(), "{opened:?}");
    }
    assert_eq!(root.descendants(), [honest.id()]);
    answers(&root, &desk).await
}

/// The fragments of a body: headers and payloads.
type Parts = Vec<(Header, Vec<u8>)>;

/// The fragments of a parcel for a mailbox.
fn fragments(
    to: &Remote<Recorder>,
    reply: Option<Handle>,
    number: u64,
    parcel: &Parcel,
) -> actogen::Result<Parts> {
    let body = Parcel::CODEC.encode(parcel)?;
    let payload = [&Parcel::TAG.get().to_le_bytes(), &body[..]].concat();
    let cut = fragment::split(number, payload.len()).map(|(field, range)| {
        let mut header = Header::to(to.address().handle);
        header.reply = reply;
        header.fragment = Some(field);
        (header, payload[range].to_vec())
    });
    Ok(cut.collect())
}

/// A body with a missing, a repeated or a shortened fragment, or of a wrong total, is answered `Malformed`; an orphan is dropped;
/// the link carries on, and what is whole arrives.
pub async fn r06_broken_fragments_end_their_body_alone<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let root = mesh.root().await?;
    let recorder = root.start(Recorder::default());
    let mut rogue = Rogue::child_of(mesh, &root, 1).await?;
    let parcel = |n| Parcel(1, n, pattern(200_000));
    let lane = recorder.address().handle.stream().index() as u64;
    let reply = |n: u64| Handle(0x5555_0000_0000_0000 | (n << 4) | lane);
    type Break = fn(&mut Parts);
    let breaks: [(&str, Break); 5] = [
        ("missing", |all| drop(all.remove(1))),
        ("repeated", |all| all.insert(1, all[1].clone())),
        ("shortened", |all| all[1].1.truncate(FRAGMENT - 1)),
        ("lengthened", |all| all[3].1.push(0)),
        ("begun twice", |all| all.insert(1, all[0].clone())),
    ];
    for (n, (what, spoil)) in (10..).zip(breaks) {
        let mut all = fragments(&recorder, Some(reply(n)), n, &parcel(n))?;
        assert_eq!(all.len(), 4);
        spoil(&mut all);
        for (header, payload) in &all {
            rogue.frame(header, payload).await?;
        }
        let dead = rogue.dead_answer_to(reply(n)).await?;
        assert_eq!((dead.reason, dead.handled), (DeadReason::Malformed, Handled::No), "{what}");
    }
    // Orphans: the rest of a body whose beginning never came.
    for (header, payload) in &fragments(&recorder, Some(reply(20)), 20, &parcel(20))?[1..] {
        rogue.frame(header, payload).await?;
    }
    for (header, payload) in fragments(&recorder, Some(reply(21)), 21, &parcel(21))? {
        rogue.frame(&header, &payload).await?;
    }
    assert_eq!(rogue.answer_to(reply(21)).await?.header.kind, Kind::Reply);
    assert_eq!(recorder.send(Notes()).await?, [(1, 21)], "what is whole arrives, nothing else");
    assert!(!rogue.heard.iter().any(|(_, frame)| frame.header.handle == reply(20)));
    rogue.cut().await;
    Ok(())
}

/// Two bodies whose fragments interleave both arrive whole.
pub async fn r06_interleaved_bodies_arrive_whole<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let root = mesh.root().await?;
    let recorder = root.start(Recorder::default());
    let mut rogue = Rogue::child_of(mesh, &root, 1).await?;
    let one = fragments(&recorder, None, 1, &Parcel(1, 1, pattern(300_000)))?;
    let two = fragments(&recorder, None, 2, &Parcel(1, 2, pattern(280_000)))?;
    for at in 0..one.len().max(two.len()) {
        for (header, payload) in [one.get(at), two.get(at)].into_iter().flatten() {
            rogue.frame(header, payload).await?;
        }
    }
    rogue.heard_out().await?;
    let mut notes = recorder.send(Notes()).await?;
    notes.sort_unstable();
    assert_eq!(notes, [(1, 1), (1, 2)]);
    rogue.cut().await;
    Ok(())
}

/// A first fragment that announces more than may be is refused at once, and reserves nothing.
pub async fn r06_a_total_over_the_limit_is_refused_at_the_first_fragment<F: Fabric>(
    mesh: &Mesh<F>,
) -> Outcome {
    let root = mesh.root().await?;
    let recorder = root.start(Recorder::default());
    let mut rogue = Rogue::child_of(mesh, &root, 1).await?;
    let handle = recorder.address().handle;
    let lane = handle.stream().index() as u64;
    for (n, total) in (1..).zip([u64::MAX, 1 << 40, 16 * 1024 * 1024 + 9]) {
        let reply = Handle(0x5555_0000_0000_0000 | (n << 4) | lane);
        let mut header = Header::to(handle).reply_to(reply);
        header.fragment = Some(FragmentField { number: n, index: 0, total: Some(total) });
        rogue.frame(&header, &vec![0; FRAGMENT]).await?;
        let dead = rogue.dead_answer_to(reply).await?;
        assert_eq!((dead.reason, dead.handled), (DeadReason::TooLarge, Handled::No), "{total}");
    }
    rogue.cut().await;
    Ok(())
}

/// Bodies of every size around a fragment, and up to the limit, arrive whole and in order, over one hop and over two.
pub async fn r06_bodies_up_to_the_limit_arrive_whole<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let root = mesh.root().await?;
    let chain = mesh.chain(&root, 1..=2).await?;
    let near = chain[0].start(Recorder::default()).attach(&root);
    let far = chain[1].start(Recorder::default()).attach(&root);
    let sizes = [
        0,
        1,
        FRAGMENT - 16,
        FRAGMENT - 8,
        FRAGMENT - 4,
        FRAGMENT,
        FRAGMENT + 1,
        2 * FRAGMENT - 12,
        1 << 20,
        root.max_message() - 64,
    ];
    for (recorder, sizes) in [(&near, &sizes[..9]), (&far, &sizes[..])] {
        for (number, &size) in (0..).zip(sizes) {
            recorder.tell(Parcel(0, number, pattern(size))).await?;
        }
        let expected: Vec<_> = (0..sizes.len() as u64).map(|number| (0, number)).collect();
        until_equal("every body arrives", expected, async || {
            recorder.send(Notes()).await.unwrap_or_default()
        })
        .await;
    }
    Ok(())
}

/// A large body that comes back in an answer arrives whole.
pub async fn r06_large_answers_arrive_whole<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let root = mesh.root().await?;
    let desk = mesh.chain(&root, 1..=2).await?[1].start(Desk::default()).attach(&root);
    for size in [FRAGMENT, 3 * FRAGMENT + 5, 2 << 20] {
        let answer = desk.send(Produce(size as u64)).await?;
        assert!(answer == pattern(size), "{size} bytes");
    }
    Ok(())
}

/// A message of a tag that the actor does not know, one that does not decode, has bytes left over, an unknown codec or no tag is
/// answered alone; the link carries on.
pub async fn r16_an_undecodable_message_is_answered_alone<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let root = mesh.root().await?;
    let desk = root.start(Desk::default());
    let mut rogue = Rogue::child_of(mesh, &root, 1).await?;
    let handle = desk.address().handle;
    let lane = handle.stream().index() as u64;
    let good = Echo::CODEC.encode(&Echo(vec![1, 2, 3]))?;
    let cases: [(&str, u64, Vec<u8>, u8, DeadReason); 5] = [
        ("unknown", 0x1234, good.clone(), 0, DeadReason::UnknownMessage),
        ("cut", Echo::TAG.get(), good[..2].to_vec(), 0, DeadReason::Malformed),
        ("left over", Echo::TAG.get(), [&good[..], b"x"].concat(), 0, DeadReason::Malformed),
        ("empty", Echo::TAG.get(), Vec::new(), 0, DeadReason::Malformed),
        ("codec", Echo::TAG.get(), good.clone(), 77, DeadReason::Malformed),
    ];
    for (n, (what, tag, body, codec, reason)) in (1..).zip(cases) {
        let before = root.stats().dead();
        let reply = Handle(0x5555_0000_0000_0000 | (n << 4) | lane);
        let mut header = Header::to(handle).reply_to(reply);
        header.codec = codec;
        rogue.message(&header, tag, &body).await?;
        let dead = rogue.dead_answer_to(reply).await?;
        assert_eq!((dead.reason, dead.handled), (reason, Handled::No), "{what}");
        assert_eq!(root.stats().dead(), before + 1, "{what} is counted");
    }
    let reply = Handle(0x6666_0000_0000_0000 | lane);
    rogue.frame(&Header::to(handle).reply_to(reply), b"short").await?;
    assert_eq!(rogue.dead_answer_to(reply).await?.reason, DeadReason::Malformed);
    let reply = Handle(0x6666_0000_0000_0010 | lane);
    rogue.message(&Header::to(handle).reply_to(reply), Echo::TAG.get(), &good).await?;
    let answer = rogue.answer_to(reply).await?;
    assert_eq!((answer.header.kind, &answer.payload[..]), (Kind::Reply, &[3, 1, 2, 3][..]));
    rogue.cut().await;
    Ok(())
}

/// An answer that is not of the expected type is an error of that one call.
pub async fn r16_an_undecodable_answer_fails_one_call<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let root = mesh.root().await?;
    let mut rogue = Rogue::child_of(mesh, &root, 1).await?;
    let address = actogen::Address {
        context: rogue.id,
        handle: Handle(0x1234_5678_0000_0001),
        incarnation: rogue.incarnation,
    };
    let desk: Remote<Desk> = postcard::from_bytes(&postcard::to_extend(&address, Vec::new())?)?;
    let desk = desk.attach(&root);
    let asked = tokio::task::spawn_local({
        let desk = desk.clone();
        async move { desk.send(Echo(Vec::new())).await }
    });
    let reply = loop {
        let (_, frame) = rogue.next().await.ok_or("the link has ended")?;
        if let Some(reply) = frame.header.reply {
            break reply;
        }
    };
    rogue.frame(&Header::to(reply).kind(Kind::Reply), &[200, 1]).await?;
    let answer = asked.await?;
    assert!(matches!(answer, Err(actogen::SendError::BadAnswer(_))), "{answer:?}");
    rogue.heard_out().await?;
    assert!(root.place_of(rogue.id).is_some(), "the link carries on");
    rogue.cut().await;
    Ok(())
}

/// A frame whose hop limit is used up dies with `Loop` at the next hop.
pub async fn dead_case_12_a_used_up_hop_limit_is_a_loop<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let root = mesh.root().await?;
    let beyond = mesh.child(&root, 2).await?;
    let recorder = beyond.start(Recorder::default());
    let mut rogue = Rogue::child_of(mesh, &root, 1).await?;
    let handle = recorder.address().handle;
    let reply = Handle(0x5555_0000_0000_0000 | handle.stream().index() as u64);
    let mut header = rogue.header_to(beyond.id(), handle).reply_to(reply);
    header.hops = 0;
    rogue.message(&header, Note::TAG.get(), &Note::CODEC.encode(&Note(1, 1))?).await?;
    let dead = rogue.dead_answer_to(reply).await?;
    assert_eq!((dead.reason, dead.handled, dead.by), (DeadReason::Loop, Handled::No, root.id()));
    rogue.cut().await;
    Ok(())
}

/// A request whose asker gave it up before its turn came, by its time limit or by dropping it, is not handled, near and far; what is
/// asked behind it is.
pub async fn dead_case_15_a_request_that_was_given_up_is_not_handled<F: Fabric>(
    mesh: &Mesh<F>,
) -> Outcome {
    let root = mesh.root().await?;
    let one = mesh.child(&root, 1).await?;
    let two = mesh.child(&one, 2).await?;
    for (far, near) in [(&two, &root), (&root, &two), (&one, &one)] {
        let (gate, open) = Gate::closed();
        let gate = far.start(gate).attach(near);
        let given_up = gate.send(Note(1, 1)).within(Duration::from_millis(50)).await;
        assert!(matches!(given_up, Err(SendError::Timeout(_))), "{given_up:?}");
        assert!(gate.send(Note(1, 2)).now_or_never().is_none());
        // A request to watch takes the stream that the words about the others took.
        let _watch = near.watch(&gate);
        until_equal("the words came", 1, async || far.holdings().await.watched).await;
        open.notify_one();
        gate.send(Note(1, 3)).await?;
        assert_eq!(gate.send(Notes()).await?, [(1, 3)]);
        assert_eq!(far.stats().dead_of(DeadReason::Closed), 2);
    }
    Ok(())
}

/// A full mailbox answers requests of a peer that does not pause with `MailboxFull`, not handled, and counts one-way messages so.
pub async fn dead_case_11_a_full_mailbox_says_so<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let mut limits = crate::mesh::limits();
    limits.mailbox_messages = 20;
    let root = mesh.root_with(|builder| builder.limits(limits)).await?;
    let (gate, open) = Gate::closed();
    let gate = root.start(gate);
    let mut rogue = Rogue::child_of(mesh, &root, 1).await?;
    let handle = gate.address().handle;
    let lane = handle.stream().index() as u64;
    let reply = |n: u64| Handle(0x5555_0000_0000_0000 | (n << 4) | lane);
    for n in 0..25 {
        let header = Header::to(handle).reply_to(reply(n));
        rogue.message(&header, Notes::TAG.get(), &Notes::CODEC.encode(&Notes())?).await?;
    }
    for n in 20..25 {
        let dead = rogue.dead_answer_to(reply(n)).await?;
        assert_eq!((dead.reason, dead.handled), (DeadReason::MailboxFull, Handled::No), "{n}");
    }
    let note = Note::CODEC.encode(&Note(1, 1))?;
    rogue.message(&Header::to(handle), Note::TAG.get(), &note).await?;
    rogue.heard_out().await?;
    assert_eq!(root.stats().dead_of(DeadReason::MailboxFull), 6);
    let asked_to_pause = rogue.heard.iter().any(|(_, frame)| frame.header.handle == Handle::PAUSE);
    assert!(asked_to_pause, "it was asked to pause before");
    open.notify_one();
    for n in 0..20 {
        let answered = rogue.heard.iter().any(|(_, frame)| frame.header.handle == reply(n));
        if !answered {
            assert_eq!(rogue.answer_to(reply(n)).await?.header.kind, Kind::Reply, "{n}");
        }
    }
    rogue.cut().await;
    Ok(())
}
