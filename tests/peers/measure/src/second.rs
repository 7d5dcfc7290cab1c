//! A peer's second process: the peer's own program again, with an argument.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    process::{Child, Command, Stdio},
};

use crate::Error;

/// The argument by which a program knows that it is the second process.
pub const ARGUMENT: &str = "second";

/// Whether this process is the second one.
pub fn is_this() -> bool {
    std::env::args().nth(1).is_some_and(|argument| argument == ARGUMENT)
}

/// The second process, seen from the first; ended with this value, and by its own will when the first process has gone.
#[derive(Debug)]
pub struct Second {
    process: Child,
    /// What it said: where it is found.
    pub says: String,
}

impl Second {
    /// Starts it and waits for its word. The runner's patience limits that.
    ///
    /// # Errors
    /// What the system refused, or that the process ended without a word.
    pub fn start() -> Result<Self, Error> {
        let mut process = Command::new(std::env::current_exe()?)
            .arg(ARGUMENT)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let output = process.stdout.take().ok_or("the second process has no output")?;
        let mut second = Self { process, says: String::new() };
        BufReader::new(output).read_line(&mut second.says)?;
        second.says.truncate(second.says.trim_end().len());
        if second.says.is_empty() {
            return Err("the second process ended without a word".into());
        }
        Ok(second)
    }
}

impl Drop for Second {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// In the second process: tells the first where it is found.
///
/// # Errors
/// Those of standard output.
pub fn say(where_it_is: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{where_it_is}")?;
    out.flush()
}

/// In the second process: ends it when the first has gone, however that went.
pub fn end_with_the_first() {
    std::thread::spawn(|| {
        // The first process holds the other end and writes nothing.
        let _ = io::stdin().read(&mut [0]);
        std::process::exit(0);
    });
}
