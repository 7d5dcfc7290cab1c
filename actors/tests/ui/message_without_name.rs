//! A message that peers could not name.
use actogen::prelude::*;

#[derive(RemoteMessage, Serialize, Deserialize)]
struct Add(i64, i64);

fn main() {}
