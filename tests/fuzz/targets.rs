//! What the fuzzer runs, and what plain `cargo test` replays over the committed corpus (`tests/tests/fuzz_corpus.rs`).
//!
//! Each target takes whatever a peer may send. It must not panic, and what it accepts must mean one thing: encoded again, it
//! decodes to the same.

use std::{sync::OnceLock, time::Duration};

use actogen_core::{
    ContextId, Dead, Handle, Moment, StreamId,
    limits::{FRAGMENT, MAX_FRAME, MAX_HEADER},
    wire::{
        FragmentField, Frame, FrameReader, Header, Run, TAG,
        control::{self, Answer, Hello, LinkMessage},
        direct::{Ask, Behind, Body, Flush, Flushed, Grant, Lost},
        fragment::Reassembly,
        next_of_run, put_run,
    },
};
use actogen_runtime::{Admission, Newcomer, launch::bootstrap::Bootstrap, transport::Authority};
use actogen_transport_quic::MeshAuthority;
use bytes::Bytes;

/// A stream of frames, cut into chunks as the first byte says.
pub(crate) fn frames(data: &[u8]) {
    let Some((&cut, stream)) = data.split_first() else { return };
    let cut = usize::from(cut).max(1) * 3;
    // Cut without copying: what is to be run often should not spend its time in the allocator.
    let mut stream = Bytes::copy_from_slice(stream);
    let (mut reader, mut quick) = (FrameReader::new(), FrameReader::new());
    // What is left of the run that the quick reader has taken: the place of the next body in its chunk, and how many there are.
    let (mut next, mut left) = (0, 0);
    while !stream.is_empty() {
        let chunk = stream.split_to(cut.min(stream.len()));
        quick.feed(chunk.clone());
        reader.feed(chunk.clone());
        loop {
            if left == 0
                && let Some(run) = quick.next_run()
            {
                quick.give_back(&run);
                assert_eq!(quick.next_run().as_ref(), Some(&run));
                means_its_frames(&chunk, &run);
                (next, left) = (run.bytes.start, run.frames);
            }
            let frame = match reader.next() {
                Ok(Some(frame)) => frame,
                end => {
                    assert!(left == 0 && quick.next() == end);
                    if end.is_err() {
                        return;
                    }
                    break;
                }
            };
            same_again(&frame);
            if left > 0 {
                let body = next_of_run(&chunk, next);
                (next, left) = (body.end, left - 1);
                assert_eq!(frame.payload[TAG..], chunk[body]);
            } else {
                let placed = quick.next_placed();
                let placed = placed.expect("the other reader took it").expect("and whole");
                assert!(placed.header == frame.header && placed.payload() == frame.payload);
            }
        }
    }
}

/// What a run says of itself is what its frames are, also behind another head.
fn means_its_frames(chunk: &Bytes, run: &Run) {
    let (mut at, mut bodies, mut longest) = (run.bytes.start, 0, 0);
    for _ in 0..run.frames {
        let body = next_of_run(chunk, at);
        (at, bodies, longest) = (body.end, bodies + body.len(), longest.max(body.len()));
    }
    assert_eq!((at, bodies, longest), (run.bytes.end, run.bodies, run.longest));
    let mut head = vec![0; MAX_HEADER];
    let len = Header { source: Some(ContextId(7)), ..Header::to(Handle(1000)) }.encode(&mut head);
    head.truncate(len);
    head.extend([1; TAG]);
    let mut onward = Vec::new();
    put_run(&head, &chunk[run.bytes.clone()], 0..0, &mut onward);
    let mut reader = FrameReader::new();
    reader.feed(onward.into());
    let mut at = run.bytes.start;
    for _ in 0..run.frames {
        let body = next_of_run(chunk, at);
        at = body.end;
        let frame = reader.next().expect("it fits behind any head").expect("it is whole");
        assert!(frame.header.source == Some(ContextId(7)) && frame.payload[TAG..] == chunk[body]);
    }
    assert!(reader.at_boundary());
}

fn same_again(frame: &Frame) {
    assert!(frame.payload.len() <= MAX_FRAME);
    let mut head = [0; MAX_HEADER];
    let len = frame.header.encode(&mut head);
    assert_eq!(Header::decode(&head[..len]), Ok((frame.header.clone(), len)));
}

