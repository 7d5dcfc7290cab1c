//! What links say to each other about themselves: openings, route announcements and withdrawals, farewells, reports.
//!
//! Each is the payload of a frame to a reserved handle without destination or source, in postcard. They are accepted from the
//! link itself only and never forwarded as ordinary envelopes (protocol rule 6); one that does not decode costs the sender its
//! link (R5).

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{Header, WireError, put_frame};
use crate::{
    dead::MAX_TEXT,
    id::{Attachment, ContextId, Handle, Incarnation, PathEpoch, StreamId},
    limits::{MAX_CONTROL, MAX_WITHDRAWN},
    wire::direct::Ticket,
};

/// The version of the protocol that this crate speaks; negotiated by ALPN as `actogen/1`.
pub const VERSION: u16 = 1;

/// The handles of the link's own frames, beside [`Handle::ADD_ROUTE`], [`Handle::DEL_ROUTE`] and [`Handle::DETACHING`].
pub mod handles {
    use crate::id::Handle;
    /// A link's first frame in each direction.
    pub const OPEN: Handle = Handle(190);
    /// A link's last frame.
    pub const GOODBYE: Handle = Handle(191);
    /// How many envelopes have been taken over from each lane.
    pub const REPORT: Handle = Handle(192);
    /// Asks the link's other end to pause what is for some contexts.
    pub const PAUSE: Handle = Handle(193);
    /// Tells it that these may go on.
    pub const RESUME: Handle = Handle(194);
    /// Tells a child who stands above its parent.
    pub const ABOVE: Handle = Handle(195);
    /// Whose certificates are not good any more.
    pub const REVOCATIONS: Handle = Handle(196);
}

/// How the two ends of a link stand to each other, as the dialer sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Role {
    /// The dialer becomes a child of the acceptor.
    Child,
    /// The dialer is the acceptor's parent: only the root may ask for this.
    Parent,
    /// The link is beside the tree, for its two ends alone; the acceptor has given the dialer this ticket (protocol rule 11).
    Direct(Ticket),
}

/// Capability bit of whoever is to be the parent: its subtree is in one-way mode ([`crate::policy::is_one_way`]), and so is the child's.
pub const ONE_WAY: u64 = 1;

/// The dialer's first frame.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// [`VERSION`].
    pub version: u16,
    /// Capability bits; unknown ones are ignored.
    pub capabilities: u64,
    /// How the dialer wants to stand to the acceptor.
    pub role: Role,
    /// Who the dialer is; checked against its certificate.
    pub context: ContextId,
    /// The dialer's life, if the root has given it one; `None` asks for one.
    pub incarnation: Option<Incarnation>,
    /// The acceptor's life, given by a root that dials a context which waits for its parent.
    pub yours: Option<Incarnation>,
    /// The dialer's limit for a message's body in bytes.
    pub max_message: u64,
    /// The dialer's ancestors, nearest first, when it is to be the parent.
    pub ancestors: Vec<ContextId>,
}

/// The acceptor's answer; no actor byte flows before it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// The link stands.
    Welcome(Welcome),
    /// It does not.
    Refusal(Refusal),
}

/// What the acceptor grants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// [`VERSION`].
    pub version: u16,
    /// Capability bits; unknown ones are ignored.
    pub capabilities: u64,
    /// Who the acceptor is; checked against its certificate.
    pub context: ContextId,
    /// The acceptor's life.
    pub incarnation: Incarnation,
    /// The dialer's life: the one it named, or the one that the root has just given.
    pub yours: Incarnation,
    /// The acceptor's limit for a message's body in bytes; a child takes the smaller of this and its own.
    pub max_message: u64,
    /// The acceptor's ancestors, nearest first, when it is to be the parent.
    pub ancestors: Vec<ContextId>,
}

/// Why the acceptor does not want the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum RefusalReason {
    /// The versions have nothing in common.
    Version,
    /// The certificate's id is not the one that was named.
    Identity,
    /// The role cannot be had: a root as a child, a parent that is no root, an ancestor as a child.
    Role,
    /// Both sides dialled at once, and the other's dial stands (protocol rule 11).
    Simultaneous,
    /// A newer attachment of this context has replaced the dialler.
    Replaced,
    /// Too many links or routes.
    Quota,
    /// The root could not be asked for an incarnation.
    NoRoot,
    /// The context is shutting down.
    Shutdown,
    /// A direct link without a ticket that the acceptor has given to this very dialer, and that has not been used.
    Ticket,
}

