//! `fleet`: one command on many hosts, by a tree of contexts over machines, users and containers.
//!
//! | room | concept |
//! |---|---|
//! | [`arguments`], [`hop`] | the command line; the ways to hosts |
//! | [`tree`] | the contexts, launched level by level |
//! | [`command`] | the command in a host's context, and where its output goes |
//! | [`copy`] | a file that goes out and comes back |
//! | [`report`] | how each host fared |

pub mod arguments;
pub mod command;
pub mod copy;
pub mod hop;
pub mod report;
pub mod tree;

use std::{
    io::{self, Write},
    process::ExitCode,
};

use actogen::{prelude::*, scatter};
use clap::Parser;

use arguments::Arguments;
use copy::Sample;
use report::Report;
use tree::Tree;

/// The whole program.
pub async fn run(cx: &Context) -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Whoever has closed the stream does not want to know.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let said = |text: &str| drop(writeln!(io::stderr().lock(), "fleet: {text}"));
    let tree = Tree::grow(cx, &arguments, said).await;
    let commands = arguments.on.iter().enumerate().filter_map(|(place, way)| {
        let host = tree.host(way)?;
        let arguments = &arguments;
        let command = async move {
            let name = way.to_string();
            command::run(&name, &host.child, &arguments.command, arguments.json).await
        };
        Some((place, command))
    });
    let mut outcomes: Vec<_> = arguments.on.iter().map(|_| None).collect();
    let mut running = scatter(commands);
    while let Some((place, outcome)) = running.next().await {
        if let Err(error) = &outcome {
            said(&format!("{}: {}", arguments.on[place], with_causes(error)));
        }
        outcomes[place] = outcome.ok();
    }
    let (mut reports, mut all_copied) = (Vec::new(), true);
    let sample = Sample::make(cx);
    for (place, (way, exit)) in arguments.on.iter().zip(outcomes).enumerate() {
        let host = tree.host(way);
        let copied = match (host, &sample) {
            (Some(host), Some(sample)) => sample.round_trip(&host.child, place).await,
            _ => Ok(None),
        };
        if let Err(error) = &copied {
            all_copied = false;
            said(&format!("{way}: a file did not go out and back: {}", with_causes(&**error)));
        }
        let rtt = match host {
            Some(host) => cx.ping(host.child.place()).await.ok(),
            None => None,
        };
        reports.push(Report {
            host: way.to_string(),
            id: host.map(|host| host.child.id().0),
            route: tree.route(way),
            launch_ms: host.map(|host| host.launch_ms),
            rtt_us: rtt.map(|rtt| rtt.as_micros() as u64),
            exit: exit.map(actogen::Exit::code),
            copy_ms: copied.ok().flatten(),
            transport: host.map(|host| host.child.carrier().to_string()),
        });
    }
    let printed = report::print(&reports, &arguments, &tree);
    let all_well = all_copied && reports.iter().all(|report| report.exit == Some(0));
    if printed.is_ok() && all_well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// An error with those that caused it.
fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
