//! One ball between two actors.

use actogen::prelude::*;

use super::stage::{Debt, Go, Port, Side, Stage};
use crate::failure::Failure;

/// Balls in a performance, one after the other.
pub(super) const SIZE: u32 = 250;

#[derive(RemoteMessage, Serialize, Deserialize)]
#[remote(name = "actogen-bench.savina.Ping")]
struct Ping;

#[derive(RemoteMessage, Serialize, Deserialize)]
#[remote(name = "actogen-bench.savina.Pong")]
struct Pong;

#[derive(RemoteMessage, Serialize, Deserialize)]
#[remote(name = "actogen-bench.savina.MeetPonger")]
struct Meet(Port<Ping>);

#[derive(RemoteActor, Serialize, Deserialize)]
#[remote(name = "actogen-bench.savina.ponger", messages(Ping), spawn(Ponger))]
struct Ponger(Port<Pong>);

impl Actor for Ponger {
    type Context = actix::Context<Self>;
}

impl Handler<Ping> for Ponger {
    type Result = ();

    fn handle(&mut self, _: Ping, _: &mut Self::Context) {
        self.0.tell(Pong);
    }
}

#[derive(Default, RemoteActor)]
#[remote(name = "actogen-bench.savina.pinger", messages(Meet, Go, Pong))]
struct Pinger {
    ponger: Option<Port<Ping>>,
    balls: u32,
    left: u32,
    debt: Debt,
}

impl Actor for Pinger {
    type Context = actix::Context<Self>;
}

impl Pinger {
    fn ping(&self) {
        self.ponger.as_ref().expect("they have met before they play").tell(Ping);
    }
}

impl Handler<Meet> for Pinger {
    type Result = ();

    fn handle(&mut self, Meet(ponger): Meet, _: &mut Self::Context) {
        self.ponger = Some(ponger);
    }
}

impl Handler<Go> for Pinger {
    type Result = ResponseFuture<Result<u64, String>>;

    fn handle(&mut self, Go(balls): Go, _: &mut Self::Context) -> Self::Result {
        (self.balls, self.left) = (balls, balls);
        self.ping();
        self.debt.begin()
    }
}

impl Handler<Pong> for Pinger {
    type Result = ();

    fn handle(&mut self, _: Pong, _: &mut Self::Context) {
        self.left -= 1;
        if self.left == 0 {
            self.debt.pay(Ok(2 * u64::from(self.balls)));
        } else {
            self.ping();
        }
    }
}

pub(super) async fn start(stage: &Stage) -> Result<Port<Go>, Failure> {
    let pinger = stage.lead(Pinger::default());
    let ponger = stage.start(Side::There, Ponger(pinger.port())).await?;
    pinger.port().tell(Meet(ponger.port()));
    Ok(pinger.port())
}
