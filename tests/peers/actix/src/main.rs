//! actix, which has no network: the floor on which Actogen's actors stand, in one process.

use actix::{Actor, Addr, Arbiter, Context, Handler, Message, MessageResult, System};
use measure::{
    Error,
    drive::drive,
    note::{Note, Tally},
    target::{self, Target},
    work::{Outcome, Place, Work, Worker},
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

struct Actix {
    here: ByAddr,
    there: ByAddr,
}

impl Worker for Actix {
    async fn run(&self, work: &Work, lasts: Duration) -> Result<Outcome, Error> {
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
        let worker = Actix { here: ByAddr(Sink::default().start()), there: ByAddr(there) };
        drive(&worker, "in one process").await
    })
}
