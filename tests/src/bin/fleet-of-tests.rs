//! The example `fleet`, for tests that need servers of their own.

use std::process::ExitCode;

use actogen::prelude::*;

#[actogen::main]
async fn main(cx: Context) -> ExitCode {
    actogen_examples::fleet::run(&cx).await
}
