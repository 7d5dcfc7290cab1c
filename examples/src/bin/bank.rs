//! A bank with branches in several processes: clients send money around, auditors count it all the time, and one branch is killed.
//!
//! ```sh
//! cargo run -p actogen-examples --bin bank -- --kill-one
//! ```

use std::{process::ExitCode, time::Duration};

use actogen::{Supervised, prelude::*};
use actogen_examples::bank::{Bank, BankError, Desk, Process, branches, desk};
use clap::Parser;
use futures_util::future::join_all;

/// Sends money between accounts in several processes, and counts it meanwhile and at the end.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "Exit status: 0 when all money is there, 1 when it is not or a process cannot be had, 2 misused."
)]
struct Arguments {
    /// How many worker processes are branches
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=32))]
    workers: u8,
    /// How many accounts there are
    #[arg(long, value_name = "N", default_value_t = 12, value_parser = clap::value_parser!(u32).range(2..=10_000))]
    accounts: u32,
    /// How many transfers are made
    #[arg(long, value_name = "N", default_value_t = 1000)]
    transfers: u32,
    /// Kill one branch half-way
    #[arg(long)]
    kill_one: bool,
}

/// Who sends money at the same time.
const CLIENTS: u32 = 8;

/// What each account begins with.
const BEGINNING: u64 = 1000;

/// How long a client waits for a branch to be back.
const PATIENCE: Duration = Duration::from_secs(20);

fn main() -> ExitCode {
    if let Some(status) = actogen::run_as_child(|builder| builder) {
        return status;
    }
    let arguments = Arguments::parse();
    match actix::System::new().block_on(run(arguments)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bank: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> actogen::Result<()> {
    let mesh = actogen::Mesh::fresh("bank")?;
    let cx = Context::builder().mesh(mesh).listen("127.0.0.1:0").start().await?;
    let workers = arguments.workers.into();
    let tree = branches(&cx, workers);
    let bank = Bank::new(tree.clone(), workers, arguments.accounts, BEGINNING, PATIENCE);
    println!("{} in {} accounts of {workers} processes", bank.audit().await?, arguments.accounts);

    let clients =
        join_all((0..CLIENTS).map(|client| send_around(&bank, &tree, &arguments, client)));
    let auditing = async {
        loop {
            if let Err(wrong) = bank.audit().await {
                break wrong;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let done = tokio::select! {
        done = clients => done.into_iter().sum::<actogen::Result<u32>>()?,
        wrong = auditing => return Err(wrong.into()),
    };
    println!("{done} transfers, {} in all accounts", bank.audit().await?);
    tree.end().await;
    cx.shutdown().await;
    Ok(())
}

/// One client's part of the transfers: between which accounts follows from their numbers alone.
async fn send_around(
    bank: &Bank,
    tree: &Supervised,
    arguments: &Arguments,
    client: u32,
) -> actogen::Result<u32> {
    let mut done = 0;
    for n in (client..arguments.transfers).step_by(CLIENTS as usize) {
        if arguments.kill_one && n == arguments.transfers / 2 {
            kill(tree).await?;
        }
        let from = n % arguments.accounts;
        let to = (from + 1 + n / 7 % (arguments.accounts - 1)) % arguments.accounts;
        match bank.transfer(from, to, n % 50 + 1).await {
            Ok(()) => done += 1,
            // Then it has too little, or is done later.
            Err(BankError::Refused(_) | BankError::Later) => {}
            Err(BankError::Away { account, why }) => eprintln!("bank: account {account}: {why}"),
            Err(wrong @ BankError::Sum { .. }) => return Err(wrong.into()),
        }
    }
    Ok(done)
}

/// Kills a branch, as nothing but a signal can.
async fn kill(tree: &Supervised) -> actogen::Result<()> {
    let victim = tree.child::<Desk>(&desk(0)).await?;
    let process = victim.send(Process).await?.to_string();
    tokio::process::Command::new("kill").args(["-9", &process]).status().await?;
    eprintln!("bank: {}, process {process}, is killed", victim.context_id());
    Ok(())
}
