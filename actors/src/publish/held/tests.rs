use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;

use super::{
    super::{options::Sender, window::Window},
    *,
};

const TAG: u64 = 7;

fn at(millis: u64) -> Moment {
    Moment::START + Duration::from_millis(millis)
}

fn checked(id: u128, sequence: u64, content: u8, level: AckLevel) -> Checked {
    Checked {
        id: MessageId::new(id),
        hash: [sequence as u8; 32],
        content: [content; 32],
        series: 1,
        sequence,
        level,
        owed_by: vec!["me".into()],
        publisher_names: vec!["build".into()],
        signed: None,
    }
}

fn arrived(checked: Checked) -> Arrived {
    let signed = Some(Arc::new(checked));
    let body = Bytes::from_static(b"body");
    Arrived { topic: "a".into(), from: ContextId(1), tag: TAG, codec: 0, body, signed }
}

fn plain() -> Arrived {
    Arrived { signed: None, ..arrived(checked(0, 0, 0, AckLevel::Processed)) }
}

fn held(change: impl FnOnce(&mut Options)) -> Held {
    let mut options = Options::new(Some(TAG));
    change(&mut options);
    Held::new(options)
}

fn take(held: &mut Held, now: u64) -> Option<Taken> {
    let mut owed = Vec::new();
    let taken = held.take(at(now), &mut owed);
    assert!(owed.is_empty(), "{owed:?}");
    taken
}

fn settle(held: &mut Held, now: u64, number: u64, how: Settled) -> Vec<Answer> {
    let mut owed = Vec::new();
    held.settle(at(now), number, how, &mut owed);
    owed.into_iter().map(|owed| owed.answer).collect()
}

fn reached(level: AckLevel) -> Answer {
    Answer::Reached(level)
}

#[test]
fn each_level_is_answered_when_it_is_reached() {
    let levels = [AckLevel::Received, AckLevel::Durable, AckLevel::Processed];
    for (sequence, level) in levels.into_iter().enumerate() {
        let mut held = held(|_| {});
        let on_arrival = held.arrive(arrived(checked(1, sequence as u64, 1, level)));
        let number = take(&mut held, 0).unwrap().number;
        let mut on_store = Vec::new();
        assert!(held.stored(number, &mut on_store));
        let at_end = settle(&mut held, 0, number, Settled::Ok);
        let counts = [on_arrival.len(), on_store.len(), at_end.len()];
        let mut expected = [0; 3];
        expected[sequence] = 1;
        assert_eq!(counts, expected, "{level:?}");
    }
}

#[test]
fn a_duplicate_is_answered_and_not_delivered() {
    let mut held = held(|_| {});
    let first = checked(1, 1, 1, AckLevel::Processed);
    assert!(held.arrive(arrived(first.clone())).is_empty());
    let again = checked(1, 2, 1, AckLevel::Processed);
    assert!(held.arrive(arrived(again.clone())).is_empty(), "nothing is processed yet");
    assert!(held.arrive(arrived(again)).is_empty());
    let taken = take(&mut held, 0).unwrap();
    assert!(take(&mut held, 0).is_none());
    let mut owed = Vec::new();
    assert!(held.settle(at(0), taken.number, Settled::Ok, &mut owed));
    let hashes: Vec<_> = owed.iter().map(|owed| owed.hash[0]).collect();
    assert_eq!(hashes, [1, 2], "each publish of it is answered");
    let third = held.arrive(arrived(checked(1, 3, 1, AckLevel::Durable)));
    assert_eq!((third[0].hash[0], &third[0].answer), (3, &reached(AckLevel::Processed)));
    assert!(take(&mut held, 0).is_none());
    assert_eq!((held.stats().duplicates, held.stats().handled), (3, 1));
}

