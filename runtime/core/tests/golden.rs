//! Golden frames: what version 1 of the protocol looks like, byte by byte.
//!
//! Each file in `tests/golden/v1/` holds one frame, length and all. Today's encoder must write it and today's decoder must read
//! it back, so that contexts of neighbouring versions understand each other. A released version's files are never changed; before
//! the first release `ACTOGEN_GOLDEN=write cargo test -p actogen-core --test golden` writes them anew.

use std::{collections::BTreeSet, fs, path::PathBuf};

use actogen_core::{
    Handled,
    dead::{Dead, DeadReason},
    id::{Attachment, ContextId, Handle, Incarnation, PathEpoch, StreamId},
    wire::{
        Destination, FragmentField, Frame, FrameReader, Header, Kind, TAG, TraceContext,
        control::{
            AddRoute, Announcement, Answer, Contexts, DelRoute, Goodbye, Hello, LinkMessage, Loss,
            LossKind, Outside, Refusal, RefusalReason, Report, Revocations, Role, VERSION, Welcome,
            Withdrawn, put_opening, take_opening,
        },
        direct::{Ask, Behind, Body, Flush, Flushed, Grant, Lost, Ticket},
        put_frame, put_repeated,
    },
};

/// A value with a wire form of its own.
#[derive(Debug, PartialEq)]
enum Value {
    Envelope(Header, Vec<u8>),
    /// An envelope with a tag alone, and the body of a repetition of it.
    Repetition(Header, Vec<u8>),
    Dead(Header, Dead),
    Link(LinkMessage),
    Hello(Hello),
    Answer(Answer),
}

impl Value {
    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            Self::Envelope(header, payload) => put_frame(header, &[payload], &mut out),
            Self::Repetition(header, body) => {
                put_frame(header, &[&[0x77; TAG]], &mut out);
                put_repeated(body, &mut out);
            }
            Self::Dead(header, dead) => {
                let mut payload = Vec::new();
                dead.encode(&mut payload);
                put_frame(header, &[&payload], &mut out);
            }
            Self::Link(message) => message.put(&mut out),
            Self::Hello(hello) => put_opening(hello, &mut out),
            Self::Answer(answer) => put_opening(answer, &mut out),
        }
        out
    }

    /// Reads bytes as what this value is.
    fn decode_like(&self, bytes: &[u8]) -> Self {
        let mut reader = FrameReader::new();
        reader.feed(bytes.to_vec().into());
        let mut next = || reader.next().expect("a frame").expect("a whole frame");
        if let Self::Repetition(..) = self {
            next();
        }
        let Frame { header, payload } = next();
        assert!(reader.at_boundary());
        match self {
            Self::Envelope(..) => Self::Envelope(header, payload.to_vec()),
            Self::Repetition(..) => {
                assert_eq!(payload[..TAG], [0x77; TAG]);
                Self::Repetition(header, payload[TAG..].to_vec())
            }
            Self::Dead(..) => {
                let dead = Dead::decode(&payload).expect("a dead reply");
                Self::Dead(header, dead)
            }
            Self::Link(_) => {
                Self::Link(LinkMessage::decode(&header, &payload).expect("a link message"))
            }
            Self::Hello(_) => Self::Hello(take_opening(&header, &payload).expect("an opening")),
            Self::Answer(_) => Self::Answer(take_opening(&header, &payload).expect("an answer")),
        }
    }
}

fn announcement() -> Announcement {
    Announcement {
        context: ContextId(300),
        incarnation: Incarnation::new(2, 17),
        attachment: Attachment(5),
        parent: ContextId(12),
        certificate: (0..=255).collect(),
        signature: vec![0xa5; 64],
    }
}

fn withdrawal(outside: Outside) -> LinkMessage {
    let withdrawn = |n| Withdrawn {
        context: ContextId(n),
        incarnation: Incarnation::new(2, n),
        attachment: Attachment(n + 1),
    };
    LinkMessage::DelRoute(DelRoute {
        stamp: 1_000_000,
        routes: vec![withdrawn(3), withdrawn(400)],
        outside,
        loss: Loss::new(LossKind::ProcessExited, ContextId(3), "process exited (signal 9)"),
    })
}

