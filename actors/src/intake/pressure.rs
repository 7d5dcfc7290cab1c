//! How an intake that fills up holds its senders back: others are asked to pause, those of the same context wait for room.

use std::sync::{
    Arc, Weak,
    atomic::{Ordering, fence},
};

use actogen_runtime::{
    core::{
        ContextId, Handle,
        flow::{Pressure, RENEW},
    },
    mailbox::{Mailbox, StopReason},
};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::{Intake, Load, outliving::Kept};

/// Senders are asked to pause when the mailbox is over one part in this of its bounds.
pub(super) const PAUSE_MARK: usize = 3;

/// They may go on when it is under one part in this.
const RESUME_MARK: usize = 6;

/// What an intake needs when it fills up, which most never do, or when its actor ends.
#[derive(Debug, Default)]
pub(super) struct Rare {
    asked: Mutex<Asked>,
    room: Notify,
    /// Why the actor ends, once somebody knows.
    pub(super) reason: Mutex<Option<StopReason>>,
    /// That of a mailbox which outlives its actor.
    pub(super) kept: Mutex<Option<Kept>>,
}

/// Who has been asked to pause.
#[derive(Debug, Default)]
struct Asked {
    pressure: Pressure,
    /// A task renews the pauses.
    renewing: bool,
}

impl Intake {
    /// Messages have been handed to their handlers, or given up: their room is free.
    #[inline]
    pub(crate) fn release(&self, gone: Load) {
        self.held.release(gone);
        // Against the fences of those who begin to wait: one of both sees what the other did.
        fence(Ordering::SeqCst);
        // Whoever waits is let on when much has drained, not for each message.
        if self.pressed.load(Ordering::Acquire) && !self.is_over(RESUME_MARK) {
            self.ease();
        }
    }

    pub(super) fn rare(&self) -> Arc<Rare> {
        self.queue.lock().rare.get_or_insert_default().clone()
    }

    /// Lets on whoever waits, here and elsewhere.
    #[cold]
    pub(super) fn ease(&self) {
        // Whoever waits has made it before he looked for room.
        let Some(rare) = self.queue.lock().rare.clone() else { return };
        let mut asked = rare.asked.lock();
        self.pressed.store(false, Ordering::Release);
        let eased = asked.pressure.ease();
        if let Some(handle) = self.handle() {
            // Under the lock, as all words to senders: a renewal that is on its way must not come behind this one.
            for sender in eased {
                self.context.ask_to_resume(sender, handle);
            }
        }
        drop(asked);
        rare.room.notify_waiters();
    }

    /// Whether the mailbox is fuller than one part in `mark` of its bounds.
    #[inline]
    pub(super) fn is_over(&self, mark: usize) -> bool {
        let (limits, load) = (self.context.limits(), self.held.load());
        load.messages * mark >= limits.mailbox_messages || load.bytes * mark >= limits.mailbox_bytes
    }

    /// Asks a context that sends too fast to pause, as long as the mailbox is over its mark.
    pub(super) fn press(&self, source: ContextId) {
        let Some(handle) = self.handle() else { return };
        {
            let rare = self.rare();
            let mut asked = rare.asked.lock();
            self.pressed.store(true, Ordering::Release);
            if source != self.context.id() && asked.pressure.press(source) {
                self.context.ask_to_pause(source, handle);
                if !std::mem::replace(&mut asked.renewing, true) {
                    self.renew_pauses(handle);
                }
            }
        }
        fence(Ordering::SeqCst);
        // The actor may have handled all of it meanwhile, and found nobody to let on.
        if !self.is_over(RESUME_MARK) {
            self.ease();
        }
    }

    /// Renews the pauses for as long as the mailbox keeps them: their leases would end by themselves.
    fn renew_pauses(&self, handle: Handle) {
        let (context, mailbox) = (self.context.clone(), self.context.mailbox(handle));
        let mailbox: Weak<dyn Mailbox> = match &mailbox {
            Some(mailbox) => Arc::downgrade(mailbox),
            // It has ended this moment, and eases whoever was pressed.
            None => return,
        };
        self.context.spawn(async move {
            loop {
                tokio::time::sleep(RENEW).await;
                let Some(mailbox) = mailbox.upgrade() else { return };
                let mailbox: &dyn std::any::Any = &*mailbox;
                let Some(intake) = mailbox.downcast_ref::<Self>() else { return };
                let rare = intake.rare();
                let mut asked = rare.asked.lock();
                asked.renewing = asked.pressure.is_on();
                for sender in asked.pressure.told() {
                    context.ask_to_pause(sender, handle);
                }
                if !asked.renewing {
                    return;
                }
            }
        });
    }

    pub(super) fn takes_more(&self) -> bool {
        !self.is_over(PAUSE_MARK) || self.queue.lock().closed
    }

    pub(super) async fn wait_for_room(&self) {
        let rare = self.rare();
        loop {
            let room = rare.room.notified();
            tokio::pin!(room);
            room.as_mut().enable();
            self.pressed.store(true, Ordering::Release);
            fence(Ordering::SeqCst);
            if self.takes_more() {
                return;
            }
            room.await;
        }
    }
}
