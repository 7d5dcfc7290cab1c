//! Values that have come and wait, and who waits for them.

use std::collections::VecDeque;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::{ReceiveError, select::Bell};

/// Values of one channel that wait decoded; what comes behind them waits in the mailbox, within its bounds in bytes.
pub const CHANNEL_QUEUE: usize = 32;

/// What waits in a channel, and its end.
pub(super) struct Queue<T> {
    state: Mutex<State<T>>,
    /// Something has come, or the end.
    came: Notify,
    /// There is room again, or the end.
    room: Notify,
    over: Notify,
}

struct State<T> {
    values: VecDeque<T>,
    end: Option<ReceiveError>,
    /// Rung once for each value, and once for the end.
    bell: Option<Bell>,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        let state = State { values: VecDeque::new(), end: None, bell: None };
        Self {
            state: Mutex::new(state),
            came: Notify::new(),
            room: Notify::new(),
            over: Notify::new(),
        }
    }
}

impl<T> Queue<T> {
    /// Takes a value in; false when the next one must wait. What comes behind the end is nobody's.
    pub(super) fn push(&self, value: T) -> bool {
        let mut state = self.state.lock();
        if state.end.is_some() {
            return true;
        }
        state.values.push_back(value);
        if let Some(bell) = &state.bell {
            bell.ring();
        }
        self.came.notify_one();
        state.values.len() < CHANNEL_QUEUE
    }

    /// Ends the channel behind what has come; the first end stands.
    pub(super) fn end(&self, why: ReceiveError) {
        let mut state = self.state.lock();
        if state.end.is_none() {
            state.end = Some(why);
            if let Some(bell) = &state.bell {
                bell.ring();
            }
        }
        drop(state);
        self.wake_all();
    }

    /// Ends the channel before what has come.
    pub(super) fn close(&self) {
        self.state.lock().values.clear();
        self.end(ReceiveError::Closed);
    }

    fn wake_all(&self) {
        self.came.notify_waiters();
        self.room.notify_waiters();
        self.over.notify_waiters();
    }

    /// What is there: a value, or the end.
    pub(super) fn take(&self) -> Option<Result<T, ReceiveError>> {
        let mut state = self.state.lock();
        let Some(value) = state.values.pop_front() else {
            return state.end.clone().map(Err);
        };
        if state.values.len() == CHANNEL_QUEUE / 2 {
            self.room.notify_waiters();
        }
        Some(Ok(value))
    }

    /// Waits for a value, or the end.
    pub(super) async fn next(&self) -> Result<T, ReceiveError> {
        loop {
            let mut came = std::pin::pin!(self.came.notified());
            // From here on nothing that comes is missed.
            came.as_mut().enable();
            if let Some(taken) = self.take() {
                if self.len() > 0 {
                    self.came.notify_one();
                }
                return taken;
            }
            came.await;
        }
    }

    /// Waits until half of the room is free, or nothing more comes.
    pub(super) async fn room(&self) {
        loop {
            let mut room = std::pin::pin!(self.room.notified());
            room.as_mut().enable();
            if self.has_room() {
                return;
            }
            room.await;
        }
    }

    fn has_room(&self) -> bool {
        let state = self.state.lock();
        state.end.is_some() || state.values.len() <= CHANNEL_QUEUE / 2
    }

    /// Waits for the end.
    pub(super) async fn ended(&self) {
        let mut over = std::pin::pin!(self.over.notified());
        over.as_mut().enable();
        if self.state.lock().end.is_none() {
            over.await;
        }
    }

    pub(super) fn len(&self) -> usize {
        self.state.lock().values.len()
    }

    /// Has a bell rung for what has come, in its order, and for what comes from now on.
    pub(super) fn hang(&self, bell: Bell) {
        let mut state = self.state.lock();
        for _ in 0..state.values.len() + usize::from(state.end.is_some()) {
            bell.ring();
        }
        state.bell = Some(bell);
    }

    /// Takes the bell down.
    pub(super) fn unhang(&self) {
        self.state.lock().bell = None;
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn values_come_in_their_order_and_then_the_end() {
        let queue = Queue::default();
        assert!(queue.push(1) && queue.push(2));
        queue.end(ReceiveError::Closed);
        assert!(queue.push(3), "what comes behind the end waits for nobody");
        assert_eq!(queue.next().now_or_never(), Some(Ok(1)));
        assert_eq!(queue.next().now_or_never(), Some(Ok(2)));
        for _ in 0..2 {
            assert_eq!(queue.next().now_or_never(), Some(Err(ReceiveError::Closed)));
        }
    }

    #[test]
    fn m14_close_wakes_every_waiter() {
        let queue = Queue::<u8>::default();
        let mut waiting: Vec<_> = (0..3).map(|_| Box::pin(queue.next())).collect();
        for waiter in &mut waiting {
            assert_eq!(waiter.as_mut().now_or_never(), None);
        }
        queue.close();
        for waiter in waiting {
            assert_eq!(waiter.now_or_never(), Some(Err(ReceiveError::Closed)));
        }
    }

    #[test]
    fn each_waiter_gets_another_value() {
        let queue = Queue::default();
        let (mut first, mut second) = (Box::pin(queue.next()), Box::pin(queue.next()));
        assert_eq!((first.as_mut().now_or_never(), second.as_mut().now_or_never()), (None, None));
        queue.push('a');
        queue.push('b');
        let both = [first.now_or_never(), second.now_or_never()];
        assert_eq!(both, [Some(Ok('a')), Some(Ok('b'))]);
    }

    #[test]
    fn a_full_queue_has_room_again_when_half_is_taken() {
        let queue = Queue::default();
        for n in 0..CHANNEL_QUEUE {
            assert_eq!(queue.push(n), n + 1 < CHANNEL_QUEUE);
        }
        let mut room = Box::pin(queue.room());
        for _ in 0..CHANNEL_QUEUE / 2 {
            assert_eq!(room.as_mut().now_or_never(), None);
            assert!(queue.take().unwrap().is_ok());
        }
        assert_eq!(room.now_or_never(), Some(()));
    }
}
