//! A key with a typing error, for a message and for an actor, and a codec that does not exist.
use actogen::prelude::*;

#[derive(RemoteMessage, Serialize, Deserialize)]
#[remote(name = "calc.Add", repyl = "i64")]
struct Add(i64, i64);

#[derive(RemoteMessage, Serialize, Deserialize)]
#[remote(name = "calc.Sub", codec = "xml")]
struct Sub(i64, i64);

#[derive(RemoteActor)]
#[remote(name = "calc", message(Add))]
struct Calc;

fn main() {}
