//! Watching mailboxes, near and far: calls that are answered when the watched ends.

use std::{
    future::Future,
    pin::Pin,
    task::{self, Poll},
};

use actogen_core::{
    Address, ContextId, Dead, Handle,
    wire::{Header, Kind},
};

use crate::{
    call::Call,
    context::Context,
    direct::Load,
    envelope::Outcome,
    lane::Class,
    mailbox::{StopReason, Watcher},
    send::PostError,
    way::Way,
};

/// Stands behind a request to watch that may have been made before.
pub(crate) const AGAIN: u8 = 1;

impl Context {
    /// Watches a mailbox: the notice says why it ended, or that its context was lost. `serves` as in [`Self::begin_call`].
    pub fn watch(&self, target: Address, serves: Option<Handle>) -> Watch {
        let call = match self.begin_wait(target, serves, Some(target.handle)) {
            Ok(call) => call,
            Err(dead) => return Watch { call: Err(Some(dead)), target },
        };
        let watcher = Watcher { context: self.id(), handle: call.handle };
        let request = Address { handle: Handle::WATCH, ..target };
        match self.way(request) {
            Ok(Way::Here(_)) => self.watch_local(target.handle, watcher),
            Ok(Way::Away(way)) => {
                let body = target.handle.0.to_le_bytes();
                if let Err(PostError::Dead(dead)) = self.post_own(&way, &body, Some(call.handle)) {
                    return Watch { call: Err(Some(dead)), target };
                }
            }
            Err(dead) => return Watch { call: Err(Some(dead)), target },
        }
        Watch { call: Ok(call), target }
    }

    /// Asks the watches on a context again, under the same handles: a notice may have been lost with a way to it.
    pub(crate) fn ask_again(&self, context: ContextId) {
        let pending = self.0.pending.lock();
        let watches = pending.watches(context, |waiter| waiter.watches.is_some());
        let asked = watches.into_iter().filter_map(|reply| {
            let watched = pending.get(reply).and_then(|waiter| waiter.watches)?;
            Some((reply, watched))
        });
        let asked: Vec<_> = asked.collect();
        drop(pending);
        for (reply, watched) in asked {
            let (tag, watched) = (0_u64.to_le_bytes(), watched.0.to_le_bytes());
            let load = Load::Parts(&[&tag, &watched, &[AGAIN]]);
            let header = Header::to(Handle::WATCH).reply_to(reply);
            if self.emit(context, None, header, load, Class::Notice).is_err() {
                self.0.counters.dropped_notices.add(1);
            }
        }
    }

    pub(crate) fn notify_watcher(&self, watcher: Watcher, reason: &StopReason) {
        let payload = postcard::to_extend(reason, Vec::new())
            .expect("a reason of ours has no form that postcard lacks");
        self.answer(watcher.context, watcher.handle, Kind::Reply, &payload);
    }
}

/// How a watch ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ended {
    /// The mailbox ended, or never was.
    Stopped(StopReason),
    /// Its context was lost, or cannot be reached; what can be told.
    ContextLost(Dead),
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Stopped(reason) => write!(f, "{reason}"),
            Self::ContextLost(dead) if dead.text.is_empty() => write!(f, "{}", dead.reason),
            Self::ContextLost(dead) => f.write_str(&dead.text),
        }
    }
}

/// A watch on a mailbox: resolves once, when it has ended. Dropping it takes the watch back.
#[derive(Debug)]
#[must_use = "a watch that is dropped is taken back"]
pub struct Watch {
    call: Result<Call, Option<Dead>>,
    target: Address,
}

impl Watch {
    /// What is watched.
    pub fn target(&self) -> Address {
        self.target
    }
}

impl Future for Watch {
    type Output = Ended;

    fn poll(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Ended> {
        let outcome = match &mut self.call {
            Ok(call) => task::ready!(Pin::new(call).poll(cx)),
            Err(dead) => match dead.take() {
                Some(dead) => Outcome::Dead(dead),
                None => return Poll::Pending,
            },
        };
        // The notice has come: nothing is left to take back, and nothing more to say.
        self.call = Err(None);
        Poll::Ready(match outcome {
            Outcome::Reply(bytes) => Ended::Stopped(match postcard::take_from_bytes(&bytes) {
                Ok((reason, [])) => reason,
                _ => StopReason::Error(
                    "its context gave a reason that this one does not know".into(),
                ),
            }),
            Outcome::Dead(dead) => Ended::ContextLost(dead),
            Outcome::Failed(text) => Ended::Stopped(StopReason::Error(text)),
            Outcome::Local(_) => Ended::Stopped(StopReason::Normal),
            Outcome::Late => unreachable!("a watch keeps no limit"),
        })
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let Ok(call) = &self.call else { return };
        let context = call.context.clone();
        let watcher = Watcher { context: context.id(), handle: call.handle };
        match context.way(Address { handle: Handle::UNWATCH, ..self.target }) {
            Ok(Way::Here(_)) => context.mailboxes().unwatch(self.target.handle, watcher),
            Ok(Way::Away(way)) => {
                let body =
                    [self.target.handle.0.to_le_bytes(), watcher.handle.0.to_le_bytes()].concat();
                // When the link goes, so do the watches over it.
                let _ = context.post_own(&way, &body, None);
            }
            Err(_) => {}
        }
    }
}
