//! `wordcount`: counts the words of files in worker processes, and stays exact when one of them is killed.
//!
//! | room | concept |
//! |---|---|
//! | [`arguments`] | the command line |
//! | [`files`] | which files there are, and their content in chunks |
//! | [`words`], [`tally`] | words in a stream; how often each was seen |
//! | [`counter`] | the actor that counts in a worker process |
//! | [`crew`] | worker processes, which file is whose, and what happens when one dies |
//! | [`here`] | the same without workers |
//! | [`sum`], [`progress`] | what all comes to; what a person is told meanwhile |

pub mod arguments;
pub mod counter;
pub mod crew;
pub mod files;
pub mod here;
pub mod progress;
pub mod sum;
pub mod tally;
pub mod words;

use std::{
    io::{self, BufWriter, ErrorKind, Write},
    process::ExitCode,
};

use actogen::prelude::*;

use arguments::Arguments;
use files::Walk;
use progress::Progress;
use sum::Sum;

/// The whole program. Its exit code is 0 when all was counted, 1 when something could not be, 2 when it was misused.
pub async fn run(cx: &Context) -> ExitCode {
    let arguments = match Arguments::read() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Whoever has closed the stream does not want to know.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let Walk { files, remarks } = files::walk(&arguments.paths);
    let progress = Progress::new(files.iter().map(|file| file.length).sum());
    let counted = match arguments.workers() {
        0 => Ok(here::count(files, &progress).await),
        workers => crew::count(cx, files, workers, arguments.kill_one, &progress).await,
    };
    let mut sum = match counted {
        Ok(sum) => sum,
        Err(error) => {
            progress.say(error);
            return ExitCode::FAILURE;
        }
    };
    progress.finish(sum.files());
    for remark in &remarks {
        sum.remark(remark, &progress);
    }
    if let Err(error) = print(&sum, arguments.top) {
        sum.fail(format_args!("standard output: {error}"), &progress);
    }
    if sum.has_failed() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Prints the counts. A reader that has seen enough, such as `head`, is no error.
fn print(sum: &Sum, top: usize) -> io::Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    match sum.tally().print(top, &mut out).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        outcome => outcome,
    }
}
