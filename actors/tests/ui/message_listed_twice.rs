//! A message that would go to two handlers.
use actogen::prelude::*;

#[derive(RemoteMessage, Serialize, Deserialize)]
#[remote(name = "calc.Add", reply = "i64")]
struct Add(i64, i64);

#[derive(RemoteActor)]
#[remote(name = "calc", messages(Add), inbound(Add))]
struct Calc;

impl Actor for Calc {
    type Context = actix::Context<Self>;
}

impl Handler<Add> for Calc {
    type Result = i64;

    fn handle(&mut self, add: Add, _: &mut Self::Context) -> i64 {
        add.0 + add.1
    }
}

fn main() {}
