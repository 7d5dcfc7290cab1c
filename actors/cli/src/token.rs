//! `actogen token` and `actogen join`: how a process becomes a context of a mesh without being launched.

use std::{
    fs,
    io::{self, Read},
    path::PathBuf,
    time::Duration,
};

use actogen::{
    Mesh,
    quic::{EnrolError, JoinToken, TokenId},
    transport::DialError,
};
use clap::{Args, Subcommand};

use crate::{Failure, NO_CONNECTION, REJECTED, authority::Naming, say};

/// The longest text that can be a token, with room for what is around it.
const MOST_TEXT: u64 = 4096;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Print a one-time token by which one process may join, from the authority that --mesh names
    #[command(
        after_help = "Example:\n  actogen --mesh ca token create --minutes 10 | ssh node7 actogen --connect root.example:4433 join --out node7\n\nThe token is a secret until it is used: pass it by a pipe or a file."
    )]
    Create {
        /// How long it is good
        #[arg(long, value_name = "N", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=10_080))]
        minutes: u64,
        #[command(flatten)]
        naming: Naming,
    },
    /// Take a token back; whom it has admitted stays
    #[command(
        after_help = "Example:\n  actogen --mesh ca token revoke 0123456789abcdef\n\nThe id is the third part of the token's text. Without one, the token is read from standard input."
    )]
    Revoke {
        /// The token's id
        id: Option<TokenId>,
    },
}

#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  actogen --connect root.example:4433 join --out node7 < token\n\nThe folder is then what Mesh::from_pem(\"node7\") takes. It holds the context's key."
)]
pub(crate) struct Join {
    /// The folder to write ca.pem, cert.pem and key.pem into
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// A file that holds the token, instead of standard input
    #[arg(long, value_name = "FILE")]
    token: Option<PathBuf>,
}

pub(crate) fn run(command: Command, mesh: Option<PathBuf>) -> Result<(), Failure> {
    let mesh = mesh.ok_or("say where the authority is: --mesh DIR, or ACTOGEN_MESH")?;
    match command {
        Command::Create { minutes, naming } => {
            let good_for = Duration::from_secs(minutes * 60);
            let (names, holder) = naming.read()?;
            say(Mesh::create_token_named(&mesh, good_for, &names, holder)?);
        }
        Command::Revoke { id } => {
            let id = match id {
                Some(id) => id,
                None => read_token(None)?.id(),
            };
            if !Mesh::revoke_token(&mesh, id)? {
                return Err(
                    format!("there is no token {id}: it was never given, or has expired").into()
                );
            }
            say(format_args!("token {id} admits nobody any more"));
        }
    }
    Ok(())
}

/// Reads a token, with whatever space is around it.
fn read_token(file: Option<PathBuf>) -> Result<JoinToken, Failure> {
    let mut text = String::new();
    match file {
        Some(file) => {
            let opened =
                fs::File::open(&file).map_err(|error| format!("{}: {error}", file.display()))?;
            opened.take(MOST_TEXT).read_to_string(&mut text)?;
        }
        None => {
            io::stdin().take(MOST_TEXT).read_to_string(&mut text)?;
        }
    }
    Ok(text.parse::<JoinToken>()?)
}

pub(crate) fn join(arguments: Join, connect: Option<String>) -> Result<(), Failure> {
    let connect = connect.ok_or("say whom to join: --connect ADDR, or ACTOGEN_CONNECT")?;
    let Join { out, token } = arguments;
    if out.join("key.pem").exists() {
        return Err(format!("{} holds a key already: choose another folder", out.display()).into());
    }
    let token = read_token(token)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mesh = runtime.block_on(Mesh::join(&connect, &token)).map_err(|error| {
        let status = match &error {
            EnrolError::Dial(DialError::Unreachable { .. } | DialError::Address { .. }) => {
                NO_CONNECTION
            }
            EnrolError::Refused(_) | EnrolError::Dial(_) => REJECTED,
            _ => 1,
        };
        Failure::with_status(&error, status)
    })?;
    mesh.save(&out)?;
    let (context, name) = (mesh.context(), mesh.name());
    say(format_args!("the identity of {context} of {name} is in {}", out.display()));
    Ok(())
}
