//! A bank: accounts in several processes, money that goes between them, and a sum that never changes, also when a process is killed.
//!
//! Branches keep the accounts. The head office has every transfer done, and writes down what branches have acknowledged. A branch that is
//! lost begins anew and is given its accounts as they were written down; what was not acknowledged is asked for again. Each change of an
//! account has a number, so that one that had been made is not made twice. A transfer that has begun is finished, whenever its branches are
//! there. The head office itself must live: `bank-durable` is for those that may not.

use std::{collections::BTreeMap, rc::Rc, time::Duration};

use actogen::{ChildSpec, Supervised, Supervision, prelude::*};
use tokio::sync::{Mutex, RwLock};

/// How long a change waits before it is asked for again.
const PAUSE: Duration = Duration::from_millis(50);

/// An account after a change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// The number of its last change.
    pub change: u64,
    /// What is in it.
    pub balance: u64,
}

/// Has accounts be so, but for those that are further already.
#[derive(Clone, Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "bank.Open")]
struct Open(Vec<(u32, Account)>);

/// Changes an account that is one change behind; answers with the account as it is then. One that has had the change is as it is.
#[derive(Clone, Copy, Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "bank.Change", reply = "Result<Account, Refused>")]
struct Change {
    account: u32,
    number: u64,
    by: i64,
}

/// Why an account is not changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum Refused {
    /// There is not so much in it.
    #[error("there are only {0} in the account")]
    TooLittle(u64),
    /// The branch has lost the account, or changes of it.
    #[error("the branch does not have the account as it was")]
    Behind,
}

/// Asks for the sum of a branch's accounts, which it may have lost.
#[derive(Clone, Copy, Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "bank.Sum", reply = "u64")]
struct Sum;

/// Asks for the branch's process.
#[derive(Clone, Copy, Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "bank.Process", reply = "u32")]
pub struct Process;

/// Keeps accounts.
#[derive(Debug, Default, RemoteActor)]
#[remote(name = "bank.desk", messages(Open, Change, Sum, Process), spawn)]
pub struct Desk(BTreeMap<u32, Account>);

impl Actor for Desk {
    type Context = actix::Context<Self>;
}

impl Desk {
    fn open(&mut self, accounts: Vec<(u32, Account)>) {
        for (number, account) in accounts {
            let known = self.0.entry(number).or_insert(account);
            if known.change < account.change {
                *known = account;
            }
        }
    }

    fn change(&mut self, change: Change) -> Result<Account, Refused> {
        let account = self.0.get_mut(&change.account).ok_or(Refused::Behind)?;
        if account.change + 1 < change.number {
            return Err(Refused::Behind);
        }
        if account.change < change.number {
            let balance = account.balance.checked_add_signed(change.by);
            account.balance = balance.ok_or(Refused::TooLittle(account.balance))?;
            account.change = change.number;
        }
        Ok(*account)
    }
}

impl Handler<Open> for Desk {
    type Result = ();

    fn handle(&mut self, Open(accounts): Open, _: &mut Self::Context) {
        self.open(accounts);
    }
}

impl Handler<Change> for Desk {
    type Result = Result<Account, Refused>;

    fn handle(&mut self, change: Change, _: &mut Self::Context) -> Self::Result {
        self.change(change)
    }
}

impl Handler<Sum> for Desk {
    type Result = u64;

    fn handle(&mut self, _: Sum, _: &mut Self::Context) -> u64 {
        self.0.values().map(|account| account.balance).sum()
    }
}

impl Handler<Process> for Desk {
    type Result = u32;

    fn handle(&mut self, _: Process, _: &mut Self::Context) -> u32 {
        std::process::id()
    }
}

/// Branches in processes of their own, which begin anew when they are lost.
pub fn branches(cx: &Context, count: usize) -> Supervised {
    let mut tree = Supervision::new(actogen::Strategy::OneForOne);
    for n in 0..count {
        let process = format!("process {n}");
        let desk = ChildSpec::spawned::<Desk>(desk(n), ()).in_context(&process);
        tree = tree.child(ChildSpec::context(process, Launch::local)).child(desk);
    }
    cx.supervise(tree)
}

