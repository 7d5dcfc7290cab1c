//! Names: an actor that already runs is bound, registered under a name, and found by it.

use actogen::prelude::*;

#[derive(RemoteMessage, Serialize, Deserialize)]
#[remote(name = "greeter.Greet", reply = "String")]
struct Greet(String);

#[derive(RemoteActor)]
#[remote(name = "greeter", messages(Greet))]
struct Greeter {
    greeting: &'static str,
}

impl Actor for Greeter {
    type Context = actix::Context<Self>;
}

impl Handler<Greet> for Greeter {
    type Result = String;

    fn handle(&mut self, Greet(whom): Greet, _: &mut Self::Context) -> String {
        format!("{}, {whom}!", self.greeting)
    }
}

/// An actor of another kind, which is not mistaken for a greeter.
#[derive(RemoteActor)]
#[remote(name = "deaf")]
struct Deaf;

impl Actor for Deaf {
    type Context = actix::Context<Self>;
}

#[actogen::main]
async fn main(cx: Context) -> actogen::Result<()> {
    // An ordinary actix actor, started as always; binding makes it reachable.
    let running: Addr<Greeter> = Greeter { greeting: "Good evening" }.start();
    let greeter = cx.bind(&running)?;
    cx.register("front-desk", &greeter)?;

    let found: Remote<Greeter> = cx.lookup("front-desk").await?;
    println!("{}", found.send(Greet("Ada".into())).await?);

    // What is wrong is said: no such name there, an actor of another kind, a name that is taken.
    let child = cx.launch(Launch::local()).await?;
    if let Err(error) = child.lookup::<Greeter>("front-desk").await {
        println!("{error}");
    }
    if let Err(error) = cx.lookup::<Deaf>("front-desk").await {
        println!("{error}");
    }
    let other = cx.start(Deaf);
    if let Err(error) = cx.register("front-desk", &other) {
        println!("{error}");
    }
    Ok(())
}
