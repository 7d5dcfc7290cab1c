//! A buffer for each thread in which messages and answers are encoded before they are copied to where they go (protocol rule 20).
//!
//! An author's `serialize` may panic, or send another message: nothing is locked and nothing half written while it runs. The buffer
//! holds nothing between two uses; that makes it no state that contexts could share.

use std::cell::RefCell;

/// A buffer that has grown beyond this for one long message is given back, in bytes.
const KEPT: usize = 64 * 1024;

thread_local! {
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Lends an empty buffer. A use within another one gets a buffer of its own.
#[inline(always)]
pub(crate) fn with<T>(fill: impl FnOnce(&mut Vec<u8>) -> T) -> T {
    // At the end of a thread the buffer may be gone already.
    if BUFFER.try_with(|_| ()).is_err() {
        return fill(&mut Vec::new());
    }
    BUFFER.with(|buffer| {
        // It is lent where it lies: to move it out and back costs more than to fill it with a small message does.
        let Ok(mut buffer) = buffer.try_borrow_mut() else { return fill(&mut Vec::new()) };
        buffer.clear();
        let outcome = fill(&mut buffer);
        if buffer.capacity() > KEPT {
            *buffer = Vec::new();
        }
        outcome
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_use_within_another_finds_an_empty_buffer_and_disturbs_nothing() {
        with(|outer| {
            outer.extend(b"outer");
            with(|inner| {
                assert!(inner.is_empty());
                inner.extend(b"inner");
            });
            assert_eq!(outer, b"outer");
        });
        with(|next| assert!(next.is_empty() && next.capacity() > 0));
    }

    #[test]
    fn a_long_message_leaves_no_long_buffer_behind() {
        with(|buffer| buffer.reserve(2 * KEPT));
        with(|buffer| assert!(buffer.capacity() <= KEPT));
    }
}
