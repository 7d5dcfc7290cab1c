//! A message without `Serialize` and `Deserialize`.
use actogen::prelude::*;

#[derive(RemoteMessage)]
#[remote(name = "calc.Add", reply = "i64")]
struct Add(i64, i64);

fn main() {}
