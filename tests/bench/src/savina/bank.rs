//! Transfers between accounts by chance. An account that gives asks the one that takes, and answers the teller when that has. What all have together
//! is asked for at the end, and must be what it was.

use actogen::prelude::*;
use futures_util::future::join_all;

use super::stage::{Go, Port, Side, Stage};
use crate::failure::Failure;

/// Transfers in a performance.
pub(super) const SIZE: u32 = 4000;

const ACCOUNTS: usize = 1000;

/// Whether it was taken.
#[derive(RemoteMessage, Serialize, Deserialize)]
#[remote(name = "actogen-bench.savina.Transfer", reply = "bool")]
struct Transfer {
    amount: i64,
    to: Port<Deposit>,
}

#[derive(RemoteMessage, Serialize, Deserialize)]
#[remote(name = "actogen-bench.savina.Deposit")]
struct Deposit(i64);

#[derive(RemoteMessage, Serialize, Deserialize)]
#[remote(name = "actogen-bench.savina.Balance", reply = "i64")]
struct Balance;

/// An account as the teller knows it.
#[derive(Clone, Serialize, Deserialize)]
struct Known {
    transfer: Port<Transfer>,
    deposit: Port<Deposit>,
    balance: Port<Balance>,
}

#[derive(RemoteActor, Serialize, Deserialize)]
#[remote(
    name = "actogen-bench.savina.account",
    messages(Transfer, Deposit, Balance),
    spawn(Account)
)]
struct Account(i64);

impl Actor for Account {
    type Context = actix::Context<Self>;
}

impl Handler<Transfer> for Account {
    type Result = ResponseFuture<bool>;

    fn handle(&mut self, Transfer { amount, to }: Transfer, _: &mut Self::Context) -> Self::Result {
        self.0 -= amount;
        let taken = to.ask(Deposit(amount));
        Box::pin(async move { taken.await.is_some() })
    }
}

impl Handler<Deposit> for Account {
    type Result = ();

    fn handle(&mut self, Deposit(amount): Deposit, _: &mut Self::Context) {
        self.0 += amount;
    }
}

impl Handler<Balance> for Account {
    type Result = i64;

    fn handle(&mut self, _: Balance, _: &mut Self::Context) -> i64 {
        self.0
    }
}

#[derive(RemoteActor)]
#[remote(name = "actogen-bench.savina.teller", messages(Go))]
struct Teller {
    accounts: Vec<Known>,
    /// The state of a generator by Lehmer.
    chance: u64,
}

impl Actor for Teller {
    type Context = actix::Context<Self>;
}

impl Teller {
    fn draw(&mut self, below: usize) -> usize {
        self.chance = self.chance * 48_271 % 0x7fff_ffff;
        self.chance as usize % below
    }

    /// Gives whether it was taken; asks at once.
    fn transfer(&mut self) -> impl Future<Output = Option<bool>> + use<> {
        let from = self.draw(ACCOUNTS);
        let to = (from + 1 + self.draw(ACCOUNTS - 1)) % ACCOUNTS;
        let amount = self.draw(1000) as i64;
        let to = self.accounts[to].deposit.clone();
        self.accounts[from].transfer.ask(Transfer { amount, to })
    }
}

impl Handler<Go> for Teller {
    type Result = ResponseFuture<Result<u64, String>>;

    fn handle(&mut self, Go(transfers): Go, _: &mut Self::Context) -> Self::Result {
        let asked: Vec<_> = (0..transfers).map(|_| self.transfer()).collect();
        let balances: Vec<_> = self.accounts.iter().map(|known| known.balance.clone()).collect();
        Box::pin(async move {
            if join_all(asked).await.into_iter().any(|taken| taken != Some(true)) {
                return Err("a transfer has failed".into());
            }
            let balances = join_all(balances.iter().map(|balance| balance.ask(Balance))).await;
            match balances.into_iter().sum::<Option<i64>>() {
                // Four of a transfer, and two of a look at a balance.
                Some(0) => Ok(4 * u64::from(transfers) + 2 * ACCOUNTS as u64),
                sum => Err(format!("all have {sum:?} together, and had nothing")),
            }
        })
    }
}

pub(super) async fn start(stage: &Stage) -> Result<Port<Go>, Failure> {
    let mut accounts = Vec::new();
    for number in 0..ACCOUNTS {
        let account = stage.start(Side::of(number), Account(0)).await?;
        let (transfer, deposit, balance) = (account.port(), account.port(), account.port());
        accounts.push(Known { transfer, deposit, balance });
    }
    Ok(stage.lead(Teller { accounts, chance: 1 }).port())
}
