//! What is heard of a tool and of what it runs: the last lines for errors, questions for a password, and what is passed on.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    process::ChildStdout,
    sync::{Notify, watch},
};

use super::error::{LastWords, Reached};
use crate::transport::PipeReader;

/// The longest line that is kept whole, in bytes.
const LINE: usize = 4 * 1024;

/// What sudo asks with, so that nothing else is taken for its question.
pub(super) const PROMPT: &str = "actogen-asks-for-the-password:";

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

/// Lines of a pipe, each cut at [`LINE`] bytes.
pub(super) struct Lines<R> {
    input: R,
    buffer: Vec<u8>,
    /// Bytes read altogether.
    pub(super) read: usize,
    ended: bool,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    pub(super) fn new(input: R) -> Self {
        Self { input, buffer: Vec::new(), read: 0, ended: false }
    }

    /// The next line, or what stands there when the pipe ends or the line is too long; `None` at the end.
    pub(super) async fn next(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.buffer.iter().position(|&byte| byte == b'\n') {
                return Some(self.take(end + 1));
            }
            if self.buffer.len() >= LINE || (self.ended && !self.buffer.is_empty()) {
                return Some(self.take(self.buffer.len()));
            }
            if self.ended {
                return None;
            }
            self.fill().await;
        }
    }

    /// Reads once.
    async fn fill(&mut self) {
        let mut chunk = [0; 4096];
        match self.input.read(&mut chunk).await {
            Ok(0) | Err(_) => self.ended = true,
            Ok(read) => {
                self.buffer.extend_from_slice(&chunk[..read]);
                self.read += read;
            }
        }
    }

    fn take(&mut self, bytes: usize) -> String {
        let line: Vec<u8> = self.buffer.drain(..bytes).collect();
        String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']).to_owned()
    }
}

/// Keeps the last lines of a tool's standard error, counts how often it has asked for the password, and passes on what comes once the
/// program runs.
pub(super) async fn hear_errors(
    errors: impl AsyncRead + Unpin,
    heard: Arc<Heard>,
    target: String,
    prompts: watch::Sender<usize>,
) {
    let mut lines = Lines::new(errors);
    loop {
        // A question ends without a line's end.
        if let Some(at) = find(&lines.buffer, PROMPT.as_bytes()) {
            lines.buffer.drain(..at + PROMPT.len());
            prompts.send_modify(|asked| *asked += 1);
        } else if lines.buffer.contains(&b'\n') || lines.buffer.len() >= LINE || lines.ended {
            let Some(line) = lines.next().await else { return };
            if heard.reached() >= Reached::Program {
                put_out(&target, &line);
            }
            heard.said.lock().hear(&line);
        } else {
            lines.fill().await;
        }
    }
}

fn find(bytes: &[u8], sought: &[u8]) -> Option<usize> {
    bytes.windows(sought.len()).position(|window| window == sought)
}

/// Passes on what a program prints, line by line, to this one's standard error, until it begins to send datagrams: what follows is theirs.
pub(super) async fn pass_on_until(
    mut output: Lines<ChildStdout>,
    sync: &[u8],
    target: &str,
) -> Option<PipeReader> {
    loop {
        if let Some(at) = find(&output.buffer, sync) {
            let rest = output.buffer.split_off(at + sync.len());
            output.buffer.truncate(at);
            output.ended = true;
            while let Some(line) = output.next().await {
                put_out(target, &line);
            }
            return Some(Box::new(std::io::Cursor::new(rest).chain(output.input)));
        }
        let has_line = output.buffer.contains(&b'\n') || output.buffer.len() >= LINE;
        if output.ended || (has_line && output.buffer.len() >= sync.len()) {
            put_out(target, &output.next().await?);
        } else {
            output.fill().await;
        }
    }
}

fn put_out(target: &str, line: &str) {
    use std::io::Write;
    // Where standard error is closed, nobody wants it.
    let _ = writeln!(std::io::stderr().lock(), "{target}: {line}");
}