/// A refusal with its text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// Which kind.
    pub reason: RefusalReason,
    /// For people; at most [`MAX_TEXT`] bytes.
    pub text: String,
}

/// What a context says of its place, signed by itself (protocol rule 3).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Announcement {
    /// The context that speaks.
    pub context: ContextId,
    /// Its life.
    pub incarnation: Incarnation,
    /// How often it has attached in this life.
    pub attachment: Attachment,
    /// The parent it is attached to.
    pub parent: ContextId,
    /// Its certificate, in whatever form the mesh's identities have.
    #[serde(with = "serde_bytes_vec")]
    pub certificate: Vec<u8>,
    /// Its signature over [`Announcement::claim`].
    #[serde(with = "serde_bytes_vec")]
    pub signature: Vec<u8>,
}

impl Announcement {
    /// Whether this is an older word of the same context: of an earlier life, or an earlier attachment in it.
    pub fn is_before(&self, other: &Self) -> bool {
        (self.incarnation, self.attachment) < (other.incarnation, other.attachment)
    }

    /// The bytes that are signed: a label, then context, incarnation, attachment and parent as varints.
    pub fn claim(&self) -> Vec<u8> {
        let mut claim = b"actogen route v1\0".to_vec();
        let fields = [
            self.context.0,
            self.incarnation.term,
            self.incarnation.counter,
            self.attachment.0,
            self.parent.0,
        ];
        for field in fields {
            super::varint::put(field, &mut claim);
        }
        claim
    }
}

/// ADD_ROUTE: one copy goes on each stream of a link, all with the same stamp (protocol rule 5).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddRoute {
    /// Counts this link's route messages from 1.
    pub stamp: u64,
    /// What is announced.
    pub announcement: Announcement,
}

/// One route that is withdrawn: only just this life and attachment (protocol rule 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Withdrawn {
    /// The context.
    pub context: ContextId,
    /// Its life.
    pub incarnation: Incarnation,
    /// Its attachment.
    pub attachment: Attachment,
}

/// DEL_ROUTE: one copy goes on each stream of a link, all with the same stamp.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DelRoute {
    /// Counts this link's route messages from 1.
    pub stamp: u64,
    /// What is withdrawn, in the order of ids; at most [`MAX_WITHDRAWN`].
    pub routes: Vec<Withdrawn>,
    /// What is withdrawn of the rest of the tree, told by a parent that has lost its own parent.
    pub outside: Outside,
    /// Why.
    pub loss: Loss,
}

/// Contexts that can no longer be reached through the parent, whose lives the parent need not know (protocol rule 10).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outside {
    /// None.
    #[default]
    None,
    /// These, which the receiver had addressed; at most [`MAX_WITHDRAWN`].
    Listed(Vec<ContextId>),
    /// Everything but these, for a receiver that has addressed more than the parent keeps in mind.
    AllExcept(Vec<ContextId>),
}

impl Outside {
    fn len(&self) -> usize {
        match self {
            Self::None => 0,
            Self::Listed(ids) | Self::AllExcept(ids) => ids.len(),
        }
    }
}

/// Why a context, or the way to it, is gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loss {
    /// Which kind.
    pub kind: LossKind,
    /// The context whose link was lost: everything withdrawn lies at or behind it.
    pub context: ContextId,
    /// For people, such as `process exited (signal 9)`; at most [`MAX_TEXT`] bytes.
    pub text: String,
}

impl Loss {
    /// A loss with its text, which is cut at [`MAX_TEXT`] bytes.
    pub fn new(kind: LossKind, context: ContextId, text: impl Into<String>) -> Self {
        let dead = crate::dead::Dead::new(
            crate::DeadReason::RouteLost,
            crate::Handled::Maybe,
            context,
            text,
        );
        Self { kind, context, text: dead.text }
    }
}

impl std::fmt::Display for Loss {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} lost: {}", self.context, self.text)
    }
}

