//! A call of a type that is no function's.
use actogen::prelude::*;

struct Hostname;

async fn name(child: &Child) {
    let _ = child.call::<Hostname>(()).await;
}

fn main() {}
