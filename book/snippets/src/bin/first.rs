//! The tutorial's program: a calculator in another process, asked, watched and lost.

// ANCHOR: program
// ANCHOR: message
use actogen::prelude::*;

#[derive(RemoteMessage, Serialize, Deserialize)]
#[remote(name = "calc.Add", reply = "i64")]
struct Add(i64, i64);
// ANCHOR_END: message

// ANCHOR: actor
#[derive(RemoteActor, Default)]
#[remote(name = "calc", messages(Add), spawn)]
struct Calc;

impl Actor for Calc {
    type Context = actix::Context<Self>;
}

impl Handler<Add> for Calc {
    type Result = i64;

    fn handle(&mut self, Add(a, b): Add, _: &mut Self::Context) -> i64 {
        a + b
    }
}
// ANCHOR_END: actor

// ANCHOR: main
#[actogen::main]
async fn main(cx: Context) -> actogen::Result<()> {
    // ANCHOR: spawn
    let child = cx.launch(Launch::local()).await?;
    let calc: Remote<Calc> = child.spawn::<Calc>(()).await?;
    println!("2 + 3 = {}", calc.send(Add(2, 3)).await?);
    // ANCHOR_END: spawn

    // ANCHOR: lost
    let down = cx.watch(&calc);
    child.kill().await;
    println!("{}", down.await);
    // ANCHOR_END: lost
    Ok(())
}
// ANCHOR_END: main
// ANCHOR_END: program