/// A link's own message: the first byte chooses which, the rest is the payload. Also the openings, a dead reply, and what contexts say
/// of paths and direct links.
pub(crate) fn control(data: &[u8]) {
    let Some((&which, payload)) = data.split_first() else { return };
    let handles = [
        Handle::ADD_ROUTE,
        Handle::DEL_ROUTE,
        Handle::DETACHING,
        control::handles::GOODBYE,
        control::handles::REPORT,
        control::handles::OPEN,
        control::handles::PAUSE,
        control::handles::RESUME,
        control::handles::ABOVE,
    ];
    let header = Header::to(handles[usize::from(which) % handles.len()]);
    if let Ok(message) = LinkMessage::decode(&header, payload) {
        let mut frame = Vec::new();
        message.put(&mut frame);
        let mut reader = FrameReader::new();
        reader.feed(frame.into());
        let again = reader.next().expect("a frame of ours decodes").expect("and is whole");
        assert_eq!(LinkMessage::decode(&again.header, &again.payload), Ok(message));
    }
    let _ = control::take_opening::<Hello>(&header, payload);
    let _ = control::take_opening::<Answer>(&header, payload);
    if let Ok(dead) = Dead::decode(payload) {
        let mut again = Vec::new();
        dead.encode(&mut again);
        assert_eq!(Dead::decode(&again), Ok(dead));
    }
    beside_the_tree::<Flush>(payload);
    beside_the_tree::<Flushed>(payload);
    beside_the_tree::<Behind>(payload);
    beside_the_tree::<Lost>(payload);
    beside_the_tree::<Ask>(payload);
    beside_the_tree::<Grant>(payload);
}

fn beside_the_tree<T: Body + PartialEq + std::fmt::Debug>(payload: &[u8]) {
    if let Ok(body) = T::from_bytes(payload) {
        assert_eq!(T::from_bytes(&body.to_bytes()), Ok(body));
    }
}

/// Fragments in any order, with any fields: 12 bytes choose the fields of each, and how much payload it has.
pub(crate) fn bodies(data: &[u8]) {
    const QUOTA: usize = 1 << 20;
    // Enough for three of the longest bodies, which are more than the quota holds.
    const STEPS: usize = 24;
    static PAYLOAD: [u8; FRAGMENT] = [0; FRAGMENT];
    let mut reassembly = Reassembly::new(QUOTA, QUOTA / 2, Duration::from_secs(30));
    for (at, step) in data.chunks_exact(12).enumerate().take(STEPS) {
        let number = |range: std::ops::Range<usize>| {
            step[range].iter().fold(0_u64, |n, &byte| n << 8 | u64::from(byte))
        };
        let index = u32::from(step[1] % 12);
        let field = FragmentField {
            number: number(2..3) % 4,
            index,
            total: (index == 0).then(|| number(3..7) % (QUOTA as u64 * 2)),
        };
        let len = number(7..9) as usize;
        let len = if step[0] & 1 == 0 { FRAGMENT } else { len };
        let now = Moment::START + Duration::from_millis(number(9..11) + at as u64);
        let lane = StreamId::lane(step[11]);
        let source = ContextId(u64::from(step[0] >> 6));
        if let Ok(Some(whole)) = reassembly.accept(now, source, lane, field, &PAYLOAD[..len]) {
            assert!(whole.len() <= QUOTA / 2);
        }
        assert!(reassembly.reserved() <= QUOTA);
        assert_eq!(reassembly.reserved() == 0, reassembly.is_empty());
        assert_eq!(reassembly.next_expiry().is_none(), reassembly.is_empty());
        if step[0] & 2 != 0 {
            reassembly.expire(now);
        }
    }
}

/// What comes to the door of the join protocol, what a child reads on its standard input, and what a root is asked to sign.
pub(crate) fn enrolment(data: &[u8]) {
    let Some((&which, payload)) = data.split_first() else { return };
    match which % 4 {
        0 => {
            if let Ok((newcomer, [])) = postcard::take_from_bytes::<Newcomer>(payload) {
                let again = newcomer.encode();
                let again = postcard::take_from_bytes::<Newcomer>(&again)
                    .map(|(newcomer, _)| newcomer.encode());
                assert_eq!(again, Ok(newcomer.encode()));
            }
        }
        1 => {
            let _ = Admission::decode(payload);
        }
        2 => {
            if let Ok(bootstrap) = Bootstrap::read(&mut &payload[..]) {
                assert_eq!(
                    Bootstrap::read(&mut &bootstrap.encode()[..]).expect("ours decodes"),
                    bootstrap
                );
            }
        }
        _ => {
            static AUTHORITY: OnceLock<MeshAuthority> = OnceLock::new();
            let authority = AUTHORITY
                .get_or_init(|| MeshAuthority::generate("fuzz.test").expect("a good name"));
            let _ = authority.issue(ContextId(5), payload);
        }
    }
}
