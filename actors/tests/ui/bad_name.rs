//! A name with a character that names cannot hold, and one with an empty part.
use actogen::prelude::*;

#[derive(RemoteMessage, Serialize, Deserialize)]
#[remote(name = "calc/Add", reply = "i64")]
struct Add(i64, i64);

#[derive(RemoteMessage, Serialize, Deserialize)]
#[remote(name = "calc.", reply = "i64")]
struct Sub(i64, i64);

fn main() {}
