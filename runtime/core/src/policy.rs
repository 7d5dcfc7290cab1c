//! Who may do what: plain predicates over a message's origin and the receiver's family.
//!
//! A policy sees the source and the authority of a message, both already proved to belong behind the link that the message came
//! in by ([`crate::route::judge`]). A refusal is an answer, never silence (architecture.md, identity and authority).

use std::{fmt, sync::Arc};

use crate::{id::ContextId, wire::Kind};

/// Where a message comes from, as far as this context has checked it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The context that sent it.
    pub source: ContextId,
    /// The context on whose authority it acts; the source itself unless somebody speaks for another.
    pub authority: ContextId,
    /// The neighbour that brought it; `None` for what was sent in this context.
    pub neighbour: Option<Neighbour>,
}

impl Origin {
    /// The origin of what this context sends to itself.
    pub const fn own(me: ContextId) -> Self {
        Self { source: me, authority: me, neighbour: None }
    }
}

/// The other end of the link that brought a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// Who it is.
    pub context: ContextId,
    /// How it stands to this context.
    pub side: Side,
}

/// How a link's peer stands to this context.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// The peer is the parent.
    Parent,
    /// The peer is a child.
    Child,
    /// The peer stands anywhere in the mesh: the link is beside the tree, and speaks for nobody but the peer (protocol rule 8).
    Direct,
}

/// The receiver and those above it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Family {
    /// The receiver.
    pub me: ContextId,
    /// Its ancestors, nearest first; empty for the root.
    pub ancestors: Vec<ContextId>,
}

type Predicate = dyn Fn(&Origin, &Family) -> bool + Send + Sync;

/// A rule for one mailbox.
#[derive(Clone)]
#[non_exhaustive]
pub enum Policy {
    /// Whoever holds the address: the default, since an address is a capability.
    Anyone,
    /// This context itself, or an ancestor on whose authority the message acts.
    ParentAuthority,
    /// A child of this context that speaks for itself, over its own link.
    ImmediateChild,
    /// This context itself.
    OnlySelf,
    /// The author's own rule and its name.
    Custom(&'static str, Arc<Predicate>),
}

impl Policy {
    /// A rule of the author's own; `name` stands in refusals.
    pub fn custom(
        name: &'static str,
        rule: impl Fn(&Origin, &Family) -> bool + Send + Sync + 'static,
    ) -> Self {
        Self::Custom(name, Arc::new(rule))
    }

    /// The rule's name, as refusals give it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Anyone => "anyone",
            Self::ParentAuthority => "has_parent_authority",
            Self::ImmediateChild => "is_immediate_child",
            Self::OnlySelf => "is_self",
            Self::Custom(name, _) => name,
        }
    }

    /// Decides.
    ///
    /// # Errors
    /// [`Refusal`], with the rule's name and the origin that it refused.
    pub fn check(&self, origin: &Origin, family: &Family) -> Result<(), Refusal> {
        let holds = match self {
            Self::Anyone => true,
            Self::ParentAuthority => has_parent_authority(origin, family),
            Self::ImmediateChild => is_immediate_child(origin),
            Self::OnlySelf => is_self(origin, family),
            Self::Custom(_, rule) => rule(origin, family),
        };
        if holds {
            Ok(())
        } else {
            Err(Refusal { policy: self.name(), origin: *origin, by: family.me })
        }
    }
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Policy({})", self.name())
    }
}

/// Whether the message acts on the authority of the receiver itself or of one of its ancestors.
pub fn has_parent_authority(origin: &Origin, family: &Family) -> bool {
    origin.authority == family.me || family.ancestors.contains(&origin.authority)
}

/// Whether a child of the receiver sent it, over its own link and on its own authority.
pub fn is_immediate_child(origin: &Origin) -> bool {
    origin.neighbour.is_some_and(|neighbour| {
        neighbour.side == Side::Child
            && neighbour.context == origin.source
            && origin.authority == origin.source
    })
}

/// Whether the receiver sent it to itself.
pub fn is_self(origin: &Origin, family: &Family) -> bool {
    origin.neighbour.is_none() && origin.source == family.me && origin.authority == family.me
}

