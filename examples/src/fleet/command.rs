//! The command, as it runs in a host's context, and the console that its output goes to.

use std::{
    io::{self, Write},
    os::unix::process::ExitStatusExt,
    process::Stdio,
};

use actogen::prelude::*;
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader},
    process::Command,
};

/// The longest line that is sent in one piece, in bytes.
const LONGEST_LINE: u64 = 64 * 1024;

/// A line that a command has put out.
#[derive(Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "fleet.Line")]
pub struct Line {
    /// The way to the host.
    pub host: String,
    /// Without its end.
    pub text: String,
    /// It came on standard error.
    pub is_error: bool,
}

/// Puts lines out with their hosts in front.
#[derive(Debug, RemoteActor)]
#[remote(name = "fleet.console", messages(Line))]
pub struct Console {
    /// Standard output is for something else.
    pub on_stderr: bool,
}

impl Actor for Console {
    type Context = actix::Context<Self>;
}

impl Handler<Line> for Console {
    type Result = ();

    fn handle(&mut self, Line { host, text, is_error }: Line, _: &mut Self::Context) {
        // Whoever has closed a stream does not want to know.
        let _ = if is_error || self.on_stderr {
            writeln!(io::stderr().lock(), "{host}: {text}")
        } else {
            writeln!(io::stdout().lock(), "{host}: {text}")
        };
    }
}

/// Runs a command and sends each line that it puts out to the console. Gives its exit status; 128 and the signal's number if one ended it.
/// A command whose call is given up is killed.
#[actogen::function(name = "fleet.run")]
pub async fn run(
    console: Remote<Console>,
    host: String,
    command: Vec<String>,
) -> actogen::Result<i32> {
    let (program, arguments) = command.split_first().ok_or("there is no command")?;
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("`{program}` could not be started: {error}"))?;
    let (output, errors) = (child.stdout.take(), child.stderr.take());
    let (output, errors, status) = tokio::join!(
        send_lines(output, &console, &host, false),
        send_lines(errors, &console, &host, true),
        child.wait()
    );
    output?;
    errors?;
    let status = status?;
    Ok(status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default()))
}

async fn send_lines(
    from: Option<impl AsyncRead + Unpin>,
    console: &Remote<Console>,
    host: &str,
    is_error: bool,
) -> actogen::Result<()> {
    let Some(from) = from else { return Ok(()) };
    let (mut from, mut line) = (BufReader::new(from), Vec::new());
    while (&mut from).take(LONGEST_LINE).read_until(b'\n', &mut line).await? > 0 {
        let text = String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']).to_owned();
        console.tell(Line { host: host.to_owned(), text, is_error }).await?;
        line.clear();
    }
    Ok(())
}
