//! The actor at a stream's receiving end: takes items in, tells the producer its credit, and watches it.

use std::sync::Arc;

use actix::{
    Actor, ActorContext, ActorFutureExt, AsyncContext, Context as ActixContext, Handler, WrapFuture,
};
use actogen_runtime::{Ended, core::ContextId, mailbox::StopReason};
use serde::{Deserialize, Serialize};

use super::{
    InflowError, OpenError,
    feeder::{Feeder, Grant},
    stream::Basin,
};
use crate::{
    Inbound, RemoteMessage,
    actor::{Attach, RemoteActor},
    address::Remote,
    channel::Item,
    context::Context,
    message::{Codec, MessageOf, Tag},
    turn::{Envelope, Turn, deliver_inbound, unknown},
};

/// What a stream carries.
#[derive(Debug, Serialize, Deserialize)]
#[serde(bound = "T: Item")]
pub(super) enum Piece<T> {
    Item {
        number: u64,
        item: T,
    },
    /// Nothing follows; the producer's error, if it failed.
    End {
        number: u64,
        failed: Option<String>,
    },
}

/// Gives all pieces one name and tag, whatever they carry: the outlet knows what the receiving end takes.
#[derive(RemoteMessage, Serialize, Deserialize)]
#[remote(name = "actogen.Piece", crate = crate)]
struct AnyPiece;

impl<T: Item> actix::Message for Piece<T> {
    type Result = ();
}

impl<T: Item> RemoteMessage for Piece<T> {
    const NAME: &'static str = AnyPiece::NAME;
    const VERSION: u32 = AnyPiece::VERSION;
    const TAG: Tag = AnyPiece::TAG;
    const CODEC: Codec = Codec::Postcard;
}

/// A producer is there; answered with its first credit.
#[derive(Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "actogen.OpenStream", reply = "Result<u64, OpenError>", crate = crate)]
pub(super) struct Open {
    pub(super) producer: Remote<Feeder>,
}

/// The producer waits for credit, and has sent so many items; answered with the number below which they may be sent.
#[derive(Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "actogen.StreamSoFar", reply = "u64", crate = crate)]
pub(super) struct SoFar(pub(super) u64);

/// The producer is lost. The mouth tells itself, so that what is in its mailbox comes first.
#[derive(Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "actogen.StreamLost", crate = crate)]
pub(super) struct Gone;

/// What an item takes, about. Those that own nothing are as large as they look.
fn bytes_of<T: Item>(item: &T) -> usize {
    let own = size_of::<T>();
    match std::mem::needs_drop::<T>() {
        true => own + postcard::experimental::serialized_size(item).unwrap_or_default(),
        false => own,
    }
}

/// Takes items in.
pub(super) struct Mouth<T: Item> {
    cx: Context,
    me: Remote<Self>,
    basin: Arc<Basin<T>>,
    /// Where the producer is, once there is one.
    producer: Option<ContextId>,
    /// How the producer was lost, until all that it has sent is taken in.
    lost: Option<Ended>,
}

impl<T: Item> std::fmt::Debug for Mouth<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mouth").field("producer", &self.producer).finish_non_exhaustive()
    }
}

impl<T: Item> Mouth<T> {
    pub(super) fn new(cx: Context, me: Remote<Self>, basin: Arc<Basin<T>>) -> Self {
        Self { cx, me, basin, producer: None, lost: None }
    }

    fn end(&self, how: Result<(), InflowError>, ctx: &mut ActixContext<Self>) {
        let ended = self.basin.note(|ledger| ledger.end(how));
        self.leave(ended, ctx);
    }

    /// What is still to be taken lies in the basin: this end is of no more use. A producer that is still there learns from its watch what was
    /// wrong.
    fn leave(&self, ended: Option<Result<(), InflowError>>, ctx: &mut ActixContext<Self>) {
        let reason = match ended {
            Some(Err(error @ InflowError::Broken(_))) => StopReason::Error(error.to_string()),
            _ => StopReason::Normal,
        };
        self.cx.stop(&self.me, reason);
        ctx.stop();
    }

    fn lost(&mut self, ended: Ended, ctx: &mut ActixContext<Self>) {
        self.lost = Some(ended);
        let me = self.me.clone();
        let telling = async move { me.tell(Gone).await }.into_actor(self);
        ctx.spawn(telling.map(|told, mouth, ctx| {
            if told.is_err() {
                mouth.end_lost(ctx);
            }
        }));
    }

    fn end_lost(&mut self, ctx: &mut ActixContext<Self>) {
        if let Some(ended) = self.lost.take() {
            self.end(Err(InflowError::Lost(ended)), ctx);
        }
    }
}

