//! What contexts have to say: lines that processes put out and events of their programs, on the way to the root.
//!
//! Each context gathers its own and those of its children's processes, within a bound, and sends them to the root, which shows them. What
//! finds no room is counted, and the count goes with what comes next.

use std::{collections::VecDeque, fmt, sync::Arc};

use actogen_core::{ContextId, wire::TraceContext};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, broadcast};

use crate::context::Context;

/// The longest line that is kept in one piece, in bytes; a longer one goes on in another.
pub const LONGEST_LINE: usize = 1024 * 1024;

/// Bytes of records that wait in one context.
const MOST_BYTES: usize = 4 * LONGEST_LINE;

/// What a record counts beside its text, in bytes.
const AROUND_A_RECORD: usize = 128;

/// How many records a subscriber may lag behind before the oldest are dropped for it (and it is told how many).
const BACKLOG: usize = 1024;

/// How important an event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Level {
    /// For who looks into the program.
    Trace,
    /// For who looks for a fault.
    Debug,
    /// Of interest.
    Info,
    /// Something is not as it should be.
    Warn,
    /// Something has failed.
    Error,
}

/// Where a record comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Source {
    /// A line on standard output.
    Stdout,
    /// A line on standard error.
    Stderr,
    /// An event that the program has traced.
    Event {
        /// How important it is.
        level: Level,
        /// Its target: the module, unless it says otherwise.
        target: String,
        /// The spans that it happened in, outermost first, with their fields.
        spans: Vec<String>,
    },
}

/// One line, or one event.
///
/// In text an event of a trace ends with `trace_id` and `span_id`, in the form in which they are shown at the root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogRecord {
    /// The context that it is about; not known yet for the first lines of a process.
    pub context: Option<ContextId>,
    /// What the process was launched as, such as `local` or `ssh db1`, where that is how it was heard.
    pub by: String,
    /// Where it comes from.
    pub source: Source,
    /// The line without its end, or the event's message with its fields.
    pub text: String,
    /// The span of a trace that the event happened in; of lines it is not known.
    pub trace: Option<TraceContext>,
}

impl LogRecord {
    fn bytes(&self) -> usize {
        self.text.len() + self.by.len() + AROUND_A_RECORD
    }
}

impl fmt::Display for LogRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.context, &*self.by) {
            (Some(context), _) => write!(f, "{context}: ")?,
            (None, "") => {}
            (None, by) => write!(f, "{by}: ")?,
        }
        if let Source::Event { level, target, spans } = &self.source {
            write!(f, "{level:?} ")?;
            for span in spans {
                write!(f, "{span}:")?;
            }
            write!(f, "{target}: ")?;
        }
        f.write_str(&self.text)?;
        match &self.trace {
            Some(trace) => write!(
                f,
                " trace_id=\"{}\" span_id=\"{}\"",
                trace.trace_id_text(),
                trace.span_id_text()
            ),
            None => Ok(()),
        }
    }
}

/// Records that wait to be sent, or to be shown at the root.
#[derive(Debug)]
pub struct Logs {
    waiting: Mutex<Waiting>,
    came: Notify,
    shown: broadcast::Sender<Arc<LogRecord>>,
}

#[derive(Debug, Default)]
struct Waiting {
    records: VecDeque<LogRecord>,
    bytes: usize,
    dropped: u64,
}

impl Default for Logs {
    fn default() -> Self {
        let shown = broadcast::Sender::new(BACKLOG);
        Self { waiting: Mutex::default(), came: Notify::new(), shown }
    }
}

impl Logs {
    /// Takes a record, or counts it where there is no room.
    pub fn push(&self, record: LogRecord) {
        {
            let mut waiting = self.waiting.lock();
            let bytes = record.bytes();
            // However long a record is, an empty queue takes it.
            if !waiting.records.is_empty() && waiting.bytes + bytes > MOST_BYTES {
                waiting.dropped += 1;
            } else {
                waiting.bytes += bytes;
                waiting.records.push_back(record);
            }
        }
        self.came.notify_one();
    }