/// The name of a branch's desk.
pub fn desk(branch: usize) -> String {
    format!("desk {branch}")
}

/// Why money was not sent, or is not there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BankError {
    /// There is too little of it; nothing was sent.
    #[error("{0}")]
    Refused(Refused),
    /// A branch is away; nothing was sent.
    #[error(
        "nothing was sent, since the branch of account {account} is away: {why}. Try again when it is back"
    )]
    Away {
        /// The account.
        account: u32,
        /// What is known.
        why: String,
    },
    /// A branch went away meanwhile.
    #[error("the transfer has begun and is finished as soon as both branches are there")]
    Later,
    /// Money has come or gone.
    #[error("there are {there} in all accounts, and should be {expected}")]
    Sum {
        /// What there is.
        there: u64,
        /// What should be.
        expected: u64,
    },
}

/// The head office. A cheap handle.
#[derive(Clone, Debug)]
pub struct Bank(Rc<Office>);

#[derive(Debug)]
struct Office {
    branches: Supervised,
    count: usize,
    /// The accounts as acknowledged; one is locked while it is changed.
    books: Vec<Mutex<Account>>,
    /// A transfer holds it for reading, and who counts for writing.
    quiet: RwLock<()>,
    all: u64,
    patience: Duration,
}

impl Bank {
    /// So many accounts, with so much in each, at these branches by turns. Who asks for a transfer waits this long for it.
    pub fn new(
        branches: Supervised,
        count: usize,
        accounts: u32,
        each: u64,
        patience: Duration,
    ) -> Self {
        let account = Account { change: 0, balance: each };
        let books = (0..accounts).map(|_| Mutex::new(account)).collect();
        let (quiet, all) = (RwLock::default(), each * u64::from(accounts));
        Self(Rc::new(Office { branches, count, books, quiet, all, patience }))
    }

    /// Sends money from one account to another.
    ///
    /// # Errors
    /// [`BankError`].
    pub async fn transfer(&self, from: u32, to: u32, amount: u32) -> Result<(), BankError> {
        for account in [from, to] {
            self.0.is_there(account).await?;
        }
        let office = self.0.clone();
        // It goes on when nobody waits for it any more.
        let transfer = tokio::task::spawn_local(async move {
            let _under_way = office.quiet.read().await;
            office.change(from, -i64::from(amount)).await?;
            office.change(to, amount.into()).await
        });
        match tokio::time::timeout(self.0.patience, transfer).await {
            Ok(Ok(outcome)) => outcome.map_err(BankError::Refused),
            _ => Err(BankError::Later),
        }
    }

    /// Counts what the branches have, while nothing is under way, and says how much that is.
    ///
    /// # Errors
    /// [`BankError::Sum`] when money has come or gone.
    pub async fn audit(&self) -> Result<u64, BankError> {
        let office = &self.0;
        let _nothing_under_way = office.quiet.write().await;
        let (mut there, expected) = (0, office.all);
        for branch in 0..office.count {
            there += office.sum_of(branch).await;
        }
        if there == expected { Ok(there) } else { Err(BankError::Sum { there, expected }) }
    }
}

impl Office {
    fn branch_of(&self, account: u32) -> usize {
        account as usize % self.count
    }

