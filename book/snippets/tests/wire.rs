//! The bytes of frames, as the chapter about the wire shows them.

use actogen_core::{
    ContextId, Handle, Incarnation,
    wire::{Destination, Header, put_frame, put_repeated},
};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ")
}

#[test]
fn a_frame_is_these_bytes() {
    // ANCHOR: near
    let tag = 0x1122_3344_5566_7788_u64.to_le_bytes();
    let body = [0x04, 0x06]; // `Add(2, 3)` in postcard

    // One way, from one end of a link to the other: 11 bytes, then tag and body.
    let mut frame = Vec::new();
    put_frame(&Header::to(Handle(0x0102_0304_0506_0708)), &[&tag, &body], &mut frame);
    assert_eq!(hex(&frame), "14 00 00 08 07 06 05 04 03 02 01 88 77 66 55 44 33 22 11 04 06");
    // ANCHOR_END: near

    // ANCHOR: again
    // The same again, with another body: nothing is said twice.
    let mut frame = Vec::new();
    put_repeated(&[0x08, 0x0a], &mut frame); // `Add(4, 5)`
    assert_eq!(hex(&frame), "04 00 20 08 0a");
    // ANCHOR_END: again

    // ANCHOR: far
    // A request to context 7, in its life 1.9, from a context behind this link, with a handle for the answer.
    let mut header = Header::to(Handle(0x0102_0304_0506_0708)).reply_to(Handle(0x1000));
    header.destination =
        Some(Destination { context: ContextId(7), incarnation: Some(Incarnation::new(1, 9)) });
    header.source = Some(ContextId(3));
    let mut frame = Vec::new();
    put_frame(&header, &[&tag, &body], &mut frame);
    assert_eq!(
        hex(&frame),
        "21 17 00 07 01 09 03 64 08 07 06 05 04 03 02 01 00 10 00 00 00 00 00 00 \
         88 77 66 55 44 33 22 11 04 06"
    );
    // ANCHOR_END: far
}
