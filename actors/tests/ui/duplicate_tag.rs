//! Two messages of one actor with the same name and version.
use actogen::prelude::*;

#[derive(RemoteMessage, Serialize, Deserialize)]
#[remote(name = "calc.Add", reply = "i64")]
struct Add(i64, i64);

#[derive(RemoteMessage, Serialize, Deserialize)]
#[remote(name = "calc.Add", reply = "f64")]
struct AddFloats(f64, f64);

#[derive(RemoteActor)]
#[remote(name = "calc", messages(Add, AddFloats))]
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

impl Handler<AddFloats> for Calc {
    type Result = f64;

    fn handle(&mut self, add: AddFloats, _: &mut Self::Context) -> f64 {
        add.0 + add.1
    }
}

fn main() {}
