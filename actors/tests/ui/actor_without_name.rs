//! An actor that peers could not name.
use actogen::prelude::*;

#[derive(RemoteActor)]
#[remote(messages())]
struct Calc;

impl Actor for Calc {
    type Context = actix::Context<Self>;
}

fn main() {}
