//! Accounts in several processes, transfers between them, and a loop that kills processes: at the end not a penny is missing.
//!
//! ```sh
//! cargo run --release -p actogen-examples --bin bank-durable -- --seconds 10
//! ```

use std::{
    cell::Cell,
    path::{Path, PathBuf},
    process::ExitCode,
    rc::Rc,
    time::{Duration, Instant},
};

use actogen::{
    Child,
    prelude::*,
    testing::{Conditions, Relay, RelayStats},
};
use actogen_examples::bank_durable::{Audit, Bank, Branch, Deposit, Transfer};
use clap::Parser;

/// Accounts that several processes keep, while they are killed.
#[derive(Clone, Debug, Parser)]
#[command(
    after_help = "Exit status: 0 when all money is accounted for, 1 when it is not or a process cannot be had, 2 misused."
)]
struct Arguments {
    /// How many processes keep accounts
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=32))]
    processes: u8,
    /// How many accounts there are
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u16).range(2..=10_000))]
    accounts: u16,
    /// For how many seconds money is sent around
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Milliseconds between two kills
    #[arg(long, default_value_t = 500)]
    kill_every: u64,
    /// Drop one of 50 datagrams between the processes, delay the others by up to 10 ms, and let a third of them be overtaken
    #[arg(long)]
    rough: bool,
    /// Keep the journals in this folder, where another run goes on with them; else in one that is removed
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
}

/// What chance is made of that befalls datagrams.
const SEED: u64 = 1;

/// A network that is worse than most.
const ROUGH: Conditions = Conditions {
    delay: Duration::from_millis(2),
    jitter: Duration::from_millis(8),
    loss: 0.02,
    reorder: 0.33,
    ..Conditions::GOOD
};

/// What each account begins with.
const BEGINNING: u64 = 1000;

/// How long the last money may be on its way.
const PATIENCE: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    if let Some(status) = actogen::run_as_child(|builder| builder) {
        return status;
    }
    let arguments = Arguments::parse();
    match actix::System::new().block_on(run(arguments)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("bank-durable: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> actogen::Result<bool> {
    let temporary = tempfile::tempdir()?;
    let folder = arguments.folder.clone().unwrap_or_else(|| temporary.path().to_owned());
    std::fs::create_dir_all(&folder)?;
    let mesh = actogen::Mesh::fresh("bank-durable")?;
    let (context, relay) = begun(mesh, arguments.rough).await?;
    let names: Vec<String> = (1..=arguments.processes).map(|n| format!("branch-{n}")).collect();
    let mut branches = Vec::new();
    for name in &names {
        branches.push(open(&context, &folder, name).await?);
    }
    let bank = Rc::new(Bank::new(&context, &names, arguments.accounts.into())?);
    let before = settled(&bank).await?;
    for account in bank.accounts() {
        bank.client().send(account, Deposit(BEGINNING)).await?;
    }
    let all = before.balances + BEGINNING * u64::from(arguments.accounts);
    println!("{all} in {} accounts of {} processes", arguments.accounts, arguments.processes);

    let (is_over, transfers) = (Rc::new(Cell::new(false)), Rc::new(Cell::new(0_u64)));
    let senders: Vec<_> = (0..bank.accounts().len())
        .map(|sender| {
            let (bank, is_over, transfers) = (bank.clone(), is_over.clone(), transfers.clone());
            tokio::task::spawn_local(async move {
                let mut step = sender;
                while !is_over.get() {
                    step += 7;
                    let accounts = bank.accounts();
                    let to = accounts[(sender + 1 + step % (accounts.len() - 1)) % accounts.len()]
                        .clone();
                    let amount = 1 + step as u64 % 50;
                    let sent =
                        bank.client().send(&accounts[sender], Transfer { to, amount }).await?;
                    transfers.set(transfers.get() + u64::from(sent));
                }
                Ok::<_, actogen_journal::AskError>(())
            })
        })
        .collect();

    let end = Instant::now() + Duration::from_secs(arguments.seconds);
    let mut kills = 0;
    while Instant::now() < end {
        tokio::time::sleep(Duration::from_millis(arguments.kill_every)).await;
        let which = kills % branches.len();
        branches[which].kill().await;
        branches[which] = open(&context, &folder, &names[which]).await?;
        kills += 1;
    }
    is_over.set(true);
    for sender in senders {
        sender.await??;
    }
    let audit = settled(&bank).await?;
    println!("{} transfers, {kills} processes killed", transfers.get());
    if let Some(relay) = relay {
        let RelayStats { passed, lost, overflowed, held_back, .. } = relay.stats();
        let dropped = lost + overflowed;
        println!("{dropped} of {} datagrams dropped, {held_back} overtaken", passed + dropped);
    }
    println!("{} in the accounts, {} on its way", audit.balances, audit.sent - audit.received);
    let holds = audit.balances == all && audit.is_settled();
    println!(
        "{}",
        if holds { "all money is accounted for" } else { "MONEY IS MISSING, OR WAS MADE" }
    );
    for branch in branches {
        branch.kill().await;
    }
    context.shutdown().await;
    Ok(holds)
}

/// The root, behind a network that is as good as the machine's own or much worse.
async fn begun(mesh: actogen::Mesh, rough: bool) -> actogen::Result<(Context, Option<Relay>)> {
    let builder = Context::builder().mesh(mesh);
    if !rough {
        return Ok((builder.listen("127.0.0.1:0").start().await?, None));
    }
    let relay = Relay::new(SEED)?;
    relay.set(ROUGH);
    let builder = builder.quic(|quic| relay.stand_before(quic));
    Ok((builder.start().await?, Some(relay)))
}

/// A process that keeps a branch's accounts.
async fn open(context: &Context, folder: &Path, name: &str) -> actogen::Result<Child> {
    let child = context.launch(Launch::local()).await?;
    child.spawn::<Branch>((folder.join(format!("{name}.redb")), name.to_owned())).await?;
    Ok(child)
}

/// The sums when nothing is on its way any more, or when it should not be.
async fn settled(bank: &Bank) -> actogen::Result<Audit> {
    let end = Instant::now() + PATIENCE;
    loop {
        let audit = bank.audit().await?;
        if audit.is_settled() || Instant::now() > end {
            return Ok(audit);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
