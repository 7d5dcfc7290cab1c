//! Watching mailboxes, near and far: calls that are answered when the watched ends.

use std::{
    future::Future,
    pin::Pin,
    task::{self, Poll},
};

use actogen_core::{Address, Dead, Handle, wire::Kind};

use crate::{
    call::Call,
    context::Context,
    envelope::Outcome,
    mailbox::{StopReason, Watcher},
    send::PostError,
    way::Way,
};

impl Context {
    /// Watches a mailbox: the notice says why it ended, or that its context was lost. `serves` as in [`Self::begin_call`].
    pub fn watch(&self, target: Address, serves: Option<Handle>) -> Watch {
        let call = match self.begin_call(target, serves) {
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
