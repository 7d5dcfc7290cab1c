//! `actogen ca`: makes a mesh's authority, and issues identities that are brought to other machines.

use std::{path::PathBuf, time::Duration};

use actogen::{
    ContextId, Mesh,
    names::{ContextNames, Holder, NameError},
};
use clap::{Args, Subcommand};

use crate::{Failure, say};

/// How long an identity may be good at most, in days: longer than any machine that is not looked after.
const MOST_DAYS: u64 = 3650;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make an authority in the folder that --mesh names
    #[command(
        after_help = "Example:\n  actogen --mesh ca ca init fleet.example\n\nThe folder holds the key of the whole mesh: keep it where the root runs, and nowhere else."
    )]
    Init {
        /// The mesh's name, as in certificates: letters, digits, dots and dashes
        name: String,
    },
    /// Issue an identity for a context, by the authority that --mesh names
    #[command(
        after_help = "Example:\n  actogen --mesh ca ca issue 7 --out node7 --name west\n\nBring the folder to the other machine, whose program takes it by Mesh::from_pem(\"node7\"). It holds the context's key."
    )]
    Issue {
        /// The context's id; one that has not been given out
        #[arg(value_parser = clap::value_parser!(u64).range(1..))]
        id: u64,
        /// The folder to write ca.pem, cert.pem and key.pem into
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
        /// How long the identity is good
        #[arg(long, value_name = "DAYS", default_value_t = 90, value_parser = clap::value_parser!(u64).range(1..=MOST_DAYS))]
        days: u64,
        #[command(flatten)]
        naming: Naming,
    },
    /// Revoke the certificate of a context for good, by the authority that --mesh names
    #[command(
        after_help = "Example:\n  actogen --mesh ca ca revoke 7\n\nA running root takes notice within a second, and everybody below it at once: the context's links are closed, and nobody links with it again. Its id is not given out anew."
    )]
    Revoke {
        /// The context's id
        #[arg(value_parser = clap::value_parser!(u64).range(1..))]
        id: u64,
    },
}

/// What a context is to be named.
#[derive(Debug, Args)]
pub(crate) struct Naming {
    /// A name for the context, which its certificate carries: a-z, 0-9, `-`, `.`, `_`. Give the option again for another, up to 8
    #[arg(long = "name", value_name = "NAME")]
    names: Vec<String>,
    /// Take the names from the contexts that have them, whose certificates are revoked for good
    #[arg(long, requires = "names")]
    take_over: bool,
}

impl Naming {
    pub(crate) fn read(self) -> Result<(ContextNames, Holder), NameError> {
        let holder = if self.take_over { Holder::Revoked } else { Holder::Stays };
        Ok((ContextNames::new(self.names)?, holder))
    }
}

pub(crate) fn run(command: Command, mesh: Option<PathBuf>) -> Result<(), Failure> {
    let mesh = mesh.ok_or("say where the authority is: --mesh DIR, or ACTOGEN_MESH")?;
    match command {
        Command::Init { name } => {
            Mesh::create_authority(&name, &mesh)?;
            say(format_args!("the authority of {name} is in {}", mesh.display()));
        }
        Command::Issue { id, out, days, naming } => {
            let lifetime = Duration::from_secs(days * 86_400);
            let (names, holder) = naming.read()?;
            Mesh::issue_named(&mesh, &out, ContextId(id), lifetime, &names, holder)?;
            say(format_args!(
                "the identity of context {id} is in {}, good for {days} days",
                out.display()
            ));
        }
        Command::Revoke { id } => {
            let done = if Mesh::revoke(&mesh, ContextId(id))? { "is" } else { "was already" };
            say(format_args!("context {id} {done} revoked"));
        }
    }
    Ok(())
}
