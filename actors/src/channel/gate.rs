//! The actor behind a receiver: takes values in, and stops taking them when enough wait.

use std::sync::Arc;

use actix::{Actor, ActorContext, AsyncContext, Context as ActixContext, Handler, WrapFuture};
use actogen_runtime::core::Dead;
use serde::{Deserialize, Serialize};

use super::{Item, ReceiveError, queue::Queue};
use crate::{
    RemoteMessage,
    actor::{Attach, RemoteActor},
    message::{Codec, MessageOf, Tag},
    turn::{Envelope, Turn, deliver, unknown},
};

/// What goes through a channel.
#[derive(Debug, Serialize, Deserialize)]
#[serde(bound = "T: Item")]
pub(super) enum Word<T> {
    Value(T),
    /// Nothing follows; why not, when a context is lost.
    End(Option<Dead>),
}

/// Gives all words one name and tag, whatever they carry: the sending end knows what the receiving one takes.
#[derive(RemoteMessage, Serialize, Deserialize)]
#[remote(name = "actogen.Word", crate = crate)]
struct AnyWord;

impl<T: Item> actix::Message for Word<T> {
    type Result = ();
}

impl<T: Item> RemoteMessage for Word<T> {
    const NAME: &'static str = AnyWord::NAME;
    const VERSION: u32 = AnyWord::VERSION;
    const TAG: Tag = AnyWord::TAG;
    const CODEC: Codec = Codec::Postcard;
}

/// Takes values in.
pub(super) struct Gate<T: Item> {
    queue: Arc<Queue<T>>,
}

impl<T: Item> std::fmt::Debug for Gate<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Gate")
    }
}

impl<T: Item> Gate<T> {
    pub(super) fn new(queue: Arc<Queue<T>>) -> Self {
        Self { queue }
    }
}

impl<T: Item> Actor for Gate<T> {
    type Context = ActixContext<Self>;

    fn stopped(&mut self, _: &mut Self::Context) {
        self.queue.end(ReceiveError::Closed);
    }
}

impl<T: Item> Handler<Word<T>> for Gate<T> {
    type Result = ();

    fn handle(&mut self, word: Word<T>, ctx: &mut Self::Context) {
        match word {
            Word::Value(value) => {
                if !self.queue.push(value) {
                    let queue = self.queue.clone();
                    ctx.wait(async move { queue.room().await }.into_actor(self));
                }
            }
            Word::End(why) => {
                self.queue.end(why.map_or(ReceiveError::Closed, ReceiveError::Lost));
                ctx.stop();
            }
        }
    }
}

impl<T: Item> Handler<Attach<Self>> for Gate<T> {
    type Result = ();

    fn handle(&mut self, attach: Attach<Self>, ctx: &mut Self::Context) {
        attach.attach(ctx);
    }
}

impl<T: Item> MessageOf<Gate<T>> for Word<T> {}

impl<T: Item> RemoteActor for Gate<T> {
    const NAME: &'static str = "actogen.channel";
    const TAGS: &'static [Tag] = &[AnyWord::TAG];

    fn dispatch(&mut self, envelope: &mut Envelope<'_>, turn: &mut Turn<'_, Self>) {
        if envelope.tag() == AnyWord::TAG {
            deliver::<Self, Word<T>>(self, envelope, turn);
        } else {
            unknown::<Self>(envelope, turn);
        }
    }
}