/// The kinds of loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum LossKind {
    /// A process that the parent had launched and waited for has ended.
    ProcessExited,
    /// The peer was silent for the detection time.
    Silent,
    /// The link was closed by its peer or broke.
    LinkClosed,
    /// The peer said goodbye: it has shut down.
    Shutdown,
    /// The context left this parent and attached elsewhere.
    Moved,
    /// The context was detached.
    Detached,
    /// The peer broke the protocol and was cut off.
    Violation,
    /// The mesh's authority has revoked the context's certificate.
    Revoked,
}

/// A link's last frame.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Goodbye {
    /// Why the sender closes the link.
    pub kind: LossKind,
    /// For people; at most [`MAX_TEXT`] bytes.
    pub text: String,
}

/// The cumulative count of envelopes taken over from each lane (protocol rule 22).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// One count a lane.
    pub taken: [u64; StreamId::LANES],
}

/// Some contexts; at most [`MAX_WITHDRAWN`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contexts {
    /// Which.
    pub contexts: Vec<ContextId>,
}

/// A numbered list, signed by the mesh's authority, in whatever form the mesh's identities have (protocol rule 26).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revocations {
    /// The list with its signature.
    #[serde(with = "serde_bytes_vec")]
    pub list: Vec<u8>,
}

/// What a frame to one of the link's own handles says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkMessage {
    /// Installs a route.
    AddRoute(AddRoute),
    /// Withdraws routes.
    DelRoute(DelRoute),
    /// The peer, a child, is leaving on purpose.
    Detaching,
    /// The peer closes the link.
    Goodbye(Goodbye),
    /// What the peer has taken over.
    Report(Report),
    /// The peer holds much for these contexts: nothing for them shall come for [`crate::flow::LEASE`] unless renewed.
    Pause(Contexts),
    /// What is for these may come again.
    Resume(Contexts),
    /// The peer, a parent, stands below these, nearest first.
    Above(Contexts),
    /// Whose certificates the peer knows to be revoked.
    Revocations(Revocations),
}

impl LinkMessage {
    /// Whether frames to this handle are the link's own. Asked of every frame: two comparisons tell most that they are not.
    pub fn is_for(handle: Handle) -> bool {
        matches!(handle, Handle::ADD_ROUTE | Handle::DEL_ROUTE | Handle::DETACHING)
            || (handles::OPEN..=handles::REVOCATIONS).contains(&handle)
    }

    /// Reads the message of a frame to a link's own handle.
    ///
    /// # Errors
    /// [`WireError`] when the frame is addressed beyond the link, the payload is not of that message's form, or a bound is
    /// passed.
    pub fn decode(header: &Header, payload: &[u8]) -> Result<Self, WireError> {
        if header.destination.is_some() || header.source.is_some() || header.authority.is_some() {
            return Err(WireError::Invalid("the addressing of a link's own frame"));
        }
        if header.reply.is_some() || header.fragment.is_some() {
            return Err(WireError::Invalid("a reply handle or fragment of a link's own frame"));
        }
        if header.epoch != PathEpoch::FIRST {
            return Err(WireError::Invalid("a path's epoch on a link's own frame"));
        }
        match header.handle {
            Handle::ADD_ROUTE => Ok(Self::AddRoute(take(payload, "a route announcement")?)),
            Handle::DEL_ROUTE => {
                let withdrawal: DelRoute = take(payload, "a route withdrawal")?;
                let is = withdrawal.routes.len().max(withdrawal.outside.len());
                if is > MAX_WITHDRAWN {
                    return Err(WireError::TooLong {
                        what: "a withdrawal's list",
                        is,
                        limit: MAX_WITHDRAWN,
                    });
                }
                check_text(&withdrawal.loss.text)?;
                Ok(Self::DelRoute(withdrawal))
            }
            Handle::DETACHING if payload.is_empty() => Ok(Self::Detaching),
            handles::GOODBYE => {
                let goodbye: Goodbye = take(payload, "a goodbye")?;
                check_text(&goodbye.text)?;
                Ok(Self::Goodbye(goodbye))
            }
            handles::REPORT => Ok(Self::Report(take(payload, "a report")?)),
            handles::PAUSE => Ok(Self::Pause(take_contexts(payload, "a pause")?)),
            handles::RESUME => Ok(Self::Resume(take_contexts(payload, "a resumption")?)),
            handles::ABOVE => Ok(Self::Above(take_contexts(payload, "a line of ancestors")?)),
            handles::REVOCATIONS => Ok(Self::Revocations(take(payload, "a list of revocations")?)),
            _ => Err(WireError::Invalid("the handle of a link's own frame")),
        }
    }

