//! A key-value store over worker processes, which goes on when one of them is killed.
//!
//! ```sh
//! printf 'set tea green\nwhere tea\nget tea\n' | cargo run -p actogen-examples --bin kv -- --kill-one
//! ```

use std::{process::ExitCode, time::Duration};

use actogen::prelude::*;
use actogen_examples::kv::{Process, Store, workers};
use clap::Parser;
use tokio::io::{AsyncBufReadExt, BufReader};

/// Keeps values under keys, each in two worker processes.
///
/// Standard input has a command a line: `set KEY VALUE`, `get KEY`, `where KEY`. Each is answered by a line.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "Exit status: 0 when all commands were done, 1 when one was not, 2 misused."
)]
struct Arguments {
    /// How many worker processes there are
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u8).range(2..=64))]
    workers: u8,
    /// Kill a worker that keeps the first value, as soon as that is acknowledged
    #[arg(long)]
    kill_one: bool,
}

/// How long a command is tried: a worker that is lost is replaced meanwhile.
const PATIENCE: Duration = Duration::from_secs(20);

fn main() -> ExitCode {
    if let Some(status) = actogen::run_as_child(|builder| builder) {
        return status;
    }
    let arguments = Arguments::parse();
    match actix::System::new().block_on(run(arguments)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("kv: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> actogen::Result<bool> {
    let mesh = actogen::Mesh::fresh("kv")?;
    let cx = Context::builder().mesh(mesh).listen("127.0.0.1:0").start().await?;
    let tree = workers(&cx, arguments.workers.into());
    let store = Store::open(&cx, PATIENCE).await?;
    let all_there = store.has_workers(arguments.workers.into());
    tokio::time::timeout(PATIENCE, all_there).await.map_err(|_| "the workers do not start")?;
    let (mut kill_one, mut all_done) = (arguments.kill_one, true);
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        let mut words = line.splitn(3, ' ');
        let answer = match [words.next(), words.next(), words.next()] {
            [Some("set"), Some(key), Some(value)] => {
                let set = store.set(key, value).await.map(|()| "ok".to_owned());
                if set.is_ok() && std::mem::take(&mut kill_one) {
                    kill(&store, key).await?;
                }
                set.map_err(|error| error.to_string())
            }
            [Some("get"), Some(key), None] => match store.get(key).await {
                Ok(Some(value)) => Ok(value),
                Ok(None) => Err(format!("there is no `{key}`")),
                Err(error) => Err(error.to_string()),
            },
            [Some("where"), Some(key), None] => {
                let contexts =
                    store.keepers(key).into_iter().map(|one| one.context_id().to_string());
                Ok(contexts.collect::<Vec<_>>().join(", "))
            }
            _ => Err("say `set KEY VALUE`, `get KEY` or `where KEY`".to_owned()),
        };
        match answer {
            Ok(answer) => println!("{answer}"),
            Err(why) => {
                all_done = false;
                println!("error: {why}");
            }
        }
    }
    tree.end().await;
    cx.shutdown().await;
    Ok(all_done)
}

/// Kills one that keeps a key, as nothing but a signal can.
async fn kill(store: &Store, key: &str) -> actogen::Result<()> {
    let victim = store.keepers(key).into_iter().next().ok_or("it is kept by somebody")?;
    let process = victim.send(Process).await?.to_string();
    tokio::process::Command::new("kill").args(["-9", &process]).status().await?;
    eprintln!("kv: {}, process {process}, is killed", victim.context_id());
    Ok(())
}
