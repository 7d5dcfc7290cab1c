//! What a peer did that it may not. Each is refused, counted by kind, and logged with the offender (parity rows M3 and M7).

use std::fmt;

use crate::id::ContextId;

/// The kinds of offence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum OffenceKind {
    /// A source that does not belong behind the link.
    BadSource,
    /// An authority that does not belong behind the link.
    BadAuthority,
    /// A withdrawal of a route that the link does not hold.
    ForgedWithdrawal,
    /// An announcement whose signature or certificate does not hold.
    BadSignature,
    /// An announcement whose parent is not behind the link, or of a context that cannot be there.
    Misplaced,
    /// An announcement of a life or attachment that is over.
    OldAnnouncement,
    /// A copy of a route message that cannot be: repeated, or of another content.
    BadCopy,
    /// More routes, or more route messages under way, than the limits allow.
    Quota,
    /// An answer from a context that was not asked.
    StrangersAnswer,
    /// Bytes that are no frame, or a control message that does not decode.
    Malformed,
    /// A source or authority that was behind the link last and has left it: honest when the frame was under way meanwhile, and
    /// refused all the same, since newer ones may come by the new way already.
    OldWay,
    /// A frame for somebody else by a direct link, which is never a way to others.
    Transit,
    /// A frame of a path that has broken, behind newer ones that have come by another: honest, and dropped to keep the order.
    OldPath,
}

impl OffenceKind {
    /// How many kinds there are: counters are arrays of this length.
    pub const COUNT: usize = 13;
}

impl fmt::Display for OffenceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BadSource => "a source that does not belong behind the link",
            Self::BadAuthority => "an authority that does not belong behind the link",
            Self::ForgedWithdrawal => "a withdrawal of a route that the link does not hold",
            Self::BadSignature => "an announcement whose signature does not hold",
            Self::Misplaced => "an announcement that cannot come from there",
            Self::OldAnnouncement => "an announcement of an attachment that is over",
            Self::BadCopy => "a route message that repeats or contradicts another",
            Self::Quota => "more routes than the limits allow",
            Self::StrangersAnswer => "an answer from a context that was not asked",
            Self::Malformed => "bytes that are no frame",
            Self::OldWay => "a source that has left by another way",
            Self::Transit => "a frame by a direct link for somebody else",
            Self::OldPath => "a frame of a path that has broken",
        })
    }
}

/// An offence with the neighbour that brought it and the context it concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offence {
    /// What was done.
    pub kind: OffenceKind,
    /// The neighbour that did it or let it pass.
    pub offender: ContextId,
    /// The context in whose name, or against whom.
    pub about: ContextId,
}

impl fmt::Display for Offence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, offender, about } = self;
        write!(f, "{offender} brought {kind} ({about})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_kind_has_a_counter_and_a_text_of_its_own() {
        let kinds: [OffenceKind; OffenceKind::COUNT] = [
            OffenceKind::BadSource,
            OffenceKind::BadAuthority,
            OffenceKind::ForgedWithdrawal,
            OffenceKind::BadSignature,
            OffenceKind::Misplaced,
            OffenceKind::OldAnnouncement,
            OffenceKind::BadCopy,
            OffenceKind::Quota,
            OffenceKind::StrangersAnswer,
            OffenceKind::Malformed,
            OffenceKind::OldWay,
            OffenceKind::Transit,
            OffenceKind::OldPath,
        ];
        assert_eq!(kinds.map(|kind| kind as usize), std::array::from_fn(|counter| counter));
        let texts: BTreeSet<_> = kinds.iter().map(ToString::to_string).collect();
        assert_eq!(texts.len(), OffenceKind::COUNT);
    }

    #[test]
    fn m03_m07_an_offence_says_who_brought_what_and_about_whom() {
        let offence = Offence {
            kind: OffenceKind::ForgedWithdrawal,
            offender: ContextId(7),
            about: ContextId(9),
        };
        assert_eq!(
            offence.to_string(),
            "context 7 brought a withdrawal of a route that the link does not hold (context 9)"
        );
    }
}
