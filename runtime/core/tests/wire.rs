//! Properties of the wire codec: one undoes the other, and no bytes of a peer panic.

use actogen_core::{
    Handled, Moment,
    dead::{Dead, DeadReason},
    id::{Attachment, ContextId, Handle, Incarnation, PathEpoch, StreamId},
    limits::{FRAGMENT, MAX_FRAME, MAX_HEADER, MAX_HOPS},
    wire::{
        Destination, FragmentField, FrameReader, Header, Kind, TraceContext, WireError,
        control::{
            AddRoute, Announcement, Answer, Contexts, DelRoute, Goodbye, Hello, LinkMessage, Loss,
            LossKind, Outside, Report, Revocations, Withdrawn, take_opening,
        },
        direct::{Ask, Behind, Body, Flush, Flushed, Grant, Lost},
        fragment::{Reassembly, split},
        put_frame, varint,
    },
};
use bytes::Bytes;
use proptest::{
    option,
    prelude::*,
    test_runner::{FileFailurePersistence, RngSeed},
};

fn config() -> ProptestConfig {
    let defaults = ProptestConfig::default();
    let rng_seed = match defaults.rng_seed {
        // The same cases in every run unless somebody asks for others.
        RngSeed::Random => RngSeed::Fixed(2024),
        fixed => fixed,
    };
    let file = FileFailurePersistence::Direct("proptest-regressions/wire.txt");
    ProptestConfig { rng_seed, failure_persistence: Some(Box::new(file)), ..defaults }
}

/// Numbers of every length on the wire.
fn number() -> impl Strategy<Value = u64> {
    (any::<u64>(), 0..64_u32).prop_map(|(n, shift)| n >> shift)
}

fn context() -> impl Strategy<Value = ContextId> {
    number().prop_map(ContextId)
}

fn life() -> impl Strategy<Value = Incarnation> {
    (number(), number()).prop_map(|(term, counter)| Incarnation::new(term, counter))
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![Just(Kind::Message), Just(Kind::Reply), Just(Kind::Failed), Just(Kind::Dead)]
}

fn header() -> impl Strategy<Value = Header> {
    let fragment = (number(), any::<u32>(), number()).prop_map(|(number, index, total)| {
        FragmentField { number, index, total: (index == 0).then_some(total) }
    });
    let first = number().prop_map(|number| FragmentField { number, index: 0, total: Some(number) });
    let trace = (any::<[u8; 16]>(), any::<[u8; 8]>(), any::<u8>())
        .prop_map(|(trace_id, span_id, flags)| TraceContext { trace_id, span_id, flags });
    let destination = (context(), option::of(life()))
        .prop_map(|(context, incarnation)| Destination { context, incarnation });
    let addressing =
        (option::of(destination), option::of(context()), option::of(context()), 0..=MAX_HOPS);
    let handles = (any::<u64>(), option::of(any::<u64>()));
    let epoch = prop_oneof![Just(0), number()];
    let rest = (
        option::of(prop_oneof![fragment, first]),
        0..3_u8,
        option::of(trace),
        any::<bool>(),
        epoch,
    );
    (kind(), addressing, handles, rest).prop_map(|(kind, addressing, handles, rest)| {
        let (destination, source, authority, hops) = addressing;
        let (fragment, codec, trace, by_router, epoch) = rest;
        Header {
            kind,
            destination,
            source,
            authority,
            // Without an address there is nothing to count.
            hops: if destination.is_some() || source.is_some() { hops } else { MAX_HOPS },
            handle: Handle(handles.0),
            reply: handles.1.map(Handle),
            fragment,
            codec,
            trace,
            by_router: by_router && kind == Kind::Dead,
            epoch: PathEpoch(epoch),
        }
    })
}

