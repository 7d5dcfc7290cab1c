//! The ways to send: `send` for an answer, `tell` with backpressure, `try_send` and `do_send` without waiting.

use actogen::prelude::*;

#[derive(RemoteMessage, Serialize, Deserialize)]
#[remote(name = "account.Deposit")]
struct Deposit(u64);

#[derive(RemoteMessage, Serialize, Deserialize)]
#[remote(name = "account.Withdraw", reply = "Result<u64, Overdrawn>")]
struct Withdraw(u64);

/// What an author's own error looks like: any type that serde can write and read.
#[derive(Debug, Serialize, Deserialize)]
struct Overdrawn {
    missing: u64,
}

#[derive(RemoteActor, Default)]
#[remote(name = "account", messages(Deposit, Withdraw), spawn)]
struct Account {
    balance: u64,
}

impl Actor for Account {
    type Context = actix::Context<Self>;
}

impl Handler<Deposit> for Account {
    type Result = ();

    fn handle(&mut self, Deposit(amount): Deposit, _: &mut Self::Context) {
        self.balance += amount;
    }
}

impl Handler<Withdraw> for Account {
    type Result = Result<u64, Overdrawn>;

    fn handle(&mut self, Withdraw(amount): Withdraw, _: &mut Self::Context) -> Self::Result {
        match self.balance.checked_sub(amount) {
            Some(rest) => {
                self.balance = rest;
                Ok(rest)
            }
            None => Err(Overdrawn { missing: amount - self.balance }),
        }
    }
}

#[actogen::main]
async fn main(cx: Context) -> actogen::Result<()> {
    let child = cx.launch(Launch::local()).await?;
    let account = child.spawn::<Account>(()).await?;

    // One way. `tell` waits for room on the way, so a fast sender goes at the pace of the link.
    account.tell(Deposit(60)).await?;

    // One way, now or never: a message that finds no room comes back.
    if let Err(error) = account.try_send(Deposit(30)) {
        println!("not sent: {error}");
    }

    // One way, and no more thought of it: if it can't go, it becomes a counted dead letter.
    account.do_send(Deposit(10));

    // With an answer. All of these arrive in the order in which they were sent.
    match account.send(Withdraw(75)).await? {
        Ok(rest) => println!("75 withdrawn, {rest} left"),
        Err(Overdrawn { missing }) => println!("75 not withdrawn, {missing} missing"),
    }
    match account.send(Withdraw(75)).await? {
        Ok(rest) => println!("75 withdrawn, {rest} left"),
        Err(Overdrawn { missing }) => println!("75 not withdrawn, {missing} missing"),
    }
    Ok(())
}
