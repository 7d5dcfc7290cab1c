//! Counts the words of files in worker processes. `wordcount --help` says how.

use std::process::ExitCode;

use actogen::prelude::*;

#[actogen::main]
async fn main(cx: Context) -> ExitCode {
    actogen_examples::wordcount::run(&cx).await
}
