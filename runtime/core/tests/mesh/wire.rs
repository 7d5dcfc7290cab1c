//! A link between two contexts: five queues of frames each way, each of which moves at its own pace.

use std::collections::VecDeque;

use actogen_core::{
    id::{ContextId, LinkId, StreamId},
    wire::control::Loss,
};

/// A frame under way, in its wire form, with what the test knows about it.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    pub(crate) bytes: Vec<u8>,
    /// The letter that it carries; `None` for a link's own message.
    pub(crate) letter: Option<usize>,
    /// Set when a malicious context made it up.
    pub(crate) lie: Option<Lie>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Lie {
    /// What it is, for the failure's text.
    pub(crate) what: &'static str,
    /// In whose name, or against whom. It is no lie if its reader takes that context to be where the liar could speak for it.
    pub(crate) about: ContextId,
    /// How often the tree had changed by then.
    pub(crate) structure: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Up,
    /// Broken: what is left in the queues is still read, then the link is down, by the event of this number.
    Dying(Loss, usize),
    Down,
}

/// One end of a wire, with what comes in there.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) context: ContextId,
    pub(crate) link: LinkId,
    pub(crate) phase: Phase,
    pub(crate) inbound: [VecDeque<Item>; StreamId::COUNT],
    pub(crate) stalled: [bool; StreamId::COUNT],
    /// Set while what a stream has brought waits for the router, and the stream with it.
    pub(crate) held: [bool; StreamId::COUNT],
}

impl End {
    pub(crate) fn new(context: ContextId, link: LinkId) -> Self {
        let inbound = std::array::from_fn(|_| VecDeque::new());
        Self {
            context,
            link,
            phase: Phase::Up,
            inbound,
            stalled: [false; StreamId::COUNT],
            held: [false; StreamId::COUNT],
        }
    }

    pub(crate) fn is_drained(&self) -> bool {
        self.inbound.iter().all(VecDeque::is_empty)
    }
}

/// The two ends: the child's first.
#[derive(Debug)]
pub(crate) struct Wire {
    pub(crate) ends: [End; 2],
    /// What is written now is lost.
    pub(crate) broken: bool,
    /// A malicious context has used stamps of its own on it.
    pub(crate) tainted: bool,
}

impl Wire {
    pub(crate) const CHILD: usize = 0;
    pub(crate) const PARENT: usize = 1;

    pub(crate) fn is_up(&self) -> bool {
        !self.broken && self.ends.iter().all(|end| end.phase == Phase::Up)
    }
}
