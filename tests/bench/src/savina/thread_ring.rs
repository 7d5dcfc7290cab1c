//! A token goes round a ring of a hundred actors. Where there are two processes each hop is from one to the other.

use actogen::prelude::*;

use super::stage::{Debt, Go, Port, Side, Stage};
use crate::failure::Failure;

/// Times that the token goes round in a performance.
pub(super) const SIZE: u32 = 5;

const RING: usize = 100;

/// So many hops are left to it.
#[derive(RemoteMessage, Serialize, Deserialize)]
#[remote(name = "actogen-bench.savina.Token")]
struct Token(u32);

#[derive(RemoteMessage, Serialize, Deserialize)]
#[remote(name = "actogen-bench.savina.MeetRing")]
struct Meet(Port<Token>);

#[derive(RemoteActor, Serialize, Deserialize)]
#[remote(name = "actogen-bench.savina.ringed", messages(Token), spawn(Ringed))]
struct Ringed(Port<Token>);

impl Actor for Ringed {
    type Context = actix::Context<Self>;
}

impl Handler<Token> for Ringed {
    type Result = ();

    fn handle(&mut self, Token(left): Token, _: &mut Self::Context) {
        // The last hop of all is to the first, so that one is left to it here.
        self.0.tell(Token(left - 1));
    }
}

/// The first of the ring, at which the token's way begins and ends.
#[derive(Default, RemoteActor)]
#[remote(name = "actogen-bench.savina.first", messages(Meet, Go, Token))]
struct First {
    next: Option<Port<Token>>,
    hops: u32,
    debt: Debt,
}

impl Actor for First {
    type Context = actix::Context<Self>;
}

impl First {
    fn pass(&self, left: u32) {
        self.next.as_ref().expect("the ring was closed before").tell(Token(left - 1));
    }
}

impl Handler<Meet> for First {
    type Result = ();

    fn handle(&mut self, Meet(next): Meet, _: &mut Self::Context) {
        self.next = Some(next);
    }
}

impl Handler<Go> for First {
    type Result = ResponseFuture<Result<u64, String>>;

    fn handle(&mut self, Go(rounds): Go, _: &mut Self::Context) -> Self::Result {
        self.hops = rounds * RING as u32;
        self.pass(self.hops);
        self.debt.begin()
    }
}

impl Handler<Token> for First {
    type Result = ();

    fn handle(&mut self, Token(left): Token, _: &mut Self::Context) {
        if left == 0 {
            self.debt.pay(Ok(u64::from(self.hops)));
        } else {
            self.pass(left);
        }
    }
}

pub(super) async fn start(stage: &Stage) -> Result<Port<Go>, Failure> {
    let first = stage.lead(First::default());
    let mut next = first.port();
    for number in 1..RING {
        next = stage.start(Side::of(number + 1), Ringed(next)).await?.port();
    }
    first.port().tell(Meet(next));
    Ok(first.port())
}
