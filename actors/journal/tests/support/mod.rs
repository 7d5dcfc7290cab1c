//! Actors that the tests journal: accounts between which money goes.

#![allow(dead_code, reason = "each test uses its own part")]

pub(crate) mod conformance;
#[cfg(feature = "postgres")]
pub(crate) mod postgres;

use std::time::Duration;

use actogen::prelude::*;
use actogen_journal::{Journaled, JournaledActor, TimerId, Turn};

#[derive(RemoteMessage, Serialize, Deserialize)]
#[remote(name = "bank.Deposit", reply = "u64")]
pub(crate) struct Deposit(pub u64);

#[derive(RemoteMessage, Serialize, Deserialize)]
#[remote(name = "bank.Balance", reply = "u64")]
pub(crate) struct Balance;

/// Sends part of what is there to another account; answers whether there was enough.
#[derive(RemoteMessage, Serialize, Deserialize)]
#[remote(name = "bank.Transfer", reply = "bool")]
pub(crate) struct Transfer {
    pub to: Journaled<Account>,
    pub amount: u64,
}

#[derive(RemoteMessage, Serialize, Deserialize)]
#[remote(name = "bank.Credit")]
pub(crate) struct Credit(pub u64);

/// What the account has been credited, in order.
#[derive(RemoteMessage, Serialize, Deserialize)]
#[remote(name = "bank.Credits", reply = "Vec<u64>")]
pub(crate) struct Credits;

/// Credits the account itself after some time.
#[derive(RemoteMessage, Serialize, Deserialize)]
#[remote(name = "bank.Later", reply = "TimerId")]
pub(crate) struct Later(pub Duration, pub u64);

#[derive(RemoteMessage, Serialize, Deserialize)]
#[remote(name = "bank.Cancel")]
pub(crate) struct Cancel(pub TimerId);

/// Panics, having changed the state and sent a message.
#[derive(RemoteMessage, Serialize, Deserialize)]
#[remote(name = "bank.Panic", reply = "u64")]
pub(crate) struct Panic(pub Journaled<Account>);

/// Makes the receiver panic: sent by another account.
#[derive(RemoteMessage, Serialize, Deserialize)]
#[remote(name = "bank.Poison")]
pub(crate) struct Poison;

#[derive(RemoteMessage, Serialize, Deserialize)]
#[remote(name = "bank.SendPoison")]
pub(crate) struct SendPoison(pub Journaled<Account>);

/// Makes the account itself panic by a timer.
#[derive(RemoteMessage, Serialize, Deserialize)]
#[remote(name = "bank.PoisonLater")]
pub(crate) struct PoisonLater;

/// Time and random numbers of this turn.
#[derive(RemoteMessage, Serialize, Deserialize)]
#[remote(name = "bank.Draw", reply = "(std::time::SystemTime, u64, u64)")]
pub(crate) struct Draw;

#[derive(RemoteMessage, Serialize, Deserialize)]
#[remote(name = "bank.Close")]
pub(crate) struct Close;

#[derive(Debug, Default, JournaledActor, Serialize, Deserialize)]
#[journaled(
    kind = "account",
    messages(
        Deposit,
        Balance,
        Transfer,
        Credit,
        Credits,
        Later,
        Cancel,
        Panic,
        Poison,
        SendPoison,
        PoisonLater,
        Draw,
        Close
    )
)]
pub(crate) struct Account {
    balance: u64,
    credits: Vec<u64>,
    drawn: u64,
}

impl Actor for Account {
    type Context = Turn<Self>;
}

impl Handler<Deposit> for Account {
    type Result = u64;
    fn handle(&mut self, deposit: Deposit, _: &mut Turn<Self>) -> u64 {
        self.balance += deposit.0;
        self.balance
    }
}

impl Handler<Balance> for Account {
    type Result = u64;
    fn handle(&mut self, _: Balance, _: &mut Turn<Self>) -> u64 {
        self.balance
    }
}

impl Handler<Transfer> for Account {
    type Result = bool;
    fn handle(&mut self, Transfer { to, amount }: Transfer, turn: &mut Turn<Self>) -> bool {
        let Some(left) = self.balance.checked_sub(amount) else { return false };
        self.balance = left;
        turn.send(&to, Credit(amount));
        true
    }
}

impl Handler<Credit> for Account {
    type Result = ();
    fn handle(&mut self, credit: Credit, _: &mut Turn<Self>) {
        self.balance += credit.0;
        self.credits.push(credit.0);
    }
}

impl Handler<Credits> for Account {
    type Result = Vec<u64>;
    fn handle(&mut self, _: Credits, _: &mut Turn<Self>) -> Vec<u64> {
        self.credits.clone()
    }
}

impl Handler<Later> for Account {
    type Result = actix::MessageResult<Later>;
    fn handle(&mut self, later: Later, turn: &mut Turn<Self>) -> Self::Result {
        actix::MessageResult(turn.send_after(later.0, Credit(later.1)))
    }
}

impl Handler<Cancel> for Account {
    type Result = ();
    fn handle(&mut self, cancel: Cancel, turn: &mut Turn<Self>) {
        turn.cancel(cancel.0);
    }
}

impl Handler<Panic> for Account {
    type Result = u64;
    fn handle(&mut self, Panic(to): Panic, turn: &mut Turn<Self>) -> u64 {
        self.balance += 1_000_000;
        turn.send(&to, Credit(1_000_000));
        panic!("as was asked")
    }
}

impl Handler<Poison> for Account {
    type Result = ();
    fn handle(&mut self, _: Poison, _: &mut Turn<Self>) {
        panic!("poison")
    }
}

impl Handler<SendPoison> for Account {
    type Result = ();
    fn handle(&mut self, SendPoison(to): SendPoison, turn: &mut Turn<Self>) {
        turn.send(&to, Poison);
    }
}

impl Handler<PoisonLater> for Account {
    type Result = ();
    fn handle(&mut self, _: PoisonLater, turn: &mut Turn<Self>) {
        turn.send_after(Duration::ZERO, Poison);
    }
}

impl Handler<Draw> for Account {
    type Result = actix::MessageResult<Draw>;
    fn handle(&mut self, _: Draw, turn: &mut Turn<Self>) -> Self::Result {
        self.drawn = turn.random();
        actix::MessageResult((turn.now(), self.drawn, turn.random()))
    }
}

impl Handler<Close> for Account {
    type Result = ();
    fn handle(&mut self, _: Close, turn: &mut Turn<Self>) {
        turn.end();
    }
}

/// Waits until a condition holds.
pub(crate) async fn until<T: PartialEq + std::fmt::Debug>(
    what: &str,
    expected: T,
    mut look: impl AsyncFnMut() -> T,
) {
    let begun = tokio::time::Instant::now();
    loop {
        let found = look().await;
        if found == expected {
            return;
        }
        assert!(
            begun.elapsed() < Duration::from_secs(60),
            "{what}: {found:?} instead of {expected:?}"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
