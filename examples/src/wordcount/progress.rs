//! What a person is told on standard error: a bar on a terminal, a few lines otherwise. Nothing of it goes to standard output,
//! and a standard error that is closed or full stops nothing.

use std::{
    cell::Cell,
    fmt::Display,
    io::{self, IsTerminal, Write},
    time::{Duration, Instant},
};

use indicatif::{HumanBytes, ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Without a terminal, at most one line of progress in this time.
const BETWEEN_LINES: Duration = Duration::from_secs(5);

/// How many bytes have been counted, and whoever wants to see it.
#[derive(Debug)]
pub struct Progress {
    total: u64,
    done: Cell<u64>,
    bar: Option<ProgressBar>,
    begun: Instant,
    last_line: Cell<Instant>,
}

impl Progress {
    /// Of so many bytes, none has been counted.
    pub fn new(total: u64) -> Self {
        let now = Instant::now();
        let bar = io::stderr().is_terminal().then(|| {
            let style = "{wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}";
            let style = ProgressStyle::with_template(style).expect("the template is well formed");
            ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr())
                .with_style(style)
        });
        Self { total, done: Cell::new(0), bar, begun: now, last_line: Cell::new(now) }
    }

    /// How many bytes there are to count, as far as was known at the beginning.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// How many bytes have been counted.
    pub fn done(&self) -> u64 {
        self.done.get()
    }

    /// So many more bytes have been counted.
    pub fn advance(&self, bytes: u64) {
        self.done.set(self.done() + bytes);
        self.show();
    }

    /// So many bytes have to be counted again.
    pub fn fall_back(&self, bytes: u64) {
        self.done.set(self.done().saturating_sub(bytes));
        self.show();
    }

    /// Says something to the person, in a line of its own.
    pub fn say(&self, what: impl Display) {
        let line = || {
            // Whoever has closed standard error does not want to know.
            let _ = writeln!(io::stderr(), "wordcount: {what}");
        };
        match &self.bar {
            Some(bar) => bar.suspend(line),
            None => line(),
        }
    }

    /// All is counted: the bar goes, and a line says what was done.
    pub fn finish(&self, files: usize) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        let (bytes, time) = (HumanBytes(self.done()), self.begun.elapsed().as_secs_f64());
        self.say(format_args!("counted {bytes} in {files} files, {time:.2} s"));
    }

    fn show(&self) {
        match &self.bar {
            Some(bar) => bar.set_position(self.done()),
            None if self.last_line.get().elapsed() >= BETWEEN_LINES => {
                self.last_line.set(Instant::now());
                let (done, total) = (HumanBytes(self.done()), HumanBytes(self.total));
                self.say(format_args!("{done} of {total}"));
            }
            None => {}
        }
    }
}
