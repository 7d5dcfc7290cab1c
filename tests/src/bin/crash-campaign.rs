//! `crash-campaign`: kills journaled nodes at every instant, and counts what whoever is outside could tell.

use std::process::ExitCode;

use actogen::prelude::*;
use actogen_tests::crashes::{self, Plan, Stores, postgres::Server};
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
    #[arg(long)]
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
    /// A PostgreSQL server that is started for this, from /usr/lib/postgresql
    Postgres,
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
            eprint!("crash-campaign: {error}");
            let mut cause = error.source();
            while let Some(because) = cause {
                eprint!(": {because}");
                cause = because.source();
            }
            eprintln!();
            ExitCode::FAILURE
        }
    }
}

async fn campaign(arguments: &Arguments) -> actogen::Result<bool> {
    let folder = tempfile::tempdir()?;
    // Ends with this.
    let server = match arguments.store {
        Store::Redb => None,
        Store::Postgres => {
            let missing =
                "PostgreSQL is not installed: nothing is at /usr/lib/postgresql/*/bin/initdb";
            Some(Server::start("crash-campaign").ok_or(missing)?)
        }
    };
    let stores = match &server {
        None => Stores::Files(folder.path().to_owned()),
        Some(server) => Stores::Postgres(server.direct()),
    };
    let mesh = actogen::Mesh::fresh("crash-campaign")?;
    let context = Context::builder().mesh(mesh).listen("127.0.0.1:0").start().await?;
    let mut points = Vec::new();
    for wanted in &arguments.point {
        let point = stores.points().into_iter().find(|point| point == wanted);
        let known =
            || format!("{wanted} is no instant of this store; those are {:?}", stores.points());
        points.push(point.ok_or_else(known)?);
    }
    let plan = Plan { seed: arguments.seed, recoveries: arguments.count, points };
    let outcome = crashes::run(&context, &stores, &plan, |outcome| {
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
