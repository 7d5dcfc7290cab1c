//! The first remote actor: a calculator in another process, asked, watched and lost.

use actogen::prelude::*;

#[derive(RemoteMessage, Serialize, Deserialize)]
#[remote(name = "calc.Add", reply = "i64")]
struct Add(i64, i64);

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

#[actogen::main]
async fn main(cx: Context) -> actogen::Result<()> {
    // The child is this same program, in a process of its own; there `main` is not run.
    let child = cx.launch(Launch::local()).await?;
    let calc: Remote<Calc> = child.spawn::<Calc>(()).await?;
    println!("2 + 3 = {}", calc.send(Add(2, 3)).await?);

    let down = cx.watch(&calc);
    child.kill().await;
    println!("{}", down.await);
    Ok(())
}
