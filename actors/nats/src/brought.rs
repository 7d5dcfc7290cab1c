//! What the bridge has brought into the mesh lately: it does not go out again, and does not come in twice.

use std::collections::{HashMap, VecDeque};

use actogen::MessageId;

use crate::headers::Origin;

/// So many messages are known.
const MOST: usize = 65_536;

/// The origins of so many are kept, the latest,
const MOST_ORIGINS: usize = 1024;

/// up to this many bytes.
const MOST_ORIGIN_BYTES: usize = 4 * 1024 * 1024;

#[derive(Debug)]
pub(crate) struct Brought {
    most: usize,
    /// Whether the mesh has it.
    known: HashMap<MessageId, bool>,
    order: VecDeque<MessageId>,
    origins: VecDeque<(MessageId, Origin)>,
    origin_bytes: usize,
}

impl Default for Brought {
    fn default() -> Self {
        Self::new(MOST)
    }
}

impl Brought {
    fn new(most: usize) -> Self {
        Self {
            most,
            known: HashMap::new(),
            order: VecDeque::new(),
            origins: VecDeque::new(),
            origin_bytes: 0,
        }
    }

    /// Notes a message, and where it is from, before it is published: whoever gets it may ask. False when the mesh has it already.
    pub(crate) fn begin(&mut self, id: MessageId, origin: Option<&Origin>) -> bool {
        if let Some(has) = self.known.get(&id) {
            return !has;
        }
        self.known.insert(id, false);
        self.order.push_back(id);
        if self.order.len() > self.most
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        if let Some(origin) = origin {
            self.keep(id, origin.clone());
        }
        true
    }

    fn keep(&mut self, id: MessageId, origin: Origin) {
        self.origin_bytes += origin.charge();
        self.origins.push_back((id, origin));
        while self.origins.len() > MOST_ORIGINS
            || (self.origins.len() > 1 && self.origin_bytes > MOST_ORIGIN_BYTES)
        {
            let Some((_, oldest)) = self.origins.pop_front() else { break };
            self.origin_bytes -= oldest.charge();
        }
    }

    /// The mesh has it now, or never will.
    pub(crate) fn done(&mut self, id: MessageId) {
        if let Some(has) = self.known.get_mut(&id) {
            *has = true;
        }
    }

    /// Whether the bridge has published it in the mesh, or is about to.
    pub(crate) fn has(&self, id: MessageId) -> bool {
        self.known.contains_key(&id)
    }

    pub(crate) fn origin(&self, id: MessageId) -> Option<&Origin> {
        self.origins.iter().rev().find(|(of, _)| *of == id).map(|(_, origin)| origin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_mesh_has_comes_in_once_and_the_oldest_are_forgotten() {
        let mut brought = Brought::new(2);
        let id = MessageId::new;
        assert!(brought.begin(id(1), None));
        assert!(brought.begin(id(1), None), "it has failed, and comes again");
        brought.done(id(1));
        assert!(!brought.begin(id(1), None));
        assert!(brought.begin(id(2), None) && brought.begin(id(3), None));
        assert!(!brought.has(id(1)) && brought.has(id(2)) && brought.has(id(3)));
        assert_eq!((brought.known.len(), brought.order.len()), (2, 2));
    }
}
