//! `tests/peers/run`: the same work on Actogen and on other actor systems, in turns, and one table of how they compare.
//!
//! | room | concept |
//! |---|---|
//! | `options` | the command line |
//! | `process` | what is started, and that all of it ends |
//! | `peer`, `build` | who is compared, how each is made and started |
//! | `ours` | Actogen, measured by `actogen-bench` |
//! | `rounds` | the turns |
//! | `statistics`, `demands` | what is made of them |
//! | `report` | what is put out |

mod build;
mod demands;
mod options;
mod ours;
mod peer;
mod process;
mod report;
mod rounds;
mod statistics;

use std::process::ExitCode;

use options::Options;
use process::Processes;
use rounds::Run;

/// Why the comparison could not be made.
type Error = Box<dyn std::error::Error + Send + Sync>;

fn main() -> ExitCode {
    let options = match Options::read(std::env::args_os()) {
        Ok(options) => options,
        Err(error) => error.exit(),
    };
    match compare(&options) {
        Ok(complete) if complete => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("tests/peers/run: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Whether nothing failed and nothing was skipped that must not be.
fn compare(options: &Options) -> Result<bool, Error> {
    let processes = Processes::ended_by_signals()?;
    let ours = build::ours(&processes)?;
    let (peers, mut troubles) = build::peers(&processes, &options.peers);
    if options.build_only {
        troubles.iter().for_each(|trouble| eprintln!("{trouble}"));
        return Ok(!troubles.iter().any(|trouble| trouble.fails(options.require_all)));
    }
    let run = Run::new(options, &processes, ours, peers, &mut troubles)?;
    let results = run.all(&mut troubles)?;
    report::put_out(options, &results, &troubles)?;
    Ok(!troubles.iter().any(|trouble| trouble.fails(options.require_all)))
}
