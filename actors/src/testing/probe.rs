//! Actors whose messages a test looks at.

use std::{fmt, time::Duration};

use actix::{Actor, Context as ActixContext, Handler, Message};
use tokio::sync::mpsc;

use super::PATIENCE;
use crate::{
    actor::{Attach, RemoteActor},
    address::Remote,
    context::Context,
    message::{MessageOf, RemoteMessage, Tag},
    turn::{Envelope, Turn, deliver, unknown},
};

/// Takes messages of one type, in their order, for a test to look at.
pub struct Probe<M: RemoteMessage> {
    remote: Remote<ProbeActor<M>>,
    messages: mpsc::UnboundedReceiver<M>,
}

impl<M: RemoteMessage> fmt::Debug for Probe<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Probe").field("remote", &self.remote).finish_non_exhaustive()
    }
}

impl<M: RemoteMessage> Probe<M> {
    pub(super) fn new(context: &Context, answer: impl FnMut(&M) -> M::Result + 'static) -> Self {
        let (sender, messages) = mpsc::unbounded_channel();
        let actor = ProbeActor { sender, answer: Box::new(answer) };
        Self { remote: context.start(actor), messages }
    }

    /// Where its messages go.
    pub fn remote(&self) -> Remote<ProbeActor<M>> {
        self.remote.clone()
    }

    /// The next message.
    ///
    /// # Panics
    /// When none comes within a minute of the mesh's time.
    pub async fn expect(&mut self) -> M {
        let next = tokio::time::timeout(PATIENCE, self.messages.recv()).await;
        let next = next.unwrap_or_else(|_| panic!("no `{}` has come", M::NAME));
        next.unwrap_or_else(|| panic!("the probe of `{}` has ended", M::NAME))
    }

    /// Sees to it that no message comes for so much of the mesh's time.
    ///
    /// # Panics
    /// When one does.
    pub async fn expect_none(&mut self, time: Duration) {
        if let Ok(Some(_)) = tokio::time::timeout(time, self.messages.recv()).await {
            panic!("a `{}` has come", M::NAME);
        }
    }
}

/// Answers a message.
type Answer<M> = dyn FnMut(&M) -> <M as Message>::Result;

/// The actor behind a [`Probe`].
pub struct ProbeActor<M: RemoteMessage> {
    sender: mpsc::UnboundedSender<M>,
    answer: Box<Answer<M>>,
}

impl<M: RemoteMessage> fmt::Debug for ProbeActor<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProbeActor").finish_non_exhaustive()
    }
}

impl<M: RemoteMessage> Actor for ProbeActor<M> {
    type Context = ActixContext<Self>;
}

impl<M: RemoteMessage> Handler<M> for ProbeActor<M> {
    type Result = actix::MessageResult<M>;

    fn handle(&mut self, message: M, _: &mut Self::Context) -> Self::Result {
        let answer = (self.answer)(&message);
        // A test that has dropped the probe does not look any more.
        let _ = self.sender.send(message);
        actix::MessageResult(answer)
    }
}

impl<M: RemoteMessage> Handler<Attach<Self>> for ProbeActor<M> {
    type Result = ();

    fn handle(&mut self, message: Attach<Self>, ctx: &mut Self::Context) {
        message.attach(ctx);
    }
}

impl<M: RemoteMessage> RemoteActor for ProbeActor<M> {
    const NAME: &'static str = "actogen.probe";
    const TAGS: &'static [Tag] = &[M::TAG];

    fn dispatch(&mut self, envelope: &mut Envelope<'_>, turn: &mut Turn<'_, Self>) {
        if envelope.tag() == M::TAG {
            deliver::<Self, M>(self, envelope, turn);
        } else {
            unknown(envelope, turn);
        }
    }
}

impl<M: RemoteMessage> MessageOf<ProbeActor<M>> for M {}