impl<T: Item> Actor for Mouth<T> {
    type Context = ActixContext<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let patience = self.cx.limits().request_time;
        ctx.run_later(patience, move |mouth, ctx| {
            if mouth.producer.is_none() {
                mouth.end(Err(InflowError::Unopened(patience)), ctx);
            }
        });
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        self.basin.note(|ledger| ledger.end(Err(InflowError::Closed)));
    }
}

impl<T: Item> Handler<Inbound<Open>> for Mouth<T> {
    type Result = Result<u64, OpenError>;

    fn handle(&mut self, open: Inbound<Open>, ctx: &mut Self::Context) -> Self::Result {
        let Inbound { message: Open { producer }, origin } = open;
        if producer.context_id() != origin.source {
            return Err(OpenError::NotThere(producer.context_id()));
        }
        if self.producer.is_some() {
            return Err(OpenError::Taken);
        }
        self.producer = Some(origin.source);
        // Its notice comes behind all that the producer's context has sent to this actor.
        let watch = self.cx.watch_for(&producer, &self.me).into_actor(self);
        ctx.spawn(watch.map(|down, mouth, ctx| mouth.lost(down.ended, ctx)));
        let credit = self.basin.grant().ok_or(OpenError::Taken)?;
        let basin = self.basin.clone();
        let granting = async move {
            loop {
                basin.credit.notified().await;
                if let Some(credit) = basin.grant() {
                    // Its loss is told by the watch. One that is still there asks for credit that did not arrive.
                    let _ = producer.tell(Grant(credit)).await;
                }
            }
        };
        ctx.spawn(granting.into_actor(self));
        Ok(credit)
    }
}

impl<T: Item> Handler<Inbound<Piece<T>>> for Mouth<T> {
    type Result = ();

    fn handle(&mut self, piece: Inbound<Piece<T>>, ctx: &mut Self::Context) {
        let Inbound { message, origin } = piece;
        if self.producer != Some(origin.source) {
            tracing::warn!(context = %self.cx.id(), from = %origin.source, "an item that is not the producer's is dropped");
            return;
        }
        let ended = self.basin.note(|ledger| match message {
            Piece::Item { number, item } => ledger.item(number, bytes_of(&item), item),
            Piece::End { number, failed } => {
                ledger.last_word(
                    number,
                    failed.map_or(Ok(()), |text| Err(InflowError::Failed(text))),
                );
            }
        });
        if ended.is_some() {
            self.leave(ended, ctx);
        } else if self.basin.is_full() {
            let basin = self.basin.clone();
            ctx.wait(async move { basin.room().await }.into_actor(self));
        }
    }
}

impl<T: Item> Handler<Inbound<Gone>> for Mouth<T> {
    type Result = ();

    fn handle(&mut self, last: Inbound<Gone>, ctx: &mut Self::Context) {
        if last.origin.source == self.cx.id() {
            self.end_lost(ctx);
        }
    }
}

impl<T: Item> Handler<Inbound<SoFar>> for Mouth<T> {
    type Result = u64;

    fn handle(&mut self, so_far: Inbound<SoFar>, ctx: &mut Self::Context) -> Self::Result {
        if self.producer != Some(so_far.origin.source) {
            return 0;
        }
        let (credit, ended) = self.basin.so_far(so_far.message.0);
        if ended.is_some() {
            self.leave(ended, ctx);
        }
        credit
    }
}

impl<T: Item> Handler<Attach<Self>> for Mouth<T> {
    type Result = ();

    fn handle(&mut self, attach: Attach<Self>, ctx: &mut Self::Context) {
        attach.attach(ctx);
    }
}

impl<T: Item> MessageOf<Mouth<T>> for Piece<T> {}
impl<T: Item> MessageOf<Mouth<T>> for Open {}
impl<T: Item> MessageOf<Mouth<T>> for SoFar {}
impl<T: Item> MessageOf<Mouth<T>> for Gone {}

impl<T: Item> RemoteActor for Mouth<T> {
    const NAME: &'static str = "actogen.stream";
    const TAGS: &'static [Tag] = &[AnyPiece::TAG, Open::TAG, SoFar::TAG, Gone::TAG];

    fn dispatch(&mut self, envelope: &mut Envelope<'_>, turn: &mut Turn<'_, Self>) {
        let tag = envelope.tag();
        if tag == AnyPiece::TAG {
            deliver_inbound::<Self, Piece<T>>(self, envelope, turn);
        } else if tag == Open::TAG {
            deliver_inbound::<Self, Open>(self, envelope, turn);
        } else if tag == Gone::TAG {
            deliver_inbound::<Self, Gone>(self, envelope, turn);
        } else if tag == SoFar::TAG {
            deliver_inbound::<Self, SoFar>(self, envelope, turn);
        } else {
            unknown::<Self>(envelope, turn);
        }
    }
}
