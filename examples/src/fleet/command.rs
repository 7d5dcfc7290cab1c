//! The command, as it runs in a host's context, and its output with the host in front.

use std::{
    io::{self, Write},
    time::Duration,
};

use actogen::{CallError, Child, Command, Exit, Output, Processes, Receiver};

/// The longest line that is kept together, in bytes.
const LONGEST_LINE: usize = 64 * 1024;

/// A command takes as long as it takes.
const NO_LIMIT: Duration = Duration::from_secs(u64::MAX / 4);

/// Runs a command in a context and puts out each of its lines behind the host's name; with `all_on_stderr`, on standard error. When nobody
/// waits for it any more, it is killed.
///
/// # Errors
/// [`CallError`], when it could not be started, or its context is lost.
pub async fn run(
    host: &str,
    child: &Child,
    command: &[String],
    all_on_stderr: bool,
) -> Result<Exit, CallError> {
    let (program, arguments) = command.split_first().expect("the command line needs one");
    let command = Command::new(program).arguments(arguments);
    let (sender, receiver) = child.context().channel();
    receiver.end_with(child);
    let call = child.service::<Processes>().run(command, Some(sender)).within(NO_LIMIT);
    let call = async {
        let exit = call.await;
        if exit.is_err() {
            // Nobody closes it then.
            receiver.close();
        }
        exit
    };
    let (exit, ()) = tokio::join!(call, put_out(host, &receiver, all_on_stderr));
    exit
}

async fn put_out(host: &str, receiver: &Receiver<Output>, all_on_stderr: bool) {
    let (mut out, mut err) = (Lines::default(), Lines::default());
    while let Ok(output) = receiver.recv().await {
        match output {
            Output::Out(bytes) => out.take(&bytes, |line| put(host, line, all_on_stderr)),
            Output::Err(bytes) => err.take(&bytes, |line| put(host, line, true)),
            _ => {}
        }
    }
    out.end(|line| put(host, line, all_on_stderr));
    err.end(|line| put(host, line, true));
}

fn put(host: &str, line: &[u8], on_stderr: bool) {
    let text = String::from_utf8_lossy(line);
    // Whoever has closed a stream does not want to know.
    let _ = if on_stderr {
        writeln!(io::stderr().lock(), "{host}: {text}")
    } else {
        writeln!(io::stdout().lock(), "{host}: {text}")
    };
}

/// Cuts what comes in pieces into lines.
#[derive(Debug, Default)]
struct Lines(Vec<u8>);

impl Lines {
    fn take(&mut self, bytes: &[u8], mut line: impl FnMut(&[u8])) {
        for &byte in bytes {
            if byte == b'\n' || self.0.len() == LONGEST_LINE {
                line(self.0.strip_suffix(b"\r").unwrap_or(&self.0));
                self.0.clear();
            }
            if byte != b'\n' {
                self.0.push(byte);
            }
        }
    }

    fn end(self, mut line: impl FnMut(&[u8])) {
        if !self.0.is_empty() {
            line(&self.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_whole_from_pieces() {
        let (mut lines, mut seen) = (Lines::default(), Vec::new());
        let mut see = |line: &[u8]| seen.push(String::from_utf8(line.to_vec()).unwrap());
        for piece in ["one\ntw", "o\r\n", "", "\nlast"] {
            lines.take(piece.as_bytes(), &mut see);
        }
        lines.end(&mut see);
        assert_eq!(seen, ["one", "two", "", "last"]);
    }

    #[test]
    fn a_line_without_an_end_is_cut() {
        let (mut lines, mut seen) = (Lines::default(), Vec::new());
        lines.take(&vec![b'x'; LONGEST_LINE + 1], |line| seen.push(line.len()));
        lines.end(|line| seen.push(line.len()));
        assert_eq!(seen, [LONGEST_LINE, 1]);
    }
}
