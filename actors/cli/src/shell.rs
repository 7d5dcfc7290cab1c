//! `actogen completions` and `actogen man`: what a shell and a reader of manuals need of this command.

use std::{io, path::PathBuf};

use clap::{Args, CommandFactory};

use crate::{Arguments, Failure, say};

#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  actogen completions bash > ~/.local/share/bash-completion/completions/actogen"
)]
pub(crate) struct Completions {
    /// The shell that is to complete
    shell: clap_complete::Shell,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  actogen man --out /usr/local/share/man/man1")]
pub(crate) struct Man {
    /// The folder to write the pages into, one for each command
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

pub(crate) fn completions(completions: &Completions) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(completions.shell, &mut Arguments::command(), "actogen", &mut script);
    // A reader that has gone is no error.
    let _ = io::Write::write_all(&mut io::stdout(), &script);
    Ok(())
}

pub(crate) fn man(man: &Man) -> Result<(), Failure> {
    let out = man.out.display();
    std::fs::create_dir_all(&man.out).map_err(|error| format!("{out}: {error}"))?;
    clap_mangen::generate_to(Arguments::command(), &man.out)
        .map_err(|error| format!("{out}: {error}"))?;
    say(format_args!("the pages are in {out}"));
    Ok(())
}
