//! `actogen-bench SUITE`: measures Actogen beside the same work on bare QUIC, in the same run.
//!
//! | room | concept |
//! |---|---|
//! | `options`, `report`, `page` | the command line; what is put out, and drawn |
//! | `suite`, `rounds` | what can be measured, and how often |
//! | `local`, `remote`, `relay`, `mixed`, `calls`, `files`, `flood`, `scale`, `groups`, `savina`, `journal`, `publish` | the suites |
//! | `workload`, `note`, `handled` | the work that both do, its message, and who counts what came of it |
//! | `ours`, `offspring`, `reference` | who does it: Actogen, and bare quinn |
//! | `settings`, `statistics`, `allocations` | how it is measured |

mod allocations;
mod calls;
mod crowd;
mod failure;
mod files;
mod flood;
mod groups;
mod handled;
mod journal;
mod local;
mod mixed;
mod note;
mod offspring;
mod options;
mod ours;
mod page;
mod publish;
mod reference;
mod relay;
mod remote;
mod report;
mod rounds;
mod savina;
mod scale;
mod settings;
mod sshd;
mod statistics;
mod suite;
mod workload;

use std::process::ExitCode;

use failure::Failure;
use options::Options;
use report::Report;

fn main() -> ExitCode {
    if let Some(status) = ours::run_as_child() {
        return status;
    }
    let arguments: Vec<String> =
        std::env::args_os().map(|argument| argument.to_string_lossy().into_owned()).collect();
    match arguments.get(1).map(String::as_str) {
        Some(reference::ARGUMENT) => done(reference::serve(&arguments[2..])),
        _ => bench(),
    }
}

fn bench() -> ExitCode {
    let Options { suite, plan, json, html } = match Options::read(std::env::args_os()) {
        Ok(options) => options,
        Err(error) => error.exit(),
    };
    let mut report = Report::new(suite.name, plan.settings, json);
    done((suite.run)(&plan, &mut report).and_then(|()| {
        match html {
            Some(file) => std::fs::write(file, report.page())
                .map_err(|error| Failure::System("writing the page of --html", error)),
            None => Ok(()),
        }
    }))
}

fn done(result: Result<(), impl std::fmt::Display>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("actogen-bench: {error}");
            ExitCode::FAILURE
        }
    }
}
