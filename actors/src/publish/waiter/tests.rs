//! An adversary between publisher and recipients: it has keys of its own and one of a former holder of a name, replays, changes and renames
//! what others have signed, and chooses what comes when.

use bytes::Bytes;
use proptest::prelude::*;

use super::{super::acknowledgement::claim, *};

const PUBLISHER: ContextId = ContextId(1);
const NAMES: [&str; 3] = ["audit", "billing", "stock"];
const DEADLINE: Moment = Moment::after_start(Duration::from_secs(3));

fn context_of(name: usize) -> ContextId {
    ContextId(10 + name as u64)
}

/// A signature that nobody can make without the signer's key: in the model, it says who has signed what.
fn sign(key: u64, claim: &[u8]) -> Bytes {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&key.to_le_bytes());
    hasher.update(claim);
    Bytes::copy_from_slice(hasher.finalize().as_bytes())
}

/// A certificate of the model: its context's id, and the names that the authority has put in.
fn certificate(context: ContextId, names: &[&str]) -> Bytes {
    Bytes::from(format!("{}:{}", context.0, names.join(",")))
}

/// What stands in for certificates and keys: the true certificates are those that the authority has made.
fn judge(ack: &Acknowledgement, revoked: Option<ContextId>) -> Result<Vec<String>, Worthless> {
    let genuine = (0..NAMES.len())
        .map(|name| (context_of(name), vec![NAMES[name]]))
        .chain([(ContextId(66), vec![]), (ContextId(67), vec![NAMES[0]])]);
    let names = genuine
        .filter(|(context, names)| certificate(*context, names) == ack.certificate)
        .find(|(context, _)| *context == ack.signer)
        .ok_or(Worthless::Forged)?
        .1;
    let claim = claim(ack.id, &ack.hash, PUBLISHER, &ack.name, &ack.answer);
    if sign(ack.signer.0, &claim) != ack.signature {
        return Err(Worthless::Forged);
    }
    if revoked == Some(ack.signer) {
        return Err(Worthless::Revoked);
    }
    Ok(names.into_iter().map(str::to_owned).collect())
}

fn honest(
    id: u128,
    hash: u8,
    publisher: ContextId,
    name: usize,
    answer: Answer,
) -> Acknowledgement {
    let (id, hash, signer) = (MessageId::new(id), [hash; 32], context_of(name));
    let signature = sign(signer.0, &claim(id, &hash, publisher, NAMES[name], &answer));
    let (name, certificate) = (NAMES[name].to_owned(), certificate(signer, &[NAMES[name]]));
    Acknowledgement { id, hash, name, answer, signer, certificate, signature }
}

fn processed() -> Answer {
    Answer::Reached(AckLevel::Processed)
}

fn waiter(level: AckLevel, names: &[usize]) -> Waiter {
    let required = names.iter().map(|name| (NAMES[*name].to_owned(), context_of(*name)));
    Waiter::new((MessageId::new(5), [5; 32]), level, required, Moment::START, DEADLINE)
}

fn at(millis: u64) -> Moment {
    Moment::START + Duration::from_millis(millis)
}

#[test]
fn g02_one_of_two_is_not_both() {
    let mut waiter = waiter(AckLevel::Processed, &[0, 1]);
    assert!(waiter.take(at(1), &honest(5, 5, PUBLISHER, 0, processed()), |ack| judge(ack, None)));
    let Step::Done(Err(ReliableError::Timeout(_))) = ({
        waiter.has_left();
        waiter.step(DEADLINE, 0.5)
    }) else {
        panic!("the time is over")
    };
    let partial = waiter.partial();
    assert_eq!(partial.missing, ["billing"]);
    assert_eq!(partial.acked.keys().collect::<Vec<_>>(), ["audit"]);
}

