//! What is heard of a tool and of what it runs: the last lines for errors, questions for a password, and what is passed on.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    process::ChildStdout,
    sync::{Notify, watch},
};

use super::error::{LastWords, Reached};
use crate::{
    logs::{LONGEST_LINE, Source},
    transport::PipeReader,
};

/// The longest line of a tool that is kept whole, in bytes.
const LINE: usize = 4 * 1024;

/// Bytes that are read at once.
const CHUNK: usize = 16 * 1024;

/// What sudo asks with, so that nothing else is taken for its question.
pub(super) const PROMPT: &str = "actogen-asks-for-the-password:";

/// What su asks with in the language that it is told to speak. It takes the answer from its standard input.
pub(super) const PROMPT_OF_SU: &str = "Password: ";

/// What is heard of a tool while it runs.
#[derive(Debug, Default)]
pub(super) struct Heard {
    pub(super) said: Mutex<LastWords>,
    reached: Mutex<Option<Reached>>,
    pub(super) cut: Notify,
}

impl Heard {
    pub(super) fn reached(&self) -> Reached {
        self.reached.lock().unwrap_or(Reached::Nothing)
    }

    /// Cuts the life line: a program that runs as another user can be told to end in no other way.
    pub(super) fn cut(&self) {
        self.cut.notify_one();
    }

    pub(super) fn comes_to(&self, reached: Reached) {
        *self.reached.lock() = Some(reached);
    }
}

/// Lines of a pipe.
pub(super) struct Lines<R> {
    input: R,
    buffer: Vec<u8>,
    /// Bytes of the buffer that are known to hold no line's end.
    looked: usize,
    /// The longest line that is kept whole, in bytes.
    longest: usize,
    /// Bytes read altogether.
    pub(super) read: usize,
    ended: bool,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    pub(super) fn new(input: R) -> Self {
        Self { input, buffer: Vec::new(), looked: 0, longest: LINE, read: 0, ended: false }
    }

    /// As [`Self::new`], with the longest lines that logs take.
    pub(super) fn of_logs(input: R) -> Self {
        Self { longest: LONGEST_LINE, ..Self::new(input) }
    }

    /// The next line, or what stands there when the pipe ends or the line is too long; `None` at the end.
    pub(super) async fn next(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.line_end() {
                return Some(self.take(end + 1));
            }
            if self.buffer.len() >= self.longest || (self.ended && !self.buffer.is_empty()) {
                return Some(self.take(self.buffer.len().min(self.longest)));
            }
            if self.ended {
                return None;
            }
            self.fill().await;
        }
    }

    /// Where the next line ends, if that has come.
    fn line_end(&mut self) -> Option<usize> {
        let end = self.buffer[self.looked..].iter().position(|&byte| byte == b'\n');
        let end = end.map(|end| self.looked + end);
        self.looked = end.unwrap_or(self.buffer.len());
        end
    }

    /// Whether there is something that [`Self::next`] gives without reading.
    fn has_line(&mut self) -> bool {
        self.line_end().is_some() || self.buffer.len() >= self.longest
    }

    /// Reads once.
    async fn fill(&mut self) {
        let mut chunk = [0; CHUNK];
        match self.input.read(&mut chunk).await {
            Ok(0) | Err(_) => self.ended = true,
            Ok(read) => {
                self.buffer.extend_from_slice(&chunk[..read]);
                self.read += read;
            }
        }
    }

    fn take(&mut self, bytes: usize) -> String {
        self.looked = 0;
        let line: Vec<u8> = self.buffer.drain(..bytes).collect();
        String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']).to_owned()
    }
}

/// Keeps the last lines of a tool's standard error, counts how often it has asked for the password with this prompt, and passes on what comes
/// once the program runs.
pub(super) async fn hear_errors(
    errors: impl AsyncRead + Unpin,
    heard: Arc<Heard>,
    says: impl Fn(Source, String),
    prompt: &str,
    prompts: watch::Sender<usize>,
) {
    let mut lines = Lines::new(errors);
    loop {
        let runs = heard.reached() >= Reached::Program;
        if runs {
            lines.longest = LONGEST_LINE;
        }
        // A question ends without a line's end.
        let question = if runs { None } else { find(&lines.buffer, prompt.as_bytes()) };
        if let Some(at) = question {
            lines.take(at + prompt.len());
            prompts.send_modify(|asked| *asked += 1);
        } else if lines.has_line() || lines.ended {
            let Some(line) = lines.next().await else { return };
            heard.said.lock().hear(&line);
            if heard.reached() >= Reached::Program {
                says(Source::Stderr, line);
            }
        } else {
            lines.fill().await;
        }
    }
}

/// Passes on what a process puts out, line by line, until that ends.
pub(super) async fn pass_on(
    output: impl AsyncRead + Unpin,
    source: Source,
    says: impl Fn(Source, String),
) {
    let mut lines = Lines::of_logs(output);
    while let Some(line) = lines.next().await {
        says(source.clone(), line);
    }
}

fn find(bytes: &[u8], sought: &[u8]) -> Option<usize> {
    bytes.windows(sought.len()).position(|window| window == sought)
}

/// Passes on what a program prints, line by line, until it begins to send datagrams: what follows is theirs.
pub(super) async fn pass_on_until(
    mut output: Lines<ChildStdout>,
    sync: &[u8],
    says: impl Fn(Source, String),
) -> Option<PipeReader> {
    output.longest = LONGEST_LINE;
    let mut sought = 0;
    loop {
        let begin = sought.min(output.buffer.len());
        let found = find(&output.buffer[begin..], sync).map(|at| begin + at);
        // It may have come in part.
        sought = output.buffer.len().saturating_sub(sync.len());
        if let Some(at) = found {
            let rest = output.buffer.split_off(at + sync.len());
            output.buffer.truncate(at);
            output.ended = true;
            while let Some(line) = output.next().await {
                says(Source::Stdout, line);
            }
            return Some(Box::new(std::io::Cursor::new(rest).chain(output.input)));
        }
        if output.has_line() || output.ended {
            // A mark that has come in part holds no line's end.
            says(Source::Stdout, output.next().await?);
            sought = 0;
        } else {
            output.fill().await;
        }
    }
}
