//! `spawn` makes the actor by `Default`, which it lacks.
use actogen::prelude::*;

#[derive(RemoteActor)]
#[remote(name = "calc", spawn)]
struct Calc {
    sum: i64,
}

impl Actor for Calc {
    type Context = actix::Context<Self>;
}

fn main() {}
