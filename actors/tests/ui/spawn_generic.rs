//! Peers ask for an actor by its one name, which does not say which instance.
use actogen::prelude::*;

#[derive(RemoteActor, Default)]
#[remote(name = "cache", spawn)]
struct Cache<K: Default + Unpin + 'static> {
    last: K,
}

impl<K: Default + Unpin + 'static> Actor for Cache<K> {
    type Context = actix::Context<Self>;
}

fn main() {}
