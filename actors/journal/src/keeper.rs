//! The keeper: the actor by which a journal is reached.

use actix::{Actor, Handler, ResponseFuture};
use actogen::{Inbound, RemoteActor};
use bytes::Bytes;
use tokio::sync::oneshot;

use crate::{
    engine::{
        Core, Release,
        active::{Arrived, Source},
    },
    rows::{self, Peer},
    store::{Batch, Table},
    wire::{Ask, Deliver, Hello, Refusal, Taken, Welcome},
};

/// The actor by which a journal is reached, by askers and by other nodes.
#[derive(RemoteActor)]
#[remote(name = "actogen.journal", messages(Ask), inbound(Hello, Deliver))]
pub(crate) struct Keeper {
    pub(crate) core: Core,
}

impl Actor for Keeper {
    type Context = actix::Context<Self>;
}

impl Handler<Ask> for Keeper {
    type Result = ResponseFuture<Result<Bytes, Refusal>>;

    fn handle(&mut self, ask: Ask, _: &mut Self::Context) -> Self::Result {
        let (asker, answer) = oneshot::channel();
        let Ask { to, client, number, settled, again, message } = ask;
        let source = Source::Client { client, number, settled, asker };
        self.core.borrow_mut().take(&to, Arrived::new(source, message, again));
        Box::pin(async move {
            // Dropped where the journal is closed.
            answer.await.unwrap_or_else(|_| Err(Refusal::StoreFailed("it is closed".to_owned())))
        })
    }
}

impl Handler<Inbound<Deliver>> for Keeper {
    type Result = ResponseFuture<Taken>;

    fn handle(&mut self, deliver: Inbound<Deliver>, _: &mut Self::Context) -> Self::Result {
        let Inbound { message: deliver, origin } = deliver;
        let mut engine = self.core.borrow_mut();
        if engine.couriers.shown.get(&deliver.from.node) != Some(&origin.source) {
            return Box::pin(std::future::ready(Taken::Stranger));
        }
        let (courier, taken) = oneshot::channel();
        let mut courier = Some(courier);
        let Deliver { from, epoch, to, mut after, forced, again, messages } = deliver;
        let last = messages.len();
        for (index, (number, message)) in messages.into_iter().enumerate() {
            let courier = if index + 1 == last { courier.take() } else { None };
            let source = Source::Far { from: from.clone(), epoch, after, number, forced, courier };
            engine.arrive(&to, Arrived::new(source, message, again));
            after = number;
        }
        engine.work();
        Box::pin(async move {
            // Dropped where the journal is closed, or where no message was in it.
            taken.await.unwrap_or(Taken::Busy)
        })
    }
}

impl Handler<Inbound<Hello>> for Keeper {
    type Result = ResponseFuture<Welcome>;

    fn handle(&mut self, hello: Inbound<Hello>, _: &mut Self::Context) -> Self::Result {
        let core = self.core.clone();
        Box::pin(welcome(core, hello))
    }
}

/// Finds out whether a node is the one it says it is, and whether it is as old as it was when it was last here.
async fn welcome(core: Core, Inbound { message: hello, origin }: Inbound<Hello>) -> Welcome {
    let Hello { node, epoch, openings } = hello;
    let context = core.borrow().couriers.context.clone();
    let keeper = context.resolve::<Keeper>(&node.claim()).await;
    if keeper.map(|keeper| keeper.context_id()).ok() != Some(origin.source) {
        return Welcome::Stranger;
    }
    let key = rows::of_node(&node);
    let reading = {
        let engine = core.borrow();
        let key = key.clone();
        engine.writer.read(move |store| match store.get(Table::Peer, &key)? {
            Some(row) => rows::opened::<Peer>("another node", &row).map(Some),
            None => Ok(None),
        })
    };
    let Ok(known) = reading.await else { return Welcome::Failed };
    let Some(&opening) = openings.last() else { return Welcome::Stranger };
    if let Some(known) = known {
        // An opening that it does not remember, though it is younger than those that it may forget: its journal is an older one.
        let forgotten = openings.first().is_some_and(|(first, _)| known.opening.0 < *first);
        let is_restored = !openings.contains(&known.opening) && !forgotten;
        let has_new_epoch = epoch > known.epoch;
        if (is_restored && !has_new_epoch) || epoch < known.epoch {
            return Welcome::Restored { epoch: known.epoch };
        }
    }
    let (done, durable) = oneshot::channel();
    {
        let mut engine = core.borrow_mut();
        let mut batch = Batch::default();
        batch.put(Table::Peer, key, rows::sealed(&Peer { epoch, opening }));
        engine.submit(batch, vec![Release::Done(done)]);
        engine.couriers.shown.insert(node, origin.source);
    }
    match durable.await {
        Ok(()) => Welcome::Fine,
        Err(_) => Welcome::Failed,
    }
}
