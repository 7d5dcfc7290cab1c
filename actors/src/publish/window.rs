//! What a consumer remembers of messages that it is done with, so that it does not handle one twice.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
};

use actogen_runtime::core::ContextId;

use super::message::MessageId;

/// Which message: ids are the publisher's own, so that nobody can use up another's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub struct WindowKey {
    /// Who published it, by its signature.
    pub publisher: ContextId,
    /// Its id.
    pub id: MessageId,
}

impl WindowKey {
    /// The message that this context has published under this id.
    pub const fn new(publisher: ContextId, id: MessageId) -> Self {
        Self { publisher, id }
    }
}

/// What became of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Remembered {
    /// A hash of what it said: another message under the same id is no duplicate.
    pub content: [u8; 32],
    /// Why it was rejected; `None` for one that was handled.
    pub rejected: Option<String>,
}

impl Remembered {
    /// What was kept of a message, such as in a store.
    pub const fn new(content: [u8; 32], rejected: Option<String>) -> Self {
        Self { content, rejected }
    }
}

/// Where a consumer remembers what it is done with. Within its bounds a message that comes again is acknowledged again and not handled;
/// one that it has forgotten is handled again.
///
/// The window in memory is forgotten with the consumer's context. One over a store, such as that of a journaled actor, is not: what it has
/// remembered must be durable when [`Self::remember`] returns, since it is acknowledged then.
pub trait Window: Send + 'static {
    /// What became of a message, as far as that is remembered.
    fn recall(&self, key: &WindowKey) -> Option<Remembered>;

    /// Remembers what became of a message.
    ///
    /// # Errors
    /// Says why that cannot be: the message is not acknowledged then.
    fn remember(&mut self, key: WindowKey, what: Remembered) -> Result<(), String>;
}

/// A window in memory: bounded in number and in bytes, the oldest are forgotten first.
pub struct MemoryWindow {
    most: usize,
    most_bytes: usize,
    bytes: usize,
    known: HashMap<WindowKey, Remembered>,
    order: VecDeque<WindowKey>,
}

/// What one message counts beside the reason of its rejection.
const OVERHEAD: usize = 160;

impl MemoryWindow {
    /// A window of so many messages, and of so many bytes; at least one message.
    pub fn new(messages: usize, bytes: usize) -> Self {
        Self {
            most: messages.max(1),
            most_bytes: bytes,
            bytes: 0,
            known: HashMap::new(),
            order: VecDeque::new(),
        }
    }

    fn charge(what: &Remembered) -> usize {
        OVERHEAD + what.rejected.as_ref().map_or(0, String::len)
    }
}

impl Default for MemoryWindow {
    /// 65,536 messages, 16 MiB.
    fn default() -> Self {
        Self::new(65_536, 16 * 1024 * 1024)
    }
}

impl fmt::Debug for MemoryWindow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MemoryWindow({} messages, {} bytes)", self.known.len(), self.bytes)
    }
}

impl Window for MemoryWindow {
    fn recall(&self, key: &WindowKey) -> Option<Remembered> {
        self.known.get(key).cloned()
    }

    fn remember(&mut self, key: WindowKey, what: Remembered) -> Result<(), String> {
        self.bytes += Self::charge(&what);
        match self.known.insert(key, what) {
            Some(before) => self.bytes -= Self::charge(&before),
            None => self.order.push_back(key),
        }
        while self.known.len() > 1 && (self.known.len() > self.most || self.bytes > self.most_bytes)
        {
            let oldest = self.order.pop_front();
            let Some(gone) = oldest.and_then(|oldest| self.known.remove(&oldest)) else { break };
            self.bytes -= Self::charge(&gone);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_forgets_the_oldest_and_keeps_its_bounds() {
        let mut window = MemoryWindow::new(3, 3 * OVERHEAD + 10);
        let key = |id| WindowKey::new(ContextId(1), MessageId::new(id));
        let what = |rejected: Option<&str>| Remembered::new([0; 32], rejected.map(Into::into));
        for id in 0..4 {
            window.remember(key(id), what(None)).unwrap();
        }
        assert_eq!((window.recall(&key(0)), window.recall(&key(1))), (None, Some(what(None))));
        window.remember(key(4), what(Some("a reason that is long"))).unwrap();
        assert_eq!(window.known.len(), 2, "bytes are bounded too");
        window.remember(key(4), what(None)).unwrap();
        assert_eq!(window.bytes, 2 * OVERHEAD);
        assert_eq!(window.known.len(), window.order.len());
    }
}