    async fn is_there(&self, account: u32) -> Result<(), BankError> {
        let branch = desk(self.branch_of(account));
        let asked = async {
            let desk = self.branches.child::<Desk>(&branch).await?;
            Ok::<u32, actogen::Error>(desk.send(Process).await?)
        };
        match tokio::time::timeout(self.patience, asked).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(BankError::Away { account, why: error.to_string() }),
            Err(_) => Err(BankError::Away { account, why: "it does not answer".to_owned() }),
        }
    }

    /// Has an account changed, however long that takes.
    async fn change(&self, account: u32, by: i64) -> Result<(), Refused> {
        let mut book = self.books[account as usize].lock().await;
        let change = Change { account, number: book.change + 1, by };
        loop {
            let desk = self.branches.child::<Desk>(&desk(self.branch_of(account))).await;
            if let Ok(desk) = desk {
                match desk.send(change).await {
                    Ok(Ok(changed)) => {
                        *book = changed;
                        return Ok(());
                    }
                    Ok(Err(Refused::Behind)) => {
                        // If this does not arrive, the next answer is the same.
                        let _ = desk.send(Open(vec![(account, *book)])).await;
                        continue;
                    }
                    Ok(Err(refused)) => return Err(refused),
                    Err(error) => tracing::info!("once more: {error}"),
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// What a branch has, once it has all its accounts back.
    async fn sum_of(&self, branch: usize) -> u64 {
        let mut accounts = Vec::new();
        for (account, book) in (0..).zip(&self.books) {
            if self.branch_of(account) == branch {
                accounts.push((account, *book.lock().await));
            }
        }
        loop {
            if let Ok(desk) = self.branches.child::<Desk>(&desk(branch)).await
                && desk.send(Open(accounts.clone())).await.is_ok()
                && let Ok(sum) = desk.send(Sum).await
            {
                return sum;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use actogen::{
        Backoff, Strategy,
        testing::{self, Network, TestMesh},
    };

    use super::*;

    /// Nothing is sent to a branch that is away, and when it is there again not a penny is missing.
    async fn money_waits_for_a_partition_to_end(mesh: &TestMesh) -> actogen::Result<()> {
        let root = mesh.root().await;
        let parents = [root.endpoint().ok_or("it can be dialled")?];
        let east = mesh.child(&root).await;
        let west = mesh.child_with(&root, |west| west.other_parents(parents)).await;
        let mut tree = Supervision::new(Strategy::OneForOne)
            .restarts(1000, Duration::from_secs(3600))
            .start_attempts(u32::MAX)
            .backoff(Backoff::new(PAUSE, PAUSE, PAUSE));
        for (branch, home) in [&east, &west].into_iter().enumerate() {
            let (root, id) = (root.clone(), home.id());
            let place = move |_: &Context| root.place_of(id).into_iter().collect();
            tree = tree.child(ChildSpec::spawned::<Desk>(desk(branch), ()).placed_by(place));
        }
        let bank = Bank::new(root.supervise(tree), 2, 4, 100, mesh.detection_time() / 4);
        bank.transfer(0, 1, 30).await?;
        let refused = bank.transfer(0, 1, 71).await;
        assert_eq!(refused, Err(BankError::Refused(Refused::TooLittle(70))));
        mesh.partition(&[&root], &[&west]);
        let refused = bank.transfer(0, 1, 1).await.unwrap_err();
        assert!(matches!(refused, BankError::Away { account: 1, .. }), "{refused}");
        bank.transfer(0, 2, 5).await?;
        mesh.heal();
        while bank.transfer(1, 0, 1).await.is_err() {
            mesh.pass(PAUSE).await;
        }
        assert_eq!(bank.audit().await?, 400);
        Ok(())
    }

    #[test]
    fn a_partition_in_memory_loses_no_money() {
        testing::over(Network::Memory).run(money_waits_for_a_partition_to_end);
    }

    #[test]
    fn a_partition_of_udp_loses_no_money() {
        testing::over(Network::Udp).run(money_waits_for_a_partition_to_end);
    }

    #[test]
    fn a_change_is_made_once_and_only_behind_the_one_before() {
        let mut desk = Desk::default();
        assert_eq!(desk.change(Change { account: 7, number: 1, by: 5 }), Err(Refused::Behind));
        desk.open(vec![(7, Account { change: 3, balance: 10 })]);
        desk.open(vec![(7, Account { change: 2, balance: 99 })]);
        let mut change =
            |number, by| desk.change(Change { account: 7, number, by }).map(|now| now.balance);
        assert_eq!((change(4, -4), change(4, -4)), (Ok(6), Ok(6)));
        assert_eq!(
            (change(6, 1), change(5, -7)),
            (Err(Refused::Behind), Err(Refused::TooLittle(6)))
        );
        assert_eq!(change(5, 1), Ok(7));
    }
}