/// Whether one-way mode keeps a frame from going on: a message that one child's link brings for another's. What goes up, what comes
/// from above and every answer pass (parity row M8; Mitogen's `unidirectional`).
pub fn is_one_way(from: Side, to: Side, kind: Kind) -> bool {
    kind == Kind::Message && from == Side::Child && to == Side::Child
}

/// A policy has refused a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{by} refuses {} (authority {}): the policy `{policy}` does not hold", .origin.source, .origin.authority)]
pub struct Refusal {
    /// The rule's name.
    pub policy: &'static str,
    /// Whom it refused.
    pub origin: Origin,
    /// The context that refused.
    pub by: ContextId,
}

#[cfg(test)]
mod tests {
    use super::*;

    const ME: ContextId = ContextId(5);

    fn family() -> Family {
        Family { me: ME, ancestors: vec![ContextId(2), ContextId::ROOT] }
    }

    fn from(source: u64, authority: u64, neighbour: Option<(u64, Side)>) -> Origin {
        Origin {
            source: ContextId(source),
            authority: ContextId(authority),
            neighbour: neighbour
                .map(|(context, side)| Neighbour { context: ContextId(context), side }),
        }
    }

    #[test]
    fn m08_policy_truth_tables() {
        // origin, then: anyone, has_parent_authority, is_immediate_child, is_self
        let rows = [
            (from(5, 5, None), [true, true, false, true]),
            (from(2, 2, Some((2, Side::Parent))), [true, true, false, false]),
            (from(0, 0, Some((2, Side::Parent))), [true, true, false, false]),
            (from(9, 0, Some((2, Side::Parent))), [true, true, false, false]),
            (from(9, 9, Some((2, Side::Parent))), [true, false, false, false]),
            (from(7, 7, Some((7, Side::Child))), [true, false, true, false]),
            (from(7, 8, Some((7, Side::Child))), [true, false, false, false]),
            (from(8, 8, Some((7, Side::Child))), [true, false, false, false]),
            (from(2, 9, Some((2, Side::Parent))), [true, false, false, false]),
            (from(7, 7, Some((7, Side::Parent))), [true, false, false, false]),
            (from(5, 5, Some((7, Side::Child))), [true, true, false, false]),
            (from(5, 7, None), [true, false, false, false]),
            (from(7, 5, None), [true, true, false, false]),
            (from(7, 7, Some((7, Side::Direct))), [true, false, false, false]),
            (from(0, 0, Some((0, Side::Direct))), [true, true, false, false]),
        ];
        let policies =
            [Policy::Anyone, Policy::ParentAuthority, Policy::ImmediateChild, Policy::OnlySelf];
        for (origin, expected) in rows {
            let got = policies.each_ref().map(|policy| policy.check(&origin, &family()).is_ok());
            assert_eq!(got, expected, "{origin:?}");
        }
    }

    #[test]
    fn m08_one_way_mode_keeps_messages_between_children_alone() {
        use Side::{Child, Parent};
        for kind in [Kind::Message, Kind::Reply, Kind::Failed, Kind::Dead] {
            for (from, to) in [(Parent, Child), (Child, Parent), (Child, Child)] {
                let kept = kind == Kind::Message && (from, to) == (Child, Child);
                assert_eq!(is_one_way(from, to, kind), kept, "{kind:?} {from:?} {to:?}");
            }
        }
    }

    #[test]
    fn m08_a_custom_policy_decides_and_is_named_in_the_refusal() {
        let even = Policy::custom("even_sources", |origin, _| origin.source.0.is_multiple_of(2));
        assert!(even.check(&from(4, 4, None), &family()).is_ok());
        assert_eq!(format!("{even:?}"), "Policy(even_sources)");
        let refusal = even.check(&from(7, 7, None), &family()).unwrap_err();
        let text = refusal.to_string();
        assert!(
            text.contains("context 5 refuses context 7") && text.contains("even_sources"),
            "{text}"
        );
    }
}
