//! A child's tracing events become records.

use std::{
    fmt::{self, Write},
    sync::Arc,
};

use actogen_runtime::logs::{Level, LogRecord, Logs, Source};
use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};
use tracing_subscriber::{
    EnvFilter, Layer,
    fmt::{
        FmtContext, FormatEvent, FormatFields,
        format::{Format, Writer},
    },
    layer::{Context, SubscriberExt},
    registry::LookupSpan,
    util::SubscriberInitExt,
};

use crate::trace;

/// What is heard of where nobody has said anything else: at the root what goes wrong, and what other processes put out.
const HERE: &str = "warn,actogen::output=info";

/// As [`HERE`], in a child, whose output is heard without this.
const IN_A_CHILD: &str = "warn";

/// What sends records, or carries them: below a warning it has nothing to say about that, or it would say so for ever.
const CARRIERS: &[&str] = &["actogen", "quinn", "rustls", "tokio", "mio", "actix"];

/// Events go to standard error, unless the program has a subscriber already; `RUST_LOG` says which.
pub(crate) fn log_here() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(HERE));
    // A program that has set its own keeps it.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .with_writer(std::io::stderr)
        // A standard error that is closed must not end the program: without this, what cannot be written is complained of there.
        .log_internal_errors(false)
        .event_format(WithTrace(Format::default()))
        .try_init();
}

/// Events go to the root by way of `logs`, unless the program has a subscriber already.
pub(crate) fn log_to(logs: Arc<Logs>, filter: Option<&str>) {
    let said = filter.and_then(|filter| EnvFilter::try_new(filter).ok());
    let filter = said
        .or_else(|| EnvFilter::try_from_default_env().ok())
        .unwrap_or_else(|| EnvFilter::new(IN_A_CHILD));
    let _ = tracing_subscriber::registry().with(filter).with(ToLogs(logs)).try_init();
}

struct ToLogs(Arc<Logs>);

/// Lines of the root's own events; those of a trace begin with its ids, by which they are found beside what came from elsewhere.
struct WithTrace(Format);

impl<S, N> FormatEvent<S, N> for WithTrace
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        if let Some(span) = trace::current() {
            let (trace, span) = (span.trace_id_text(), span.span_id_text());
            write!(writer, "trace_id=\"{trace}\" span_id=\"{span}\" ")?;
        }
        self.0.format_event(context, writer, event)
    }
}

/// The fields of a span, as text.
struct Fields(String);

fn level(level: tracing::Level) -> Level {
    match level {
        tracing::Level::TRACE => Level::Trace,
        tracing::Level::DEBUG => Level::Debug,
        tracing::Level::INFO => Level::Info,
        tracing::Level::WARN => Level::Warn,
        tracing::Level::ERROR => Level::Error,
    }
}

fn is_of_a_carrier(metadata: &Metadata<'_>) -> bool {
    let root = metadata.target().split("::").next().unwrap_or_default();
    CARRIERS.iter().any(|carrier| {
        root.strip_prefix(carrier).is_some_and(|rest| rest.is_empty() || rest.starts_with('_'))
    })
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for ToLogs {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut text = Text::default();
        attributes.record(&mut text);
        span.extensions_mut().insert(Fields(text.fields));
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut extensions = span.extensions_mut();
        let Some(Fields(fields)) = extensions.get_mut() else { return };
        let mut text = Text { fields: std::mem::take(fields), ..Text::default() };
        values.record(&mut text);
        *fields = text.fields;
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let metadata = event.metadata();
        if *metadata.level() > tracing::Level::WARN && is_of_a_carrier(metadata) {
            return;
        }
        let mut text = Text::default();
        event.record(&mut text);
        let scope = context.event_scope(event).into_iter().flat_map(|scope| scope.from_root());
        let spans = scope.map(|span| match span.extensions().get::<Fields>() {
            Some(Fields(fields)) if !fields.is_empty() => format!("{}{{{fields}}}", span.name()),
            _ => span.name().to_owned(),
        });
        let source = Source::Event {
            level: level(*metadata.level()),
            target: metadata.target().to_owned(),
            spans: spans.collect(),
        };
        self.0.push(LogRecord {
            context: None,
            by: String::new(),
            source,
            text: text.whole(),
            trace: trace::current(),
        });
    }
}

