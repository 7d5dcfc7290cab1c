//! A message sent to an actor that does not list it.
use actogen::prelude::*;

#[derive(RemoteMessage, Serialize, Deserialize)]
#[remote(name = "calc.Add", reply = "i64")]
struct Add(i64, i64);

#[derive(RemoteMessage, Serialize, Deserialize)]
#[remote(name = "calc.Sub", reply = "i64")]
struct Sub(i64, i64);

#[derive(RemoteActor)]
#[remote(name = "calc", messages(Add))]
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

async fn subtract(calc: Remote<Calc>) {
    let _ = calc.send(Sub(2, 3)).await;
}

fn main() {}