#[test]
fn another_message_under_the_same_id_is_rejected_and_not_taken_for_handled() {
    let mut held = held(|_| {});
    held.arrive(arrived(checked(1, 1, 1, AckLevel::Processed)));
    let other = held.arrive(arrived(checked(1, 2, 9, AckLevel::Received)));
    assert!(matches!(other[0].answer, Answer::Rejected(_)));
    let taken = take(&mut held, 0).unwrap();
    assert_eq!(settle(&mut held, 0, taken.number, Settled::Ok), [reached(AckLevel::Processed)]);
    let other = held.arrive(arrived(checked(1, 3, 9, AckLevel::Received)));
    assert!(matches!(other[0].answer, Answer::Rejected(_)));
    assert_eq!(held.stats().reused_ids, 2);
    // Another publisher's ids are its own.
    let theirs = Arrived { from: ContextId(2), ..arrived(checked(1, 1, 9, AckLevel::Processed)) };
    assert!(held.arrive(theirs).is_empty());
    assert!(take(&mut held, 0).is_some());
}

#[test]
fn what_is_put_off_or_lost_comes_again_until_it_is_given_up() {
    let mut held = held(|options| {
        options.deliveries = 3;
        options.time = Duration::from_millis(50);
        options.again = Duration::from_millis(10);
    });
    held.arrive(arrived(checked(1, 1, 1, AckLevel::Processed)));
    let first = take(&mut held, 0).unwrap();
    assert!(settle(&mut held, 0, first.number, Settled::Nack(Duration::from_millis(5))).is_empty());
    assert_eq!(held.poll_timeout(), Some(at(5)));
    assert!(take(&mut held, 4).is_none());
    let second = take(&mut held, 5).unwrap();
    assert!(held.extend(at(10), second.number, Duration::from_millis(100)));
    assert!(take(&mut held, 109).is_none());
    assert_eq!(held.poll_timeout(), Some(at(110)));
    assert!(take(&mut held, 110).is_none(), "its time is over; it comes again in a while");
    assert!(settle(&mut held, 111, second.number, Settled::Ok).is_empty(), "too late");
    let third = take(&mut held, 120).unwrap();
    assert_eq!((first.attempt, second.attempt, third.attempt), (1, 2, 3));
    let end = settle(&mut held, 120, third.number, Settled::Lost);
    assert!(matches!(&end[..], [Answer::Rejected(why)] if why.contains("3 times")));
    assert_eq!(held.take_dead()[0].deliveries, 3);
    let stats = held.stats();
    assert_eq!((stats.dead, stats.held, stats.lost, stats.expired), (1, 0, 2, 1));
    assert_eq!((stats.nacked, stats.late_verdicts, held.bytes), (1, 1, 0));
    assert_eq!(held.poll_timeout(), None);
}

#[test]
fn what_finds_no_room_is_not_acknowledged_nor_remembered() {
    let mut held = held(|options| options.most = 2);
    for id in 1..=3 {
        let owed = held.arrive(arrived(checked(id, id as u64, 1, AckLevel::Received)));
        assert_eq!(owed.len(), usize::from(id < 3));
    }
    let taken = take(&mut held, 0).unwrap();
    settle(&mut held, 0, taken.number, Settled::Ok);
    assert_eq!(held.arrive(arrived(checked(3, 3, 1, AckLevel::Received))).len(), 1);
    assert_eq!(held.stats().overflowed, 1);
    assert_eq!(held.stats().missed, 0);
}

#[test]
fn bytes_are_bounded_and_a_large_message_passes_alone() {
    let mut held = held(|options| options.most_bytes = 10);
    held.arrive(plain());
    held.arrive(plain());
    assert_eq!((held.stats().held, held.stats().overflowed), (1, 1));
}

#[test]
fn filters_are_by_type_sender_and_signature() {
    let other_type = Arrived { tag: 8, ..plain() };
    let named = arrived(checked(1, 1, 1, AckLevel::Processed));
    let count = |held: Held, arrived: &[Arrived]| {
        let mut held = held;
        arrived.iter().for_each(|arrived| drop(held.arrive(arrived.clone())));
        (held.stats().held, held.stats().filtered)
    };
    let all = [plain(), other_type, named];
    assert_eq!(count(held(|_| {}), &all), (2, 1));
    assert_eq!(count(held(|options| options.signed_only = true), &all), (1, 2));
    let by = |sender: Sender| held(|options| options.senders.push(sender));
    assert_eq!(count(by(Sender::Name("build".into())), &all), (1, 2));
    assert_eq!(count(by(Sender::Name("other".into())), &all), (0, 3));
    assert_eq!(count(by(Sender::Context(ContextId(1))), &all), (2, 1));
}