/// A message, and fields as `name=value`.
#[derive(Default)]
struct Text {
    message: String,
    fields: String,
}

impl Text {
    fn whole(self) -> String {
        let Self { message, fields } = self;
        match (message.is_empty(), fields.is_empty()) {
            (_, true) => message,
            (true, false) => fields,
            (false, false) => format!("{message} {fields}"),
        }
    }
}

impl Visit for Text {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            self.message.push_str(value);
        } else {
            self.record_debug(field, &value);
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        // Writing to a text does not fail.
        if field.name() == "message" {
            let _ = write!(self.message, "{value:?}");
        } else {
            let gap = if self.fields.is_empty() { "" } else { " " };
            let _ = write!(self.fields, "{gap}{}={value:?}", field.name());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logged(events: impl FnOnce()) -> Vec<LogRecord> {
        let logs = Arc::<Logs>::default();
        let subscriber = tracing_subscriber::registry().with(ToLogs(logs.clone()));
        tracing::subscriber::with_default(subscriber, events);
        logs.try_take(usize::MAX).map(|(records, _)| records).unwrap_or_default()
    }

    #[test]
    fn m17_an_event_keeps_level_target_fields_and_spans() {
        let records = logged(|| {
            let job = tracing::info_span!("job", id = 7, state = tracing::field::Empty);
            job.record("state", "late");
            let _job = job.entered();
            let _step = tracing::info_span!("step").entered();
            tracing::warn!(target: "app::jobs", left = 3, who = "me", "it is {}", "late");
        });
        let [record] = &records[..] else { panic!("{records:?}") };
        assert_eq!(record.text, "it is late left=3 who=\"me\"");
        let Source::Event { level, target, spans } = &record.source else { panic!("{record:?}") };
        assert_eq!((*level, &**target), (Level::Warn, "app::jobs"));
        assert_eq!(spans[..], ["job{id=7 state=\"late\"}", "step"]);
    }

    #[test]
    fn m17_an_event_bears_the_span_of_its_trace() {
        let span = trace::TraceContext { trace_id: [1; 16], span_id: [2; 8], flags: 1 };
        let records = logged(|| {
            trace::run(Some(span), || tracing::warn!(target: "app", "within"));
            tracing::warn!(target: "app", "without");
        });
        let traces: Vec<_> = records.iter().map(|record| record.trace).collect();
        assert_eq!(traces, [Some(span), None]);
    }

    #[test]
    fn m17_a_line_of_the_roots_own_begins_with_its_trace() {
        #[derive(Clone, Default)]
        struct Lines(Arc<parking_lot::Mutex<Vec<u8>>>);
        impl std::io::Write for Lines {
            fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
                self.0.lock().extend_from_slice(bytes);
                Ok(bytes.len())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .event_format(WithTrace(Format::default()))
            .with_writer(move || writer.clone())
            .finish();
        let span = trace::TraceContext { trace_id: [1; 16], span_id: [2; 8], flags: 1 };
        tracing::subscriber::with_default(subscriber, || {
            trace::run(Some(span), || tracing::warn!("within"));
            tracing::warn!("without");
        });
        let lines = String::from_utf8(lines.0.lock().clone()).unwrap();
        let [within, without] = lines.lines().collect::<Vec<_>>()[..] else { panic!("{lines}") };
        let begin = format!("trace_id=\"{}\" span_id=\"{}\" ", "01".repeat(16), "02".repeat(8));
        assert!(within.starts_with(&begin) && within.ends_with("within"), "{within}");
        assert!(!without.contains("trace_id"), "{without}");
    }

    #[test]
    fn m17_what_carries_records_makes_none() {
        let records = logged(|| {
            tracing::info!(target: "quinn_proto::connection", "sent");
            tracing::debug!(target: "actogen_runtime::lane", "sent");
            tracing::warn!(target: "actogen_runtime::lane", "full");
            tracing::info!(target: "actogenic", "mine");
        });
        let texts: Vec<_> = records.iter().map(|record| &*record.text).collect();
        assert_eq!(texts, ["full", "mine"]);
    }
}
