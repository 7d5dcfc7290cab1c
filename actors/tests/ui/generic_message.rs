//! Messages whose instances would share one tag.
use actogen::prelude::*;

#[derive(RemoteMessage, Serialize, Deserialize)]
#[remote(name = "calc.Add", reply = "i64")]
struct Add<T>(T, T);

#[derive(RemoteMessage, Serialize, Deserialize)]
#[remote(name = "calc.Note")]
struct Note<'a>(&'a str);

fn main() {}