fn message() -> impl Strategy<Value = LinkMessage> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..600);
    let add = (number(), context(), life(), number(), context(), bytes(), bytes()).prop_map(
        |(stamp, context, incarnation, attachment, parent, certificate, signature)| {
            let attachment = Attachment(attachment);
            let announcement =
                Announcement { context, incarnation, attachment, parent, certificate, signature };
            LinkMessage::AddRoute(AddRoute { stamp, announcement })
        },
    );
    let withdrawn = (context(), life(), number()).prop_map(|(context, incarnation, attachment)| {
        Withdrawn { context, incarnation, attachment: Attachment(attachment) }
    });
    let ids = || prop::collection::vec(context(), 0..20);
    let outside = prop_oneof![
        Just(Outside::None),
        ids().prop_map(Outside::Listed),
        ids().prop_map(Outside::AllExcept)
    ];
    let kind = || {
        prop_oneof![
            Just(LossKind::ProcessExited),
            Just(LossKind::Silent),
            Just(LossKind::Violation),
            Just(LossKind::Revoked)
        ]
    };
    let del =
        (number(), prop::collection::vec(withdrawn, 0..20), outside, kind(), context(), ".{0,40}")
            .prop_map(|(stamp, routes, outside, kind, context, text)| {
                let loss = Loss { kind, context, text };
                LinkMessage::DelRoute(DelRoute { stamp, routes, outside, loss })
            });
    prop_oneof![
        add,
        del,
        Just(LinkMessage::Detaching),
        (kind(), ".{0,40}").prop_map(|(kind, text)| LinkMessage::Goodbye(Goodbye { kind, text })),
        any::<[u64; 4]>().prop_map(|taken| LinkMessage::Report(Report { taken })),
        ids().prop_map(|contexts| LinkMessage::Pause(Contexts { contexts })),
        ids().prop_map(|contexts| LinkMessage::Resume(Contexts { contexts })),
        ids().prop_map(|contexts| LinkMessage::Above(Contexts { contexts })),
        prop::collection::vec(any::<u8>(), 0..80)
            .prop_map(|list| LinkMessage::Revocations(Revocations { list })),
    ]
}

/// Reads a stream that comes in chunks of the given lengths, over and over, to its end or its first error.
fn read(stream: &[u8], cuts: &[usize]) -> (Vec<(Header, Bytes)>, Result<bool, WireError>) {
    let mut reader = FrameReader::new();
    let (mut frames, mut rest, mut cuts) = (Vec::new(), stream, cuts.iter().cycle());
    while !rest.is_empty() {
        let (chunk, tail) = rest.split_at((*cuts.next().expect("endless")).clamp(1, rest.len()));
        rest = tail;
        reader.feed(Bytes::copy_from_slice(chunk));
        loop {
            match reader.next() {
                Ok(Some(frame)) => frames.push((frame.header, frame.payload)),
                Ok(None) => break,
                Err(error) => return (frames, Err(error)),
            }
        }
    }
    (frames, Ok(reader.at_boundary()))
}

