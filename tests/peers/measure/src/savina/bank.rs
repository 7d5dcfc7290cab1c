//! Transfers between accounts by chance. An account that gives asks the one that takes, and answers the teller when that has. What all have together
//! is asked for at the end, and must be what it was.

use std::sync::Arc;

use futures_util::future::join_all;
use tokio::sync::oneshot;

use super::{Behaviour, Chance, Go, Later, Leader, Side, System};
use crate::Error;

/// Transfers in a performance.
pub(super) const SIZE: u32 = 4000;

const ACCOUNTS: usize = 1000;

enum Turn<S: System> {
    Transfer { amount: i64, to: S::Address<Account<S>>, taken: oneshot::Sender<()> },
    Deposit { amount: i64, taken: oneshot::Sender<()> },
    Balance(oneshot::Sender<i64>),
}

super::opaque!(Turn);

struct Account<S: System> {
    balance: i64,
    system: std::marker::PhantomData<S>,
}

impl<S: System> Behaviour<S> for Account<S> {
    type Message = Turn<S>;

    fn handle(&mut self, message: Turn<S>) -> Option<Later> {
        match message {
            Turn::Transfer { amount, to, taken } => {
                self.balance -= amount;
                let (deposited, is_deposited) = oneshot::channel();
                S::tell(&to, Turn::Deposit { amount, taken: deposited });
                return Some(Box::pin(async move {
                    if is_deposited.await.is_ok() {
                        let _ = taken.send(());
                    }
                }));
            }
            Turn::Deposit { amount, taken } => {
                self.balance += amount;
                let _ = taken.send(());
            }
            Turn::Balance(asked) => {
                let _ = asked.send(self.balance);
            }
        }
        None
    }
}

struct Teller<S: System> {
    accounts: Arc<Vec<S::Address<Account<S>>>>,
    chance: Chance,
}

impl<S: System> Teller<S> {
    /// Asks at once; resolves when it was taken.
    fn transfer(&mut self) -> oneshot::Receiver<()> {
        let from = self.chance.below(ACCOUNTS);
        let to = (from + 1 + self.chance.below(ACCOUNTS - 1)) % ACCOUNTS;
        let amount = self.chance.below(1000) as i64;
        let (taken, is_taken) = oneshot::channel();
        let to = self.accounts[to].clone();
        S::tell(&self.accounts[from], Turn::Transfer { amount, to, taken });
        is_taken
    }
}

impl<S: System> Behaviour<S> for Teller<S> {
    type Message = Go;

    fn handle(&mut self, Go { size, done }: Go) -> Option<Later> {
        let asked: Vec<_> = (0..size).map(|_| self.transfer()).collect();
        let accounts = self.accounts.clone();
        Some(Box::pin(async move {
            let performed = if join_all(asked).await.iter().any(Result::is_err) {
                Err("a transfer has failed".to_owned())
            } else {
                let balances = accounts.iter().map(|account| {
                    let (asked, told) = oneshot::channel();
                    S::tell(account, Turn::Balance(asked));
                    told
                });
                // Four of a transfer, and two of a look at a balance.
                match join_all(balances).await.into_iter().sum::<Result<i64, _>>() {
                    Ok(0) => Ok(4 * u64::from(size) + 2 * ACCOUNTS as u64),
                    sum => Err(format!("all have {sum:?} together, and had nothing")),
                }
            };
            let _ = done.send(performed);
        }))
    }
}

pub(super) async fn start<S: System>(system: &S) -> Result<Leader, Error> {
    let mut accounts = Vec::new();
    for number in 0..ACCOUNTS {
        let account = Account::<S> { balance: 0, system: std::marker::PhantomData };
        accounts.push(system.start(Side::of(number), account).await?);
    }
    let teller = Teller::<S> { accounts: Arc::new(accounts), chance: Chance(1) };
    let teller = system.start(Side::Here, teller).await?;
    Ok(Arc::new(move |go| S::tell(&teller, go)))
}