    /// Waits for records, and takes as many as make up so many bytes, with how many were dropped behind them.
    pub async fn take(&self, most: usize) -> (Vec<LogRecord>, u64) {
        loop {
            if let Some(taken) = self.try_take(most) {
                return taken;
            }
            self.came.notified().await;
        }
    }

    /// As [`Self::take`], of what is there.
    pub fn try_take(&self, most: usize) -> Option<(Vec<LogRecord>, u64)> {
        let mut waiting = self.waiting.lock();
        let (mut taken, mut bytes) = (Vec::new(), 0);
        while let Some(next) = waiting.records.front()
            && (taken.is_empty() || bytes + next.bytes() <= most)
        {
            bytes += next.bytes();
            taken.extend(waiting.records.pop_front());
        }
        waiting.bytes -= bytes;
        let dropped =
            if waiting.records.is_empty() { std::mem::take(&mut waiting.dropped) } else { 0 };
        (!taken.is_empty() || dropped > 0).then_some((taken, dropped))
    }
}

/// The records that come to the root, from the moment of subscribing on.
#[derive(Debug)]
pub struct LogRecords(broadcast::Receiver<Arc<LogRecord>>);

impl LogRecords {
    /// The next record; `Err` with a number when so many were dropped because nobody took them, `None` when the context has ended.
    pub async fn next(&mut self) -> Option<Result<Arc<LogRecord>, u64>> {
        match self.0.recv().await {
            Ok(record) => Some(Ok(record)),
            Err(broadcast::error::RecvError::Lagged(dropped)) => Some(Err(dropped)),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}

impl Context {
    /// What this context has to say and what is heard of its children's processes, on its way to the root.
    pub fn outgoing_logs(&self) -> &Arc<Logs> {
        &self.0.logs
    }

    /// At the root: the records of all contexts, from now on.
    pub fn logs(&self) -> LogRecords {
        LogRecords(self.0.logs.shown.subscribe())
    }

    /// Gives a record to those who have subscribed.
    pub fn publish_log(&self, record: LogRecord) {
        // Most have no subscribers.
        let _ = self.0.logs.shown.send(Arc::new(record));
    }

    /// Takes a line that a child's process has put out.
    pub(crate) fn child_said(&self, launch: u64, by: &str, source: Source, text: String) {
        let context = self.0.launches.context_of(launch);
        self.0.logs.push(LogRecord { context, by: by.to_owned(), source, text, trace: None });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(bytes: usize) -> LogRecord {
        let text = "x".repeat(bytes);
        LogRecord { context: None, by: String::new(), source: Source::Stdout, text, trace: None }
    }

    #[test]
    fn m17_what_finds_no_room_is_counted_and_told_behind_the_rest() {
        let logs = Logs::default();
        for _ in 0..10 {
            logs.push(line(LONGEST_LINE));
        }
        let mut taken = 0;
        let dropped = loop {
            let (records, dropped) = logs.try_take(64 * 1024).unwrap();
            taken += records.len();
            if dropped > 0 {
                break dropped;
            }
        };
        assert_eq!((taken, dropped), (3, 7));
        assert!(logs.try_take(1).is_none());
        logs.push(line(1));
        assert_eq!(logs.try_take(1), Some((vec![line(1)], 0)));
    }

    #[test]
    fn a_record_says_whose_it_is() {
        let mut record = line(1);
        assert_eq!(record.to_string(), "x");
        record.by = "ssh db1".into();
        assert_eq!(record.to_string(), "ssh db1: x");
        record.context = Some(ContextId(3));
        let (level, target) = (Level::Warn, "app".to_owned());
        record.source = Source::Event { level, target, spans: vec!["job{id=7}".into()] };
        assert_eq!(record.to_string(), "context 3: Warn job{id=7}:app: x");
        record.trace =
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".parse().map(Some).unwrap();
        assert_eq!(
            record.to_string(),
            "context 3: Warn job{id=7}:app: x trace_id=\"4bf92f3577b34da6a3ce929d0e0e4736\" span_id=\"00f067aa0ba902b7\""
        );
    }
}