#[test]
fn what_cannot_be_remembered_is_not_acknowledged() {
    struct Broken;
    impl Window for Broken {
        fn recall(&self, _: &WindowKey) -> Option<Remembered> {
            None
        }
        fn remember(&mut self, _: WindowKey, _: Remembered) -> Result<(), String> {
            Err("the disk is full".into())
        }
    }
    let mut held = held(|options| options.window = Box::new(Broken));
    held.arrive(arrived(checked(1, 1, 1, AckLevel::Processed)));
    let taken = take(&mut held, 0).unwrap();
    assert!(settle(&mut held, 0, taken.number, Settled::Ok).is_empty());
    assert_eq!(held.stats().unremembered, 1);
}

#[derive(Clone, Debug)]
enum Event {
    Arrive { id: u128, content: u8, level: AckLevel },
    Take,
    Settle { which: usize, how: u8 },
    Stored { which: usize },
}

fn event() -> impl Strategy<Value = Event> {
    let level =
        prop_oneof![Just(AckLevel::Received), Just(AckLevel::Durable), Just(AckLevel::Processed)];
    prop_oneof![
        3 => (0..4_u128, 0..2_u8, level).prop_map(|(id, content, level)| Event::Arrive { id, content, level }),
        3 => Just(Event::Take),
        3 => (0..4_usize, 0..4_u8).prop_map(|(which, how)| Event::Settle { which, how }),
        1 => (0..4_usize).prop_map(|which| Event::Stored { which }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// Whatever happens: only what was handled is acknowledged as processed, with its own content, and it is handled once.
    #[test]
    fn only_what_was_handled_is_acknowledged_as_processed(
        events in prop::collection::vec((event(), 0..50_u64), 0..60),
    ) {
        let mut held = held(|options| {
            options.most = 3;
            options.deliveries = 3;
            options.time = Duration::from_millis(200);
            options.again = Duration::from_millis(20);
        });
        let (mut now, mut sequence) = (0, 0_u64);
        let mut contents: HashMap<u8, (u128, u8, AckLevel)> = HashMap::new();
        let mut out: Vec<Taken> = Vec::new();
        let (mut handled, mut stored) = (HashMap::new(), HashMap::new());
        for (event, later) in events {
            now += later;
            let mut owed = Vec::new();
            match event {
                Event::Arrive { id, content, level } => {
                    sequence += 1;
                    contents.insert(sequence as u8, (id, content, level));
                    owed = held.arrive(arrived(checked(id, sequence, content, level)));
                }
                Event::Take => out.extend(held.take(at(now), &mut owed)),
                Event::Settle { which, how } if which < out.len() => {
                    let taken = out.swap_remove(which);
                    let how = match how {
                        0 => Settled::Nack(Duration::from_millis(30)),
                        1 => Settled::Reject("no".into()),
                        2 => Settled::Lost,
                        _ => Settled::Ok,
                    };
                    let is_ok = how == Settled::Ok;
                    if held.settle(at(now), taken.number, how, &mut owed) && is_ok {
                        let signed = taken.arrived.signed.unwrap();
                        let before = handled.insert(signed.id.get(), signed.content[0]);
                        prop_assert_eq!(before, None, "handled twice");
                    }
                }
                Event::Stored { which } if which < out.len() => {
                    let taken = &out[which];
                    if held.stored(taken.number, &mut owed) {
                        let signed = taken.arrived.signed.as_ref().unwrap();
                        stored.insert(signed.id.get(), signed.content[0]);
                    }
                }
                _ => {}
            }
            for owed in owed {
                let (id, content, asked) = contents[&owed.hash[0]];
                prop_assert_eq!(owed.id.get(), id);
                if let Answer::Reached(level) = owed.answer {
                    prop_assert!(level >= asked);
                    if level == AckLevel::Processed {
                        prop_assert_eq!(handled.get(&id), Some(&content));
                    }
                    if level == AckLevel::Durable {
                        prop_assert_eq!(stored.get(&id), Some(&content));
                    }
                }
            }
            prop_assert!(held.stats().held <= 3);
            prop_assert_eq!(held.entries.len(), held.by_key.len());
            prop_assert_eq!(held.entries.len(), held.waiting.len() + held.later.len() + held.out.len());
            prop_assert_eq!(held.out.len(), held.due.len());
        }
    }
}
