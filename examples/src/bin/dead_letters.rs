//! Dead letters: what could not be delivered is never just gone. It is counted, and whoever wants to can see it.

use actogen::prelude::*;

#[derive(RemoteMessage, Serialize, Deserialize)]
#[remote(name = "post.Letter")]
struct Letter(String);

#[derive(RemoteActor, Default)]
#[remote(name = "post.addressee", messages(Letter), spawn)]
struct Addressee;

impl Actor for Addressee {
    type Context = actix::Context<Self>;
}

impl Handler<Letter> for Addressee {
    type Result = ();

    fn handle(&mut self, _: Letter, _: &mut Self::Context) {}
}

#[actogen::main]
async fn main(cx: Context) -> actogen::Result<()> {
    let mut letters = cx.dead_letters();
    let child = cx.launch(Launch::local()).await?;
    let far = child.spawn::<Addressee>(()).await?;
    let near = cx.start(Addressee);

    // An actor of this context that has stopped.
    let down = cx.watch(&near);
    cx.unbind(&near);
    down.await;
    near.do_send(Letter("to one who has moved out".into()));
    if let Some(Ok(letter)) = letters.next().await {
        println!("{}", letter.dead);
    }

    // An actor whose whole process is gone.
    let down = cx.watch(&far);
    child.kill().await;
    down.await;
    far.do_send(Letter("to a house that burnt down".into()));
    if let Some(Ok(letter)) = letters.next().await {
        println!("{}", letter.dead);
    }

    // With `send` and `tell` the sender hears of it himself, and has the message back if it never left.
    if let Err(error) = far.send(Letter("registered".into())).await {
        println!("{error}");
        if let Some(Letter(text)) = error.into_message() {
            println!("back: {text}");
        }
    }
    println!("{} dead letters", cx.stats().dead());
    Ok(())
}
