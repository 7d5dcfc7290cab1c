//! Policies: holding an address is a capability, and a policy narrows who may use it. A refusal is an answer, never silence.

use actogen::{Policy, prelude::*};

#[derive(RemoteMessage, Serialize, Deserialize)]
#[remote(name = "safe.Open", reply = "String")]
struct Open;

#[derive(RemoteActor)]
#[remote(name = "safe", messages(Open))]
struct Safe;

impl Actor for Safe {
    type Context = actix::Context<Self>;
}

impl Handler<Open> for Safe {
    type Result = String;

    fn handle(&mut self, _: Open, _: &mut Self::Context) -> String {
        "opened".into()
    }
}

#[derive(RemoteMessage, Serialize, Deserialize)]
#[remote(name = "thief.Try", reply = "String")]
struct Try(Remote<Safe>);

/// Tries, from another process, the safes that it is told of.
#[derive(RemoteActor, Default)]
#[remote(name = "thief", messages(Try), spawn)]
struct Thief;

impl Actor for Thief {
    type Context = actix::Context<Self>;
}

impl Handler<Try> for Thief {
    type Result = ResponseFuture<String>;

    fn handle(&mut self, Try(safe): Try, _: &mut Self::Context) -> Self::Result {
        Box::pin(async move { open(&safe).await })
    }
}

async fn open(safe: &Remote<Safe>) -> String {
    match safe.send(Open).await {
        Ok(answer) => answer,
        // The whole error also names the contexts involved and the policy; the reason is enough here.
        Err(error) => error.reason().map_or_else(|| error.to_string(), |reason| reason.to_string()),
    }
}

#[actogen::main]
async fn main(cx: Context) -> actogen::Result<()> {
    let child = cx.launch(Launch::local()).await?;
    let thief = child.spawn::<Thief>(()).await?;

    let trusted = child.id();
    for policy in [
        Policy::Anyone,
        Policy::OnlySelf,
        Policy::ParentAuthority,
        Policy::ImmediateChild,
        Policy::custom("is_trusted", move |origin, _| origin.source == trusted),
    ] {
        let name = policy.name();
        let safe = cx.start_with(Safe, policy);
        println!("{name}, from here: {}", open(&safe).await);
        println!("{name}, from the child: {}", thief.send(Try(safe)).await?);
    }
    Ok(())
}
