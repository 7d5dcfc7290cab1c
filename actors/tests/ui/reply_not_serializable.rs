//! A reply that cannot be written.
use actogen::prelude::*;

struct Sum(i64);

#[derive(RemoteMessage, Serialize, Deserialize)]
#[remote(name = "calc.Add", reply = "Sum")]
struct Add(i64, i64);

fn main() {}