/// What decodes, decodes to the same when it is encoded again.
fn means_one_thing<T: Body + PartialEq + std::fmt::Debug>(bytes: &[u8]) {
    if let Ok(body) = T::from_bytes(bytes) {
        assert_eq!(T::from_bytes(&body.to_bytes()), Ok(body));
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_header_is_what_it_was(header in header()) {
        let mut out = [0; MAX_HEADER];
        let len = header.encode(&mut out);
        prop_assert!(len <= 126);
        prop_assert_eq!(Header::decode(&out[..len]), Ok((header, len)));
    }

    #[test]
    fn a_varint_is_what_it_was_and_has_one_form(n in number(), bytes in prop::collection::vec(any::<u8>(), 0..12)) {
        let mut out = Vec::new();
        varint::put(n, &mut out);
        let mut rest = &out[..];
        prop_assert_eq!(varint::take(&mut rest), Ok(n));
        prop_assert!(rest.is_empty());
        let mut rest = &bytes[..];
        if let Ok(n) = varint::take(&mut rest) {
            let mut again = Vec::new();
            varint::put(n, &mut again);
            prop_assert_eq!(&again[..], &bytes[..bytes.len() - rest.len()]);
        }
    }

    #[test]
    fn a_stream_of_frames_comes_out_whole_however_it_is_cut(
        frames in prop::collection::vec((header(), prop::collection::vec(any::<u8>(), 0..300)), 0..10),
        cuts in prop::collection::vec(1..700_usize, 1..10),
    ) {
        let mut stream = Vec::new();
        for (header, payload) in &frames {
            put_frame(header, &[payload], &mut stream);
        }
        let (got, end) = read(&stream, &cuts);
        let expected: Vec<_> = frames.into_iter().map(|(header, payload)| (header, payload.into())).collect();
        prop_assert_eq!(got, expected);
        prop_assert_eq!(end, Ok(true));
    }

    #[test]
    fn r05_garbage_is_an_error_and_keeps_the_good_messages_before_it(
        good in prop::collection::vec(message(), 0..5),
        garbage in prop::collection::vec(any::<u8>(), 1..100),
        cuts in prop::collection::vec(1..200_usize, 1..5),
    ) {
        let mut stream = Vec::new();
        for message in &good {
            message.put(&mut stream);
        }
        // A frame's length over the limit, then anything.
        varint::put(MAX_FRAME as u64 + 1, &mut stream);
        stream.extend_from_slice(&garbage);
        let (got, end) = read(&stream, &cuts);
        prop_assert!(end.is_err());
        let got: Vec<_> = got.iter().map(|(header, payload)| LinkMessage::decode(header, payload)).collect();
        prop_assert_eq!(got, good.into_iter().map(Ok).collect::<Vec<_>>());
    }

    #[test]
    fn r05_a_damaged_link_message_is_an_error_or_another_message_and_never_a_panic(
        message in message(), at in any::<prop::sample::Index>(), bit in 0..8_u32, cut in any::<prop::sample::Index>(),
    ) {
        let mut stream = Vec::new();
        message.put(&mut stream);
        let mut flipped = stream.clone();
        let at = at.index(flipped.len());
        flipped[at] ^= 1 << bit;
        for stream in [&flipped[..], &stream[..cut.index(stream.len())]] {
            let (frames, _) = read(stream, &[64]);
            for (header, payload) in frames {
                if let Ok(message) = LinkMessage::decode(&header, &payload) {
                    let mut out = Vec::new();
                    message.put(&mut out);
                    let (again, _) = read(&out, &[64]);
                    prop_assert_eq!(LinkMessage::decode(&again[0].0, &again[0].1), Ok(message));
                }
            }
        }
    }

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..400), handle in prop::sample::select(vec![103_u64, 104, 109, 190, 191, 192, 193, 194, 195, 196])) {
        let _ = Header::decode(&bytes);
        let _ = Dead::decode(&bytes);
        let _ = read(&bytes, &[7, 100]);
        let header = Header::to(Handle(handle));
        let _ = LinkMessage::decode(&header, &bytes);
        let _ = take_opening::<Hello>(&header, &bytes);
        let _ = take_opening::<Answer>(&header, &bytes);
        means_one_thing::<Flush>(&bytes);
        means_one_thing::<Flushed>(&bytes);
        means_one_thing::<Behind>(&bytes);
        means_one_thing::<Lost>(&bytes);
        means_one_thing::<Ask>(&bytes);
        means_one_thing::<Grant>(&bytes);
    }

    #[test]
    fn a_dead_reply_is_what_it_was(
        reason in prop::sample::select(DeadReason::ALL.to_vec()),
        handled in prop::sample::select(vec![Handled::No, Handled::Maybe, Handled::Yes]),
        by in context(), text in ".{0,2000}",
    ) {
        let dead = Dead::new(reason, handled, by, text);
        let mut out = Vec::new();
        dead.encode(&mut out);
        prop_assert_eq!(Dead::decode(&out), Ok(dead));
    }

    #[test]
    fn r06_interleaved_fragments_come_out_whole(
        lens in prop::collection::vec(FRAGMENT + 1..5 * FRAGMENT, 1..4),
        order in prop::collection::vec(any::<prop::sample::Index>(), 20),
    ) {
        let bodies: Vec<Vec<u8>> = lens.iter().map(|&len| (0..len).map(|n| (n % 253) as u8).collect()).collect();
        let mut parts: Vec<std::collections::VecDeque<_>> =
            lens.iter().enumerate().map(|(number, &len)| split(number as u64, len).collect()).collect();
        let mut reassembly = Reassembly::new(usize::MAX / 2, usize::MAX / 2, std::time::Duration::from_secs(1));
        let mut got = vec![None; bodies.len()];
        let mut order = order.iter().cycle();
        while parts.iter().any(|parts| !parts.is_empty()) {
            let open: Vec<_> = (0..parts.len()).filter(|&n| !parts[n].is_empty()).collect();
            let n = open[order.next().expect("endless").index(open.len())];
            let (field, range) = parts[n].pop_front().expect("it is open");
            let stream = StreamId::lane(n as u8);
            let whole = reassembly.accept(Moment::START, ContextId(1), stream, field, &bodies[n][range]);
            if let Some(whole) = whole.expect("fragments in order are accepted") {
                got[n] = Some(whole);
            }
        }
        prop_assert_eq!(got, bodies.into_iter().map(|body| Some(body.into())).collect::<Vec<_>>());
        prop_assert_eq!(reassembly.reserved(), 0);
    }
}
