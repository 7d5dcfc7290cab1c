//! Watching: whoever watches an actor gets exactly one notice, and it says why the actor is gone.

use actogen::prelude::*;

#[derive(RemoteMessage, Serialize, Deserialize)]
#[remote(name = "sleeper.Leave")]
struct Leave;

#[derive(RemoteMessage, Serialize, Deserialize)]
#[remote(name = "sleeper.Stumble")]
struct Stumble;

#[derive(RemoteActor, Default)]
#[remote(name = "sleeper", messages(Leave, Stumble), spawn)]
struct Sleeper;

impl Actor for Sleeper {
    type Context = actix::Context<Self>;
}

impl Handler<Leave> for Sleeper {
    type Result = ();

    fn handle(&mut self, _: Leave, ctx: &mut Self::Context) {
        ctx.stop();
    }
}

impl Handler<Stumble> for Sleeper {
    type Result = ();

    fn handle(&mut self, _: Stumble, _: &mut Self::Context) {
        panic!("over a stone");
    }
}

#[actogen::main]
async fn main(cx: Context) -> actogen::Result<()> {
    let child = cx.launch(Launch::local()).await?;
    let leaves = child.spawn::<Sleeper>(()).await?;
    let stumbles = child.spawn::<Sleeper>(()).await?;
    let stays = child.spawn::<Sleeper>(()).await?;

    let down = cx.watch(&leaves);
    leaves.tell(Leave).await?;
    println!("one: {}", down.await);

    // The panic ends that actor alone; its process and its neighbours go on.
    let down = cx.watch(&stumbles);
    stumbles.tell(Stumble).await?;
    println!("two: {}", down.await);

    let down = cx.watch(&stays);
    child.kill().await;
    println!("three: {}", down.await);

    // One who comes too late is told so at once.
    println!("too late: {}", cx.watch(&stays).await);
    Ok(())
}
