//! Records become events of the root's own subscriber, with the name of their context.
//!
//! Their targets are `actogen::output` for lines and `actogen::remote` for events, since a target must be known where the program is
//! compiled; an event's own target is a field.

use std::fmt;

use actogen_runtime::{
    core::{ContextId, wire::TraceContext},
    logs::{Level, LogRecord, Source},
};

use crate::context::Context;

/// Whose a record is: the context that it is about, and the one that says so where that is another.
struct Whose<'a> {
    record: &'a LogRecord,
    from: ContextId,
}

impl fmt::Display for Whose<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.record.context, &*self.record.by) {
            (Some(context), "") => write!(f, "{}", context.0),
            // What one says about another is its word alone.
            (Some(context), by) if self.from.is_root() => write!(f, "{} ({by})", context.0),
            (Some(context), by) => write!(f, "{} ({by}, heard by {})", context.0, self.from.0),
            (None, "") => write!(f, "{}", self.from.0),
            (None, by) => write!(f, "{by}"),
        }
    }
}

/// Shows records that came from a context, in their order, and says how many it has dropped.
pub(super) fn show(context: &Context, from: ContextId, records: Vec<LogRecord>, dropped: u64) {
    let nobody_listens = !tracing::dispatcher::has_been_set();
    for mut record in records {
        if record.by.is_empty() {
            // What a context says of itself is its own, whatever it says that it is.
            record.context = Some(from);
        }
        record.trace = record.trace.filter(TraceContext::is_valid);
        if nobody_listens {
            super::put_out(std::slice::from_ref(&record));
        } else {
            event(from, &record);
        }
        context.publish_log(record);
    }
    if dropped > 0 {
        tracing::warn!(target: "actogen::output", context = from.0, dropped, "so many lines and events found no room on the way here");
        context.publish_log(LogRecord {
            context: Some(from),
            by: String::new(),
            source: Source::Event {
                level: Level::Warn,
                target: "actogen::output".to_owned(),
                spans: Vec::new(),
            },
            text: format!("{dropped} lines and events found no room on the way here"),
            trace: None,
        });
    }
}

fn event(from: ContextId, record: &LogRecord) {
    let context = Whose { record, from };
    let text = &*record.text;
    let (level, target, spans) = match &record.source {
        Source::Stdout => {
            return tracing::info!(target: "actogen::output", %context, "{text}");
        }
        Source::Event { level, target, spans } => (*level, &**target, spans.join(":")),
        _ => {
            return tracing::info!(target: "actogen::output", %context, stream = "stderr", "{text}");
        }
    };
    let spans = (!spans.is_empty()).then_some(spans);
    let trace_id = record.trace.map(|trace| trace.trace_id_text());
    let span_id = record.trace.map(|trace| trace.span_id_text());
    macro_rules! event {
        ($level:ident) => {
            // A field without a value is left out.
            tracing::event!(target: "actogen::remote", tracing::Level::$level, %context, from = target, spans, trace_id, span_id, "{text}")
        };
    }
    match level {
        Level::Trace => event!(TRACE),
        Level::Debug => event!(DEBUG),
        Level::Info => event!(INFO),
        Level::Warn => event!(WARN),
        Level::Error => event!(ERROR),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parking_lot::Mutex;
    use tracing::{Event, Subscriber, field::Visit};
    use tracing_subscriber::{Layer, layer::SubscriberExt};

    use super::*;

    /// The fields of each event, as `name=value`.
    #[derive(Clone, Default)]
    struct Seen(Arc<Mutex<Vec<String>>>);

    struct Fields(Vec<String>);

    impl Visit for Fields {
        fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn fmt::Debug) {
            self.0.push(format!("{}={value:?}", field.name()));
        }
    }

    impl<S: Subscriber> Layer<S> for Seen {
        fn on_event(&self, event: &Event<'_>, _: tracing_subscriber::layer::Context<'_, S>) {
            let mut fields = Fields(Vec::new());
            event.record(&mut fields);
            self.0.lock().push(fields.0.join(" "));
        }
    }

    #[test]
    fn m17_an_event_is_shown_with_its_trace_and_without_what_it_has_not() {
        let (level, target) = (Level::Warn, "app".to_owned());
        let mut record = LogRecord {
            context: None,
            by: String::new(),
            source: Source::Event { level, target, spans: Vec::new() },
            text: "late".to_owned(),
            trace: None,
        };
        let seen = Seen::default();
        let subscriber = tracing_subscriber::registry().with(seen.clone());
        tracing::subscriber::with_default(subscriber, || {
            event(ContextId(3), &record);
            record.trace = Some(TraceContext { trace_id: [1; 16], span_id: [2; 8], flags: 1 });
            event(ContextId(3), &record);
        });
        let plain = "message=late context=3 from=\"app\"";
        let traced =
            format!("{plain} trace_id=\"{}\" span_id=\"{}\"", "01".repeat(16), "02".repeat(8));
        assert_eq!(*seen.0.lock(), [plain.to_owned(), traced]);
    }
}