#[test]
fn g07_duplicates_count_once_and_each_ignored_one_is_counted() {
    let mut waiter = waiter(AckLevel::Durable, &[0, 1]);
    let good = honest(5, 5, PUBLISHER, 0, processed());
    let take = |waiter: &mut Waiter, ack: &Acknowledgement| {
        waiter.take(at(1), ack, |ack| judge(ack, None))
    };
    let forged = Acknowledgement { signature: Bytes::from_static(b"x"), ..good.clone() };
    let renamed = Acknowledgement { name: NAMES[1].into(), ..good.clone() };
    let stranger = Acknowledgement { name: "nobody".into(), ..good.clone() };
    let weaker = honest(5, 5, PUBLISHER, 0, Answer::Reached(AckLevel::Received));
    for bad in [
        honest(4, 5, PUBLISHER, 0, processed()),
        honest(5, 4, PUBLISHER, 0, processed()),
        forged,
        renamed,
        stranger,
        weaker,
    ] {
        assert!(!take(&mut waiter, &bad), "{bad:?}");
    }
    assert!(take(&mut waiter, &good));
    assert!(!take(&mut waiter, &good));
    assert!(
        !waiter.take(at(1), &honest(5, 5, PUBLISHER, 1, processed()), |ack| judge(
            ack,
            Some(ack.signer)
        ))
    );
    assert!(
        !waiter.take(DEADLINE, &honest(5, 5, PUBLISHER, 1, processed()), |ack| judge(ack, None))
    );
    let ignored = waiter.partial().ignored_acks;
    let once = IgnoredAcks {
        other_id: 1,
        other_hash: 1,
        stranger: 1,
        weaker: 1,
        forged: 1,
        revoked: 1,
        misnamed: 1,
        duplicate: 1,
        late: 1,
    };
    assert_eq!(ignored, once);
    assert_eq!(ignored.total(), 9);
}

#[test]
fn a_rejection_ends_it_at_once() {
    let mut waiter = waiter(AckLevel::Processed, &[0, 1]);
    let no = honest(5, 5, PUBLISHER, 1, Answer::Rejected("no".into()));
    assert!(waiter.take(at(1), &no, |ack| judge(ack, None)));
    let Step::Done(Err(ReliableError::Rejected(partial))) = waiter.step(at(1), 0.5) else {
        panic!("it was rejected")
    };
    assert_eq!(
        (partial.missing, partial.rejected["billing"].as_str()),
        (vec!["audit".into()], "no")
    );
}

#[test]
fn g03_the_deadline_is_kept_and_what_never_left_was_not_sent() {
    let mut tried = waiter(AckLevel::Processed, &[0]);
    let (mut now, mut sent) = (Moment::START, 0);
    let end = loop {
        match tried.step(now, 1.0) {
            Step::Send => sent += 1,
            Step::Wait(until) => {
                assert!(until > now && until <= DEADLINE);
                now = until;
            }
            Step::Done(end) => break end,
        }
    };
    assert_eq!(now, DEADLINE);
    // At 0, 250, 750 and 1750 ms; the next one would be at 3750.
    assert_eq!(sent, 4);
    assert_eq!(end, Err(ReliableError::NotSent(NotSent::NoRoom)));
    // Nor was one whose turn comes when its time is over.
    let Step::Done(end) = waiter(AckLevel::Processed, &[0]).step(DEADLINE, 1.0) else {
        panic!("its time is over");
    };
    assert_eq!(end, Err(ReliableError::NotSent(NotSent::TooLate)));
}

/// What the adversary makes of an acknowledgement.
#[derive(Clone, Debug)]
enum Twist {
    None,
    Id,
    Hash,
    Rename(usize),
    Signer(u64),
    Certificate(usize),
    Level(AckLevel),
    Signature,
    /// Signed by the adversary, or by who had the first name before.
    Own(u64),
}

