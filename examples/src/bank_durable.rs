//! Accounts that several processes keep, each in a journal of its own; money goes between them, and none is lost or made when a process
//! is killed.

use std::path::PathBuf;

use actix::MessageResult;
use actogen::prelude::*;
use actogen_journal::{Client, Journal, Journaled, JournaledActor, NameError, Turn};

/// Puts money in; answers the balance.
#[derive(Clone, Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "bank.Deposit", reply = "u64")]
pub struct Deposit(pub u64);

/// Sends money to another account, if there is as much; answers whether there was.
#[derive(Clone, Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "bank.Transfer", reply = "bool")]
pub struct Transfer {
    /// Where it goes.
    pub to: Journaled<Account>,
    /// How much.
    pub amount: u64,
}

/// Money from another account.
#[derive(Clone, Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "bank.Receive")]
struct Receive(u64);

/// Asks for the account as it is.
#[derive(Clone, Copy, Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "bank.Statement", reply = "Account")]
pub struct Statement;

/// An account: its state is all of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, JournaledActor, Serialize, Deserialize)]
#[journaled(kind = "account", messages(Deposit, Transfer, Receive, Statement))]
pub struct Account {
    /// What is there.
    pub balance: u64,
    /// What it has sent to others, ever.
    pub sent: u64,
    /// What it has received from others, ever.
    pub received: u64,
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

impl Handler<Transfer> for Account {
    type Result = bool;

    fn handle(&mut self, Transfer { to, amount }: Transfer, turn: &mut Turn<Self>) -> bool {
        let Some(left) = self.balance.checked_sub(amount) else { return false };
        (self.balance, self.sent) = (left, self.sent + amount);
        // On its way it is in nobody's balance. It arrives, once.
        turn.send(&to, Receive(amount));
        true
    }
}

impl Handler<Receive> for Account {
    type Result = ();

    fn handle(&mut self, Receive(amount): Receive, _: &mut Turn<Self>) {
        (self.balance, self.received) = (self.balance + amount, self.received + amount);
    }
}

impl Handler<Statement> for Account {
    type Result = MessageResult<Statement>;

    fn handle(&mut self, _: Statement, _: &mut Turn<Self>) -> Self::Result {
        MessageResult(*self)
    }
}

/// A branch: a process with a journal. Where a context is to be one, `child.spawn::<Branch>((file, name))`.
#[derive(Debug, RemoteActor)]
#[remote(name = "bank.branch", spawn = custom)]
pub struct Branch {
    context: Context,
    file: PathBuf,
    name: String,
}

impl Spawn for Branch {
    type Args = (PathBuf, String);

    fn spawn((file, name): Self::Args, context: &Context) -> Self {
        Self { context: context.clone(), file, name }
    }
}

impl Actor for Branch {
    type Context = actix::Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        use actix::{ActorContext, AsyncContext, WrapFuture, fut::ActorFutureExt};
        let opening = Journal::builder(&self.context, self.file.clone())
            .node(&self.name)
            .kind::<Account>()
            // A message that is on its way whenever the process is killed is not to blame.
            .attempts(u32::MAX)
            .open();
        ctx.wait(opening.into_actor(self).map(|opened, _, ctx| {
            if let Err(error) = opened {
                tracing::error!("the branch cannot open its journal: {error}");
                ctx.stop();
            }
        }));
    }
}

/// A bank: accounts, spread over branches.
#[derive(Debug)]
pub struct Bank {
    client: Client,
    accounts: Vec<Journaled<Account>>,
}

impl Bank {
    /// So many accounts at these branches, asked through this context.
    ///
    /// # Errors
    /// [`NameError`].
    pub fn new(context: &Context, branches: &[String], accounts: usize) -> Result<Self, NameError> {
        let at =
            |number: usize| Journaled::at(&branches[number % branches.len()], &number.to_string());
        let accounts = (0..accounts).map(at).collect::<Result<_, _>>()?;
        Ok(Self { client: Client::new(context), accounts })
    }

    /// Its accounts.
    pub fn accounts(&self) -> &[Journaled<Account>] {
        &self.accounts
    }

    /// Who asks them.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// What is in all accounts, and what is on its way between them.
    ///
    /// # Errors
    /// When an account does not answer within the asker's limit.
    pub async fn audit(&self) -> actogen::Result<Audit> {
        let mut audit = Audit::default();
        for account in &self.accounts {
            let Account { balance, sent, received } = self.client.send(account, Statement).await?;
            audit.balances += balance;
            audit.sent += sent;
            audit.received += received;
        }
        Ok(audit)
    }
}

/// Sums over all accounts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Audit {
    /// Of what is there.
    pub balances: u64,
    /// Of what was ever sent.
    pub sent: u64,
    /// Of what was ever received.
    pub received: u64,
}

impl Audit {
    /// Whether nothing is on its way.
    pub fn is_settled(&self) -> bool {
        self.sent == self.received
    }
}
