//! Two children of one root talk by way of it, then straight to each other, then by way of it again.

use std::time::{Duration, Instant};

use actogen::prelude::*;

/// Asks by whom the question came: the neighbour that brought it.
#[derive(RemoteMessage, Serialize, Deserialize)]
#[remote(name = "direct.ByWhom", reply = "Option<u64>")]
struct ByWhom;

/// Asks a worker how a question of its own gets to another, and how long it takes to come back.
#[derive(RemoteMessage, Serialize, Deserialize)]
#[remote(name = "direct.Measure", reply = "Option<(u64, u64)>")]
struct Measure(Remote<Worker>);

/// Asks a worker to open a direct link to the context of another, or to give it up.
#[derive(RemoteMessage, Serialize, Deserialize)]
#[remote(name = "direct.Link", reply = "Result<(), String>")]
struct Link(Remote<Worker>, bool);

#[derive(RemoteActor)]
#[remote(name = "direct.worker", messages(Measure, Link), inbound(ByWhom), spawn = custom)]
struct Worker {
    context: Context,
}

impl Spawn for Worker {
    type Args = ();

    fn spawn((): (), context: &Context) -> Self {
        Self { context: context.clone() }
    }
}

impl Actor for Worker {
    type Context = actix::Context<Self>;
}

impl Handler<Inbound<ByWhom>> for Worker {
    type Result = MessageResult<Inbound<ByWhom>>;

    fn handle(&mut self, question: Inbound<ByWhom>, _: &mut Self::Context) -> Self::Result {
        MessageResult(question.origin.neighbour.map(|neighbour| neighbour.context.0))
    }
}

impl Handler<Measure> for Worker {
    type Result = ResponseFuture<Option<(u64, u64)>>;

    fn handle(&mut self, Measure(other): Measure, _: &mut Self::Context) -> Self::Result {
        Box::pin(async move {
            let mut best = Duration::MAX;
            let mut by = 0;
            for _ in 0..200 {
                let begun = Instant::now();
                by = other.send(ByWhom).await.ok()??;
                best = best.min(begun.elapsed());
            }
            Some((by, u64::try_from(best.as_micros()).ok()?))
        })
    }
}

impl Handler<Link> for Worker {
    type Result = ResponseFuture<Result<(), String>>;

    fn handle(&mut self, Link(other, stands): Link, _: &mut Self::Context) -> Self::Result {
        let context = self.context.clone();
        Box::pin(async move {
            if stands {
                // A ticket comes by the tree, the dial goes past it; until the link is taken everything goes on as before.
                context.connect(other.address()).await.map_err(|error| error.to_string())
            } else {
                context.disconnect(other.context_id()).await.map_err(|error| error.to_string())
            }
        })
    }
}

#[actogen::main]
async fn main(cx: Context) -> actogen::Result<()> {
    let (one, two) = (cx.launch(Launch::local()).await?, cx.launch(Launch::local()).await?);
    let (asker, asked) = (one.spawn::<Worker>(()).await?, two.spawn::<Worker>(()).await?);
    for (what, link) in [("at first", None), ("linked", Some(true)), ("given up", Some(false))] {
        if let Some(stands) = link {
            asker.send(Link(asked.clone(), stands)).await??;
        }
        let (by, micros) = asker.send(Measure(asked.clone())).await?.ok_or("no answer")?;
        let way = if by == 0 { "by the root" } else { "straight" };
        println!("{what}: {way}, {micros} us");
    }
    Ok(())
}
