//! Versions count from 1.
use actogen::prelude::*;

#[derive(RemoteMessage, Serialize, Deserialize)]
#[remote(name = "calc.Add", version = 0)]
struct Add(i64, i64);

fn main() {}
