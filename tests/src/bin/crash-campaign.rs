//! `crash-campaign`: kills journaled nodes at every instant, and counts what whoever is outside could tell.

use std::process::ExitCode;

use actogen::prelude::*;
use actogen_tests::crashes::{self, Plan};
use clap::{Parser, ValueEnum};

/// Kills journaled nodes at every instant that has a name, and at random ones, under load, and counts what is lost or comes twice.
///
/// The last line of standard output has the outcome. The status is 0 when nothing was lost, nothing came twice, and a process has ended at
/// each of the instants; 1 otherwise.
#[derive(Debug, Parser)]
struct Arguments {
    /// What chance is made of: the same seed chooses the same instants; when each process comes there is the system's doing
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How often a process is killed and its journal opened again
    #[arg(long, default_value_t = 300)]
    count: u64,
    /// An instant at which a process is killed; may be given more than once. All, if there are none
    #[arg(long, value_parser = clap::builder::PossibleValuesParser::new(actogen_journal::FailPoints::ALL))]
    point: Vec<String>,
    /// The store of the nodes
    #[arg(long, value_enum, default_value_t = Store::Redb)]
    store: Store,
    /// Write the outcome as one line of JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Store {
    /// One redb file for each node
    Redb,
}

fn main() -> ExitCode {
    if let Some(status) = actogen::run_as_child(|builder| builder) {
        return status;
    }
    let arguments = Arguments::parse();
    match actix::System::new().block_on(campaign(&arguments)) {
        Ok(holds) if holds => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("crash-campaign: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn campaign(arguments: &Arguments) -> actogen::Result<bool> {
    let Store::Redb = arguments.store;
    let folder = tempfile::tempdir()?;
    let mesh = actogen::Mesh::fresh("crash-campaign")?;
    let context = Context::builder().mesh(mesh).listen("127.0.0.1:0").start().await?;
    let all = actogen_journal::FailPoints::ALL.into_iter();
    let points = all.filter(|point| arguments.point.iter().any(|wanted| wanted == point)).collect();
    let plan = Plan { seed: arguments.seed, recoveries: arguments.count, points };
    let outcome = crashes::run(&context, folder.path(), &plan, |outcome| {
        if outcome.recoveries.is_multiple_of(100) {
            eprintln!("{} recoveries, {} steps acknowledged", outcome.recoveries, outcome.acked);
        }
    });
    let outcome = outcome.await?;
    context.shutdown().await;
    if arguments.json {
        println!("{}", serde_json::to_string(&outcome)?);
    } else {
        let crashes::Outcome { seed, recoveries, acked, lost, duplicated, .. } = outcome;
        let (hit, total) = (outcome.failpoints_hit, outcome.failpoints_total);
        println!(
            "seed={seed} recoveries={recoveries} acked={acked} lost={lost} duplicated={duplicated} failpoints_hit={hit} \
             failpoints_total={total}"
        );
    }
    Ok(outcome.holds())
}
