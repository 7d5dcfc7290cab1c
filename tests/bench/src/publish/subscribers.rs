//! What the other process does: it consumes what must be acknowledged, and keeps subscribers.

use actogen::{Consumption, Spawn, prelude::*};

use crate::handled::{AllHandled, Announce, Handled, Member};

/// Asks for so many subscribers under a topic, which stay. Gives them.
#[derive(Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "actogen-bench.SubscribeMany", reply = "Result<Vec<Remote<Member>>, String>")]
pub(super) struct SubscribeMany {
    pub(super) topic: String,
    pub(super) subscribers: usize,
}

/// Asks for one consumer under a topic, for the context's names.
#[derive(Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "actogen-bench.ConsumeReliably", reply = "Result<(), String>")]
pub(super) struct ConsumeReliably {
    pub(super) topic: String,
}

/// Keeps subscribers and consumers of a process.
#[derive(Debug, RemoteActor)]
#[remote(
    name = "actogen-bench.subscribers",
    messages(SubscribeMany, ConsumeReliably, AllHandled),
    spawn = custom
)]
pub(super) struct Subscribers {
    context: Context,
    handled: Handled,
    consuming: Vec<Consumption>,
}

impl Spawn for Subscribers {
    type Args = ();

    fn spawn((): (), context: &Context) -> Self {
        Self { context: context.clone(), handled: Handled::default(), consuming: Vec::new() }
    }
}

impl Actor for Subscribers {
    type Context = actix::Context<Self>;
}

impl Handler<SubscribeMany> for Subscribers {
    type Result = Result<Vec<Remote<Member>>, String>;

    fn handle(
        &mut self,
        SubscribeMany { topic, subscribers }: SubscribeMany,
        _: &mut Self::Context,
    ) -> Self::Result {
        let subscribe = |_| {
            let member = self.context.start(Member(self.handled.clone()));
            let subscribed = self.context.subscribe_actor::<_, Announce>(&topic, &member);
            subscribed.map(|()| member).map_err(|error| error.to_string())
        };
        (0..subscribers).map(subscribe).collect()
    }
}

impl Handler<ConsumeReliably> for Subscribers {
    type Result = Result<(), String>;

    fn handle(
        &mut self,
        ConsumeReliably { topic }: ConsumeReliably,
        _: &mut Self::Context,
    ) -> Self::Result {
        let member = self.context.start(Member(self.handled.clone()));
        let consuming = self.context.consume_actor::<_, Announce>(&topic, &member);
        self.consuming.push(consuming.map_err(|error| error.to_string())?);
        Ok(())
    }
}

impl Handler<AllHandled> for Subscribers {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, AllHandled(awaited): AllHandled, _: &mut Self::Context) -> Self::Result {
        Box::pin(self.handled.reach(awaited))
    }
}
