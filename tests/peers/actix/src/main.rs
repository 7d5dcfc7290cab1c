//! actix, which has no network: the floor on which Actogen's actors stand, in one process.

use actix::{
    Actor, Addr, Arbiter, ArbiterHandle, AsyncContext, Context, Handler, Message, MessageResult,
    System, WrapFuture,
};
use measure::{
    Error,
    drive::drive,
    note::{Note, Tally},
    savina::{Behaviour, Players, Side, System as Stage},
    target::{self, Target},
    work::{Kind, Outcome, Place, Work, Worker},
};
use std::time::Duration;

#[derive(Message)]
#[rtype(result = "()")]
struct Tell(Note);

#[derive(Message)]
#[rtype(result = "Note")]
struct Ask(Note);

#[derive(Message)]
#[rtype(result = "Tally")]
struct Told;

#[derive(Default)]
struct Sink(Tally);

impl Actor for Sink {
    type Context = Context<Self>;
}

impl Handler<Tell> for Sink {
    type Result = ();

    fn handle(&mut self, Tell(note): Tell, _: &mut Self::Context) {
        self.0.count(note.number, &note.payload);
    }
}

impl Handler<Ask> for Sink {
    type Result = MessageResult<Ask>;

    fn handle(&mut self, ask: Ask, _: &mut Self::Context) -> Self::Result {
        MessageResult(ask.0)
    }
}

impl Handler<Told> for Sink {
    type Result = MessageResult<Told>;

    fn handle(&mut self, _: Told, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.0.take())
    }
}

/// An actor, on this thread or on another one.
struct ByAddr(Addr<Sink>);

impl Target for ByAddr {
    /// By `do_send`, which makes no sender wait.
    async fn tell(&self, note: Note) -> Result<(), Error> {
        self.0.do_send(Tell(note));
        Ok(())
    }

    async fn tally(&self) -> Result<Tally, Error> {
        Ok(self.0.send(Told).await?)
    }

    async fn ask(&self, note: Note) -> Result<Note, Error> {
        Ok(self.0.send(Ask(note)).await?)
    }
}

/// The actors of whole programs: on this thread, or on two.
#[derive(Clone)]
struct Arbiters {
    second: Option<ArbiterHandle>,
}

struct Playing<B>(B);

/// Nothing points into it.
impl<B> Unpin for Playing<B> {}

impl<B: 'static> Actor for Playing<B> {
    type Context = Context<Self>;
}

#[derive(Message)]
#[rtype(result = "()")]
struct Say<M>(M);

impl<B: Behaviour<Arbiters>> Handler<Say<B::Message>> for Playing<B> {
    type Result = ();

    fn handle(&mut self, Say(message): Say<B::Message>, ctx: &mut Self::Context) {
        if let Some(later) = self.0.handle(message) {
            ctx.spawn(later.into_actor(self));
        }
    }
}

impl Stage for Arbiters {
    type Address<B: Behaviour<Self>> = Addr<Playing<B>>;

    async fn start<B: Behaviour<Self>>(
        &self,
        side: Side,
        behaviour: B,
    ) -> Result<Self::Address<B>, Error> {
        let playing = Playing(behaviour);
        Ok(match &self.second {
            Some(second) if side == Side::There => Actor::start_in_arbiter(second, |_| playing),
            _ => playing.start(),
        })
    }

    fn tell<B: Behaviour<Self>>(address: &Self::Address<B>, message: B::Message) {
        address.do_send(Say(message));
    }
}

struct Actix {
    here: ByAddr,
    there: ByAddr,
    on_one: Players<Arbiters>,
    on_two: Players<Arbiters>,
}

impl Worker for Actix {
    async fn run(&self, work: &Work, lasts: Duration) -> Result<Outcome, Error> {
        if let Kind::Play(program) = work.kind {
            let players =
                if work.place == Place::CrossArbiter { &self.on_two } else { &self.on_one };
            return players.play(program, lasts).await;
        }
        match work.place {
            Place::SameArbiter => target::run(&self.here, work.kind, lasts).await,
            Place::CrossArbiter => target::run(&self.there, work.kind, lasts).await,
            Place::Remote => Err("actix has no network".into()),
        }
    }

    fn without(&self, work: &Work) -> Option<&'static str> {
        (work.place == Place::Remote).then_some("actix has no network")
    }
}

fn main() -> Result<(), Error> {
    System::new().block_on(async {
        let other = Arbiter::new();
        let there = Sink::start_in_arbiter(&other.handle(), |_| Sink::default());
        let second = Some(other.handle());
        let worker = Actix {
            here: ByAddr(Sink::default().start()),
            there: ByAddr(there),
            on_one: Players::new(Arbiters { second: None }),
            on_two: Players::new(Arbiters { second }),
        };
        drive(&worker, "in one process").await
    })
}