    /// Appends the message as a frame.
    pub fn put(&self, out: &mut Vec<u8>) {
        let (handle, payload) = match self {
            Self::AddRoute(m) => (Handle::ADD_ROUTE, encode(m)),
            Self::DelRoute(m) => (Handle::DEL_ROUTE, encode(m)),
            Self::Detaching => (Handle::DETACHING, Vec::new()),
            Self::Goodbye(m) => (handles::GOODBYE, encode(m)),
            Self::Report(m) => (handles::REPORT, encode(m)),
            Self::Pause(m) => (handles::PAUSE, encode(m)),
            Self::Resume(m) => (handles::RESUME, encode(m)),
            Self::Above(m) => (handles::ABOVE, encode(m)),
            Self::Revocations(m) => (handles::REVOCATIONS, encode(m)),
        };
        put_frame(&Header::to(handle), &[&payload], out);
    }
}

/// Appends an opening ([`Hello`] or [`Answer`]) as a frame.
pub fn put_opening<T: Serialize>(opening: &T, out: &mut Vec<u8>) {
    put_frame(&Header::to(handles::OPEN), &[&encode(opening)], out);
}

/// Reads an opening from the first frame of the control stream.
///
/// # Errors
/// [`WireError`] when the frame is no opening or the payload does not decode.
pub fn take_opening<T: DeserializeOwned>(header: &Header, payload: &[u8]) -> Result<T, WireError> {
    if *header != Header::to(handles::OPEN) {
        return Err(WireError::Invalid("a link's first frame"));
    }
    take(payload, "an opening")
}

fn take_contexts(payload: &[u8], what: &'static str) -> Result<Contexts, WireError> {
    let contexts: Contexts = take(payload, what)?;
    let is = contexts.contexts.len();
    if is > MAX_WITHDRAWN {
        return Err(WireError::TooLong { what, is, limit: MAX_WITHDRAWN });
    }
    Ok(contexts)
}

fn check_text(text: &str) -> Result<(), WireError> {
    if text.len() > MAX_TEXT {
        return Err(WireError::TooLong { what: "a text", is: text.len(), limit: MAX_TEXT });
    }
    Ok(())
}

pub(super) fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    postcard::to_extend(value, Vec::new())
        .expect("a control message of ours has no form that postcard lacks")
}

pub(super) fn take<T: DeserializeOwned>(
    payload: &[u8],
    what: &'static str,
) -> Result<T, WireError> {
    if payload.len() > MAX_CONTROL {
        return Err(WireError::TooLong { what, is: payload.len(), limit: MAX_CONTROL });
    }
    match postcard::take_from_bytes(payload) {
        Ok((value, [])) => Ok(value),
        Ok(_) => Err(WireError::LeftOver(what)),
        Err(_) => Err(WireError::Invalid(what)),
    }
}