fn contexts() -> Contexts {
    Contexts { contexts: vec![ContextId(7), ContextId(70_000)] }
}

fn refusal(reason: RefusalReason) -> Value {
    Value::Answer(Answer::Refusal(Refusal { reason, text: "no".into() }))
}

fn goodbye(kind: LossKind) -> Value {
    Value::Link(LinkMessage::Goodbye(Goodbye { kind, text: "bye".into() }))
}

/// A message to a reserved handle: no tag, then the body.
fn reserved(handle: Handle, body: &impl Body) -> Value {
    Value::Envelope(Header::to(handle), [&[0; 8], &body.to_bytes()[..]].concat())
}

fn values() -> Vec<(String, Value)> {
    let mailbox = Handle(0x0123_4567_89ab_cdef);
    let short = Header::to(mailbox);
    let mut far = Header::to(mailbox).reply_to(Handle(0xfedc_ba98_7654_3210));
    far.destination = Some(Destination {
        context: ContextId(70_000),
        incarnation: Some(Incarnation::new(3, 900)),
    });
    far.source = Some(ContextId(5));
    far.authority = Some(ContextId(1));
    far.hops = 97;
    let mut full = far.clone();
    full.fragment = Some(FragmentField { number: 9, index: 0, total: Some(320_000_000) });
    full.codec = 2;
    full.trace = Some(TraceContext { trace_id: [0x11; 16], span_id: [0x22; 8], flags: 1 });
    let mut next = Header::to(mailbox);
    next.fragment = Some(FragmentField { number: 9, index: 4_882, total: None });
    let mut reply = Header::to(Handle(0xfedc_ba98_7654_3210)).kind(Kind::Reply);
    reply.destination = Some(Destination { context: ContextId(5), incarnation: None });
    reply.source = Some(ContextId(70_000));
    let later = Header { epoch: PathEpoch(300), ..Header::to(mailbox) };
    let failed = Header { kind: Kind::Failed, ..reply.clone() };
    let mut dead = Header { kind: Kind::Dead, ..reply.clone() };
    dead.by_router = true;
    let hello = Hello {
        version: VERSION,
        capabilities: 0b101,
        role: Role::Child,
        context: ContextId(300),
        incarnation: Some(Incarnation::new(2, 17)),
        yours: None,
        max_message: 16 * 1024 * 1024,
        ancestors: Vec::new(),
    };
    let parent = Hello {
        role: Role::Parent,
        incarnation: None,
        yours: Some(Incarnation::new(3, 1)),
        ancestors: vec![ContextId(4), ContextId::ROOT],
        ..hello.clone()
    };
    let direct = Hello { role: Role::Direct(Ticket::new([0x5a; 32])), ..hello.clone() };
    let (lane, number) = (StreamId::lane(2), 70_000);
    let epoch = PathEpoch(300);
    let grant = Grant {
        ticket: Ticket::new([0x5a; 32]),
        places: vec!["127.0.0.1:4433".into(), "[::1]:4433".into()],
    };
    let welcome = Welcome {
        version: VERSION,
        capabilities: 1,
        context: ContextId(12),
        incarnation: Incarnation::new(2, 3),
        yours: Incarnation::new(2, 17),
        max_message: 1024,
        ancestors: vec![ContextId(1), ContextId::ROOT],
    };
    let mut values: Vec<(String, Value)> = [
        ("message-direct", Value::Envelope(short.clone(), b"8bytetagbody".to_vec())),
        ("message-repeated", Value::Repetition(short, b"body".to_vec())),
        ("message-routed", Value::Envelope(far, b"8bytetagbody".to_vec())),
        ("message-all-fields", Value::Envelope(full, b"8bytetagbody".to_vec())),
        ("message-next-fragment", Value::Envelope(next, vec![7; 300])),
        ("message-later-epoch", Value::Envelope(later, b"8bytetagbody".to_vec())),
        ("flush", reserved(Handle::flush(lane), &Flush { number })),
        ("flushed", reserved(Handle::FLUSHED, &Flushed { lane: lane.into(), number })),
        (
            "lost",
            reserved(Handle::lost(lane), &Lost { incarnation: Incarnation::new(2, 17), number }),
        ),
        ("behind", reserved(Handle::BEHIND, &Behind { lane: lane.into(), epoch })),
        ("ticket-ask", reserved(Handle::TICKET, &Ask { incarnation: Incarnation::new(2, 17) })),
        ("ticket-grant", Value::Envelope(Header::to(mailbox).kind(Kind::Reply), grant.to_bytes())),
        ("reply", Value::Envelope(reply, b"answer".to_vec())),
        ("failed", Value::Envelope(failed, b"it panicked".to_vec())),
        (
            "add-route",
            Value::Link(LinkMessage::AddRoute(AddRoute {
                stamp: 77,
                announcement: announcement(),
            })),
        ),
        ("del-route", Value::Link(withdrawal(Outside::None))),
        ("del-route-listed", Value::Link(withdrawal(Outside::Listed(vec![ContextId(9)])))),
        (
            "del-route-all-except",
            Value::Link(withdrawal(Outside::AllExcept(vec![ContextId(0), ContextId(1 << 40)]))),
        ),
        ("detaching", Value::Link(LinkMessage::Detaching)),
        ("report", Value::Link(LinkMessage::Report(Report { taken: [0, 1, 128, u64::MAX] }))),
        ("pause", Value::Link(LinkMessage::Pause(contexts()))),
        ("resume", Value::Link(LinkMessage::Resume(contexts()))),
        ("above", Value::Link(LinkMessage::Above(contexts()))),
        (
            "revocations",
            Value::Link(LinkMessage::Revocations(Revocations { list: vec![0x5a; 90] })),
        ),
        ("hello-child", Value::Hello(hello)),
        ("hello-parent", Value::Hello(parent)),
        ("hello-direct", Value::Hello(direct)),
        ("welcome", Value::Answer(Answer::Welcome(welcome))),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into();
    for reason in DeadReason::ALL {
        for handled in [Handled::No, Handled::Maybe, Handled::Yes] {
            let text = "context 70000 was lost";
            let dead = Value::Dead(dead.clone(), Dead::new(reason, handled, ContextId(12), text));
            values.push((format!("dead-{:02}-{handled:?}", reason.code()).to_lowercase(), dead));
        }
    }
    let refusals = [
        RefusalReason::Version,
        RefusalReason::Identity,
        RefusalReason::Role,
        RefusalReason::Simultaneous,
        RefusalReason::Replaced,
        RefusalReason::Quota,
        RefusalReason::NoRoot,
        RefusalReason::Shutdown,
        RefusalReason::Ticket,
    ];
    values.extend(refusals.map(|r| (format!("refusal-{r:?}").to_lowercase(), refusal(r))));
    let kinds = [
        LossKind::ProcessExited,
        LossKind::Silent,
        LossKind::LinkClosed,
        LossKind::Shutdown,
        LossKind::Moved,
        LossKind::Detached,
        LossKind::Violation,
        LossKind::Revoked,
    ];
    values.extend(kinds.map(|k| (format!("goodbye-{k:?}").to_lowercase(), goodbye(k))));
    values
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/v1")
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "the core reads no environment; whoever writes its golden files does"
)]
fn the_frames_of_version_1_are_what_they_were() {
    let write = std::env::var("ACTOGEN_GOLDEN").is_ok_and(|what| what == "write");
    let mut known = BTreeSet::new();
    for (name, value) in values() {
        let path = folder().join(format!("{name}.bin"));
        let bytes = value.encode();
        if write {
            fs::create_dir_all(folder()).expect("the folder can be made");
            fs::write(&path, &bytes).expect("the file can be written");
        }
        let golden = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert_eq!(bytes, golden, "{name}: what is written has changed");
        assert_eq!(value.decode_like(&golden), value, "{name}: what is read has changed");
        assert!(known.insert(format!("{name}.bin")), "{name} is there twice");
    }
    let files: BTreeSet<_> = fs::read_dir(folder())
        .expect("the folder is there")
        .map(|file| file.expect("it can be listed").file_name().to_string_lossy().into_owned())
        .collect();
    assert_eq!(files, known, "each golden file stands for a value");
}
