//! Runs a command on many hosts. `fleet --help` says how.

use std::process::ExitCode;

use actogen::prelude::*;

#[actogen::main]
async fn main(cx: Context) -> ExitCode {
    actogen_examples::fleet::run(&cx).await
}
