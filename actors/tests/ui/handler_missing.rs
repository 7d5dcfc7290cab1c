//! A listed message that the actor has no handler for.
use actogen::prelude::*;

#[derive(RemoteMessage, Serialize, Deserialize)]
#[remote(name = "calc.Add", reply = "i64")]
struct Add(i64, i64);

#[derive(RemoteActor)]
#[remote(name = "calc", messages(Add))]
struct Calc;

impl Actor for Calc {
    type Context = actix::Context<Self>;
}

fn main() {}