fn twisted(mut ack: Acknowledgement, twist: &Twist) -> Acknowledgement {
    match twist {
        Twist::None => {}
        Twist::Id => ack.id = MessageId::new(5),
        Twist::Hash => ack.hash = [5; 32],
        Twist::Rename(name) => ack.name = NAMES[*name].into(),
        Twist::Signer(signer) => ack.signer = ContextId(*signer),
        Twist::Certificate(name) => {
            ack.certificate = certificate(context_of(*name), &[NAMES[*name]])
        }
        Twist::Level(level) => ack.answer = Answer::Reached(*level),
        Twist::Signature => {
            ack.signature = Bytes::from(ack.signature.iter().rev().copied().collect::<Vec<_>>())
        }
        Twist::Own(signer) => {
            ack.signer = ContextId(*signer);
            let names: &[&str] = if *signer == 67 { &NAMES[..1] } else { &[] };
            ack.certificate = certificate(ack.signer, names);
            let claim = claim(ack.id, &ack.hash, PUBLISHER, &ack.name, &ack.answer);
            ack.signature = sign(*signer, &claim);
        }
    }
    ack
}

fn twist() -> impl Strategy<Value = Twist> {
    prop_oneof![
        3 => Just(Twist::None),
        1 => Just(Twist::Id),
        1 => Just(Twist::Hash),
        1 => (0..3_usize).prop_map(Twist::Rename),
        1 => (9..14_u64).prop_map(Twist::Signer),
        1 => (0..3_usize).prop_map(Twist::Certificate),
        1 => level().prop_map(Twist::Level),
        1 => Just(Twist::Signature),
        1 => prop_oneof![Just(66), Just(67)].prop_map(Twist::Own),
    ]
}

fn level() -> impl Strategy<Value = AckLevel> {
    prop_oneof![Just(AckLevel::Received), Just(AckLevel::Durable), Just(AckLevel::Processed)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6_000))]

    /// Whatever comes, in whatever order: success is said if and only if each required recipient has signed for this very message, at the
    /// level or higher, and that has come in time.
    #[test]
    fn g04_no_adversary_makes_a_false_success(
        asked in level(),
        required in prop::collection::btree_set(0..3_usize, 1..=3),
        revoked in prop::option::of(10..13_u64),
        events in prop::collection::vec(
            // Which name; whether of this message; of which publisher; its level; the twists; when.
            (0..3_usize, 0..5_u8, 0..8_u8, level(), twist(), twist(), 0..4_000_u64),
            0..24,
        ),
    ) {
        let revoked = revoked.map(ContextId);
        let names: Vec<_> = required.iter().copied().collect();
        let mut waiter = waiter(asked, &names);
        let mut events = events;
        events.sort_by_key(|event| event.6);
        let (mut owed, mut now) = (required.clone(), Moment::START);
        for (name, which, publisher, reached, one, two, when) in events {
            now = at(when);
            let (id, hash) = match which { 0 => (4, 5), 1 => (5, 4), _ => (5, 5) };
            let publisher = if publisher == 0 { ContextId(2) } else { PUBLISHER };
            let original = honest(id, hash, publisher, name, Answer::Reached(reached));
            let ack = twisted(twisted(original.clone(), &one), &two);
            // The twists may have undone each other, so truth is what the honest recipient has signed, not what was done to it.
            let is_true = ack.signature == original.signature
                && ack.signer == context_of(name) && ack.name == NAMES[name]
                && ack.certificate == original.certificate
                && (ack.id, ack.hash, &ack.answer) == (original.id, original.hash, &original.answer)
                && (id, hash) == (5, 5) && publisher == PUBLISHER && reached >= asked
                && now < DEADLINE && revoked != Some(context_of(name));
            let counts = waiter.take(now, &ack, |ack| judge(ack, revoked));
            let is_first = required.contains(&name) && owed.contains(&name);
            prop_assert_eq!(counts, is_true && is_first, "{:?}", ack);
            if is_true {
                owed.remove(&name);
            }
            if let Step::Done(end) = waiter.step(now, 0.5) {
                prop_assert_eq!(end.is_ok(), owed.is_empty());
            }
        }
        waiter.has_left();
        let end = waiter.step(now.max(DEADLINE), 0.5);
        prop_assert_eq!(matches!(end, Step::Done(Ok(_))), owed.is_empty(), "{:?}", end);
    }
}