/// Byte vectors as one length and the bytes, instead of element by element.
mod serde_bytes_vec {
    use serde::{Deserializer, Serializer, de::Visitor};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(bytes)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<u8>, D::Error> {
        struct Bytes;
        impl Visitor<'_> for Bytes {
            type Value = Vec<u8>;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("bytes")
            }
            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Self::Value, E> {
                Ok(bytes.to_vec())
            }
        }
        deserializer.deserialize_bytes(Bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::FrameReader;

    fn announcement() -> Announcement {
        Announcement {
            context: ContextId(7),
            incarnation: Incarnation::new(1, 3),
            attachment: Attachment(2),
            parent: ContextId(1),
            certificate: vec![1; 300],
            signature: vec![2; 64],
        }
    }

    fn messages() -> Vec<LinkMessage> {
        vec![
            LinkMessage::AddRoute(AddRoute { stamp: 9, announcement: announcement() }),
            LinkMessage::DelRoute(DelRoute {
                stamp: 10,
                routes: vec![Withdrawn {
                    context: ContextId(7),
                    incarnation: Incarnation::new(1, 3),
                    attachment: Attachment(2),
                }],
                outside: Outside::Listed(vec![ContextId(12)]),
                loss: Loss::new(LossKind::ProcessExited, ContextId(7), "process exited (signal 9)"),
            }),
            LinkMessage::Detaching,
            LinkMessage::Goodbye(Goodbye { kind: LossKind::Shutdown, text: "bye".into() }),
            LinkMessage::Report(Report { taken: [1, 2, 3, u64::MAX] }),
            LinkMessage::Pause(Contexts { contexts: vec![ContextId(1), ContextId(1 << 30)] }),
            LinkMessage::Resume(Contexts { contexts: vec![ContextId(7)] }),
            LinkMessage::Above(Contexts { contexts: vec![ContextId(7), ContextId::ROOT] }),
        ]
    }

    #[test]
    fn every_message_survives_its_frame() {
        for message in messages() {
            let mut out = Vec::new();
            message.put(&mut out);
            let mut reader = FrameReader::new();
            reader.feed(out.into());
            let frame = reader.next().unwrap().unwrap();
            assert!(LinkMessage::is_for(frame.header.handle));
            assert_eq!(LinkMessage::decode(&frame.header, &frame.payload), Ok(message));
        }
    }

    #[test]
    fn cut_and_lengthened_payloads_are_errors() {
        for message in messages() {
            let mut out = Vec::new();
            message.put(&mut out);
            let mut reader = FrameReader::new();
            reader.feed(out.into());
            let frame = reader.next().unwrap().unwrap();
            for cut in 0..frame.payload.len() {
                assert!(
                    LinkMessage::decode(&frame.header, &frame.payload[..cut]).is_err(),
                    "{message:?} cut at {cut}"
                );
            }
            let longer = [&frame.payload[..], &[0]].concat();
            assert!(LinkMessage::decode(&frame.header, &longer).is_err(), "{message:?} lengthened");
        }
    }

    #[test]
    fn lists_of_contexts_are_bounded() {
        let ids = |n: usize| vec![ContextId(1); n];
        let loss = Loss::new(LossKind::Silent, ContextId(1), "");
        let withdrawn = Withdrawn {
            context: ContextId(1),
            incarnation: Incarnation::new(1, 1),
            attachment: Attachment(1),
        };
        let del = |routes: usize, outside| {
            let (routes, loss) = (vec![withdrawn; routes], loss.clone());
            LinkMessage::DelRoute(DelRoute { stamp: 1, routes, outside, loss })
        };
        let decode = |message: &LinkMessage| {
            let mut out = Vec::new();
            message.put(&mut out);
            let mut reader = FrameReader::new();
            reader.feed(out.into());
            let frame = reader.next().unwrap().unwrap();
            LinkMessage::decode(&frame.header, &frame.payload)
        };
        for n in [MAX_WITHDRAWN, MAX_WITHDRAWN + 1] {
            let messages = [
                LinkMessage::Pause(Contexts { contexts: ids(n) }),
                LinkMessage::Resume(Contexts { contexts: ids(n) }),
                LinkMessage::Above(Contexts { contexts: ids(n) }),
                del(n, Outside::None),
                del(0, Outside::Listed(ids(n))),
                del(0, Outside::AllExcept(ids(n))),
            ];
            for message in messages {
                assert_eq!(decode(&message).is_ok(), n == MAX_WITHDRAWN, "{n} of {message:?}");
            }
        }
    }

    #[test]
    fn the_longest_withdrawals_are_read() {
        let widest = ContextId(u64::MAX);
        let withdrawn = Withdrawn {
            context: widest,
            incarnation: Incarnation::new(u64::MAX, u64::MAX),
            attachment: Attachment(u64::MAX),
        };
        let routes = vec![withdrawn; MAX_WITHDRAWN];
        let outside = Outside::AllExcept(vec![widest; MAX_WITHDRAWN]);
        let loss = Loss::new(LossKind::Violation, widest, "x".repeat(MAX_TEXT));
        for (routes, outside) in [(routes, Outside::None), (Vec::new(), outside)] {
            let del = DelRoute { stamp: u64::MAX, routes, outside, loss: loss.clone() };
            let got = LinkMessage::decode(&Header::to(Handle::DEL_ROUTE), &encode(&del));
            assert_eq!(got, Ok(LinkMessage::DelRoute(del)));
        }
    }

    #[test]
    fn texts_are_bounded() {
        for len in [MAX_TEXT, MAX_TEXT + 1] {
            // Built without `Loss::new`, which cuts.
            let (kind, text) = (LossKind::Silent, "x".repeat(len));
            let loss = Loss { kind, context: ContextId(1), text: text.clone() };
            let (routes, outside) = (Vec::new(), Outside::None);
            let del = DelRoute { stamp: 1, routes, outside, loss };
            let goodbye = Goodbye { kind, text };
            let too_long = WireError::TooLong { what: "a text", is: len, limit: MAX_TEXT };
            for (handle, payload) in
                [(Handle::DEL_ROUTE, encode(&del)), (handles::GOODBYE, encode(&goodbye))]
            {
                let got = LinkMessage::decode(&Header::to(handle), &payload).err();
                assert_eq!(got, (len > MAX_TEXT).then(|| too_long.clone()), "{handle}, {len}");
            }
        }
    }

    #[test]
    fn a_control_message_is_bounded() {
        let shortest = Announcement { certificate: vec![0; MAX_CONTROL - 1000], ..announcement() };
        let of_len = |len: usize| {
            let add = |announcement| encode(&AddRoute { stamp: 9, announcement });
            let missing = len - add(shortest.clone()).len();
            let certificate = vec![0; shortest.certificate.len() + missing];
            add(Announcement { certificate, ..shortest.clone() })
        };
        let header = Header::to(Handle::ADD_ROUTE);
        let longest = of_len(MAX_CONTROL);
        assert_eq!(longest.len(), MAX_CONTROL);
        assert!(LinkMessage::decode(&header, &longest).is_ok());
        for is in [MAX_CONTROL + 1, MAX_CONTROL + 2] {
            let what = "a route announcement";
            let too_long = WireError::TooLong { what, is, limit: MAX_CONTROL };
            assert_eq!(LinkMessage::decode(&header, &of_len(is)), Err(too_long));
        }
    }

    #[test]
    fn a_loss_says_whose_link_was_lost_and_why() {
        let loss = Loss::new(LossKind::ProcessExited, ContextId(7), "process exited (signal 9)");
        assert_eq!(loss.to_string(), "context 7 lost: process exited (signal 9)");
    }

    #[test]
    fn a_certificate_that_is_no_byte_string_is_an_error_that_says_so() {
        use serde::de::{IntoDeserializer, value};
        let number: value::U8Deserializer<value::Error> = 5_u8.into_deserializer();
        let error = serde_bytes_vec::deserialize(number).unwrap_err();
        assert_eq!(error.to_string(), "invalid type: integer `5`, expected bytes");
    }

    #[test]
    fn a_links_own_frame_addressed_beyond_the_link_is_an_error() {
        let mut header = Header::to(Handle::DETACHING);
        assert_eq!(LinkMessage::decode(&header, &[]), Ok(LinkMessage::Detaching));
        header.source = Some(ContextId(4));
        assert!(LinkMessage::decode(&header, &[]).is_err());
        let header = Header::to(Handle::DETACHING).reply_to(Handle(1));
        assert!(LinkMessage::decode(&header, &[]).is_err());
        let header = Header { epoch: PathEpoch(1), ..Header::to(Handle::DETACHING) };
        assert!(LinkMessage::decode(&header, &[]).is_err());
    }

    #[test]
    fn an_earlier_life_is_before_a_later_one_and_within_a_life_the_attachment_decides() {
        let word = |life, attachment| Announcement {
            incarnation: Incarnation::new(1, life),
            attachment: Attachment(attachment),
            ..announcement()
        };
        let now = word(3, 2);
        for (life, attachment, is_before) in
            [(3, 1, true), (3, 2, false), (3, 3, false), (2, 9, true), (4, 0, false)]
        {
            assert_eq!(word(life, attachment).is_before(&now), is_before, "{life}, {attachment}");
        }
    }

    #[test]
    fn a_claim_covers_each_field() {
        let base = announcement();
        let variants = [
            Announcement { context: ContextId(8), ..base.clone() },
            Announcement { incarnation: Incarnation::new(2, 3), ..base.clone() },
            Announcement { incarnation: Incarnation::new(1, 4), ..base.clone() },
            Announcement { attachment: Attachment(3), ..base.clone() },
            Announcement { parent: ContextId(2), ..base.clone() },
        ];
        for variant in variants {
            assert_ne!(variant.claim(), base.claim());
        }
    }
}
