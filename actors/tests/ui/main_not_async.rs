//! `main` runs in a context, so it is asynchronous.
use actogen::prelude::*;

#[actogen::main]
fn main(cx: Context) {}
