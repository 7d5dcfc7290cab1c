//! Actogen at work: a root context, a child process that it launches, and an actor spawned in the child.

use std::{
    collections::VecDeque,
    future::poll_fn,
    pin::Pin,
    process::ExitCode,
    task::Poll,
    time::{Duration, Instant},
};

use actogen::{Limits, Mesh, Placement as Broker, Request, SendError, prelude::*, quic::Mtu};
use futures_util::future::{MaybeDone, maybe_done};

use crate::{
    allocations,
    failure::Failure,
    note::{LARGE, Note, SMALL},
    settings::{Placement, Settings},
    workload::{IN_FLIGHT, Outcome, Span, Workload, latencies, stride},
};

/// By these variables the child hears of the settings.
const PLACEMENT: &str = "ACTOGEN_BENCH_PLACEMENT";
const MTU: &str = "ACTOGEN_BENCH_MTU";
const MESSAGE: &str = "ACTOGEN_BENCH_MESSAGE";
const MAILBOX: &str = "ACTOGEN_BENCH_MAILBOX";

/// What contexts take, in bytes: the defaults, but for what is too large for those.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    pub(crate) message: usize,
    pub(crate) mailbox: usize,
}

impl Default for Sizes {
    fn default() -> Self {
        let Limits { max_message, mailbox_bytes, .. } = Limits::default();
        Self { message: max_message, mailbox: mailbox_bytes }
    }
}

impl Sizes {
    fn limits(self) -> Limits {
        let mut limits = Limits::default();
        limits.max_message = self.message;
        limits.mailbox_bytes = self.mailbox;
        limits.reassembly_bytes = limits.reassembly_bytes.max(self.message);
        limits.link_large_bytes = limits.link_large_bytes.max(self.message);
        limits
    }
}

/// More than a mailbox charges for a message beside its body, in bytes.
const ENVELOPE: usize = 256;

/// How long a run may take to end after its time.
const PATIENCE: Duration = Duration::from_secs(30);

/// A note, one way.
#[derive(Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "actogen-bench.Tell")]
pub(crate) struct Tell(pub(crate) Note);

/// A note that is to be sent back.
#[derive(Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "actogen-bench.Ask", reply = "Note")]
struct Ask(Note);

/// Begins to count the process's allocations.
#[derive(Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "actogen-bench.Count")]
struct Count;

/// Ends counting, and asks what was counted.
#[derive(Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "actogen-bench.Counted", reply = "u64")]
struct Counted;

/// Asks how many notes were told since the last time.
#[derive(Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "actogen-bench.Tally", reply = "u64")]
pub(crate) struct Tally;

/// Takes notes and does nothing with them.
#[derive(Debug, Default, RemoteActor)]
#[remote(name = "actogen-bench.sink", messages(Tell, Ask, Count, Counted, Tally), spawn)]
pub(crate) struct Sink {
    told: u64,
}

impl Actor for Sink {
    type Context = actix::Context<Self>;
}

impl Handler<Tell> for Sink {
    type Result = ();

    fn handle(&mut self, tell: Tell, _: &mut Self::Context) {
        std::hint::black_box(tell);
        self.told += 1;
    }
}

impl Handler<Ask> for Sink {
    type Result = MessageResult<Ask>;

    fn handle(&mut self, ask: Ask, _: &mut Self::Context) -> Self::Result {
        MessageResult(ask.0)
    }
}

impl Handler<Count> for Sink {
    type Result = ();

    fn handle(&mut self, _: Count, _: &mut Self::Context) {
        allocations::start();
    }
}

impl Handler<Counted> for Sink {
    type Result = u64;

    fn handle(&mut self, _: Counted, _: &mut Self::Context) -> u64 {
        allocations::stop()
    }
}

impl Handler<Tally> for Sink {
    type Result = u64;

    fn handle(&mut self, _: Tally, _: &mut Self::Context) -> u64 {
        std::mem::take(&mut self.told)
    }
}

/// The child's life, if this process is the child.
pub(crate) fn run_as_child() -> Option<ExitCode> {
    actogen::run_as_child(|builder| {
        let told = |name| std::env::var(name).unwrap_or_default();
        let broker = if told(PLACEMENT) == Placement::Inline.name() {
            Broker::Inline
        } else {
            Broker::Thread
        };
        let mtu = told(MTU).parse().map_or(Mtu::default(), Mtu::UpTo);
        let Sizes { message, mailbox } = Sizes::default();
        let sizes = Sizes {
            message: told(MESSAGE).parse().unwrap_or(message),
            mailbox: told(MAILBOX).parse().unwrap_or(mailbox),
        };
        builder.limits(sizes.limits()).placement(broker).quic(|options| options.mtu = mtu)
    })
}

/// Runs on this thread with what actors need.
pub(crate) fn block_on<T>(work: impl Future<Output = T>) -> T {
    actix::System::new().block_on(work)
}

/// A root context that listens on the loopback.
///
/// # Errors
/// [`Failure::Ours`].
pub(crate) async fn root(settings: Settings) -> Result<Context, Failure> {
    root_with(settings, Sizes::default()).await
}

/// As [`root`], for such sizes.
pub(crate) async fn root_with(settings: Settings, sizes: Sizes) -> Result<Context, Failure> {
    let mesh = Mesh::fresh("bench.local").map_err(Failure::ours("making a mesh"))?;
    let broker = match settings.placement {
        Placement::Inline => Broker::Inline,
        Placement::Threads => Broker::Thread,
    };
    Context::builder()
        .limits(sizes.limits())
        .mesh(mesh)
        .listen("127.0.0.1:0")
        .placement(broker)
        .quic(|options| options.mtu = Mtu::UpTo(settings.mtu))
        .start()
        .await
        .map_err(Failure::ours("starting a context"))
}

/// A child process of a context, with the same settings.
///
/// # Errors
/// [`Failure::Ours`].
pub(crate) async fn child(context: &Context, settings: Settings) -> Result<Child, Failure> {
    child_with(context, settings, Sizes::default()).await
}

/// As [`child`], for such sizes.
pub(crate) async fn child_with(
    context: &Context,
    settings: Settings,
    sizes: Sizes,
) -> Result<Child, Failure> {
    let launched = context.launch(launch(settings, sizes)).await;
    launched.map_err(Failure::ours("launching a child"))
}

/// How a child is launched for these settings.
pub(crate) fn launch(settings: Settings, sizes: Sizes) -> Launch {
    told(Launch::local(), settings, sizes)
}

/// Has whatever is launched hear of the settings.
pub(crate) fn told(launch: Launch, settings: Settings, sizes: Sizes) -> Launch {
    launch
        .env(PLACEMENT, settings.placement.name())
        .env(MTU, settings.mtu.to_string())
        .env(MESSAGE, sizes.message.to_string())
        .env(MAILBOX, sizes.mailbox.to_string())
}

/// Two contexts in two processes, and an actor in the second.
#[derive(Debug)]
pub(crate) struct Ours {
    pub(crate) context: Context,
    pub(crate) child: Child,
    pub(crate) sink: Remote<Sink>,
}

impl Ours {
    /// Starts the contexts and the actor.
    ///
    /// # Errors
    /// [`Failure::Ours`].
    pub(crate) async fn start(settings: Settings) -> Result<Self, Failure> {
        Self::start_with(settings, Sizes::default()).await
    }

    /// As [`Self::start`], for such sizes.
    ///
    /// # Errors
    /// [`Failure::Ours`].
    pub(crate) async fn start_with(settings: Settings, sizes: Sizes) -> Result<Self, Failure> {
        let context = root_with(settings, sizes).await?;
        let child = child_with(&context, settings, sizes).await?;
        let sink = child.spawn::<Sink>(()).await.map_err(Failure::ours("spawning an actor"))?;
        Ok(Self { context, child, sink })
    }

    /// Does a work for a while.
    ///
    /// # Errors
    /// [`Failure::Ours`], and [`Failure::Lost`] where messages did not come.
    pub(crate) async fn run(
        &self,
        workload: Workload,
        lasts: Duration,
    ) -> Result<Outcome, Failure> {
        let work = async {
            match workload {
                Workload::Tell(bytes) => {
                    let told = self.tell(bytes, lasts).await?;
                    Ok(told.rate.into())
                }
                Workload::Bulk => {
                    let told = self.tell(size_of::<u64>() + LARGE, lasts).await?;
                    Ok((told.rate * LARGE as f64 / 1e6).into())
                }
                Workload::Allocations => {
                    self.sink.send(Count).await.map_err(Failure::ours("counting"))?;
                    allocations::start();
                    let told = self.tell(SMALL, lasts).await?;
                    let here = allocations::stop();
                    let there = self.sink.send(Counted).await.map_err(Failure::ours("counting"))?;
                    Ok(((here + there) as f64 / told.messages as f64).into())
                }
                Workload::Ask => self.ask(lasts).await,
                Workload::AskInFlight => self.ask_in_flight(lasts).await,
            }
        };
        within(lasts, work).await
    }

    async fn tell(&self, bytes: usize, lasts: Duration) -> Result<Told, Failure> {
        tell(std::slice::from_ref(&self.sink), bytes, lasts).await
    }

    async fn ask(&self, lasts: Duration) -> Result<Outcome, Failure> {
        Ok(latencies(ask_in_turn(std::slice::from_ref(&self.sink), lasts).await?))
    }

    async fn ask_in_flight(&self, lasts: Duration) -> Result<Outcome, Failure> {
        let span = Span::of(lasts);
        // In one task and in turn, as in the reference: what tasks cost is not measured here.
        let mut requests = VecDeque::with_capacity(IN_FLIGHT);
        let (mut asked, mut answered) = (0, 0);
        while !(span.is_over() && requests.is_empty()) {
            while requests.len() < IN_FLIGHT && !span.is_over() {
                requests.push_back(request(&self.sink, asked));
                asked += 1;
            }
            if let Some(oldest) = requests.pop_front() {
                check(oldest.await, answered)?;
                answered += 1;
            }
        }
        Ok(span.rate(answered).into())
    }

    /// Ends both contexts.
    pub(crate) async fn end(self) {
        self.context.shutdown().await;
    }
}

/// Asks these, one after the other and each when the one before has answered. How long each took, in nanoseconds.
///
/// # Errors
/// [`Failure::Ours`].
pub(crate) async fn ask_in_turn(
    sinks: &[Remote<Sink>],
    lasts: Duration,
) -> Result<Vec<u64>, Failure> {
    let span = Span::of(lasts);
    let mut times = Vec::new();
    for sink in sinks.iter().cycle() {
        if span.is_over() {
            break;
        }
        let began = Instant::now();
        ask(sink, times.len() as u64).await?;
        times.push(began.elapsed().as_nanos() as u64);
    }
    Ok(times)
}

/// How far a sender may be ahead of the actor that it tells: three quarters of what the actor's mailbox holds at most. More than it
/// holds would be refused and counted as dead, and no measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Lead {
    /// Messages between two tallies.
    batch: u64,
    /// Tallies that may be unanswered, with the one to come.
    batches: usize,
}

impl Lead {
    fn of(bytes: usize) -> Self {
        let Limits { mailbox_messages, mailbox_bytes, .. } = Limits::default();
        let held = mailbox_messages.min(mailbox_bytes / (bytes + ENVELOPE));
        let ahead = (held - held.div_ceil(4)).max(1);
        let batch = ahead.div_ceil(4);
        Self { batch: batch as u64, batches: ahead / batch }
    }
}

/// What came of telling for a while.
pub(crate) struct Told {
    messages: u64,
    /// Messages a second.
    pub(crate) rate: f64,
}

/// Tells notes of so many bytes to these, one after the other, for a while, until all have been handled.
///
/// # Errors
/// [`Failure::Ours`], and [`Failure::Lost`] where messages did not come.
pub(crate) async fn tell(
    sinks: &[Remote<Sink>],
    bytes: usize,
    lasts: Duration,
) -> Result<Told, Failure> {
    let span = Span::of(lasts);
    let lead = Lead::of(bytes);
    // Each takes its turn behind what was told before it.
    let mut tallies = VecDeque::with_capacity(lead.batches);
    let (mut messages, mut received) = (0, 0);
    let mut turns = (0..sinks.len()).cycle();
    let mut next = || turns.next().expect("there is somebody to tell");
    let mut asked = 0;
    while !span.is_over() {
        for _ in 0..lead.batch {
            let message = Tell(Note::new(messages, bytes));
            sinks[next()].tell(message).await.map_err(Failure::ours("telling"))?;
            messages += 1;
            if messages % stride(bytes) == 0 && span.is_over() {
                break;
            }
        }
        // One of many is asked: none of them is further behind than the whole of what is under way.
        tallies.push_back(ask_tally(&sinks[asked]).await);
        asked = (asked + 1) % sinks.len();
        while tallies.len() >= lead.batches {
            let oldest = tallies.pop_front().expect("one was pushed a moment ago");
            received += answer(oldest).await?;
        }
    }
    // Those who were not asked last have more to say.
    for sink in sinks {
        tallies.push_back(ask_tally(sink).await);
        if tallies.len() >= IN_FLIGHT {
            let oldest = tallies.pop_front().expect("one was pushed a moment ago");
            received += answer(oldest).await?;
        }
    }
    for tally in tallies {
        received += answer(tally).await?;
    }
    let rate = span.rate(messages);
    Failure::unless_all_came(messages, received)?;
    Ok(Told { messages, rate })
}

type Asked = MaybeDone<Request<Tally>>;

/// Asks for a tally by a first poll; it is answered whenever it is.
async fn ask_tally(sink: &Remote<Sink>) -> Asked {
    let mut tally = maybe_done(sink.send(Tally));
    let _ = poll_fn(|task| Poll::Ready(Pin::new(&mut tally).poll(task))).await;
    tally
}

async fn answer(mut asked: Asked) -> Result<u64, Failure> {
    (&mut asked).await;
    let answer = Pin::new(&mut asked).take_output().expect("it was awaited");
    answer.map_err(Failure::ours("asking for a tally"))
}

/// Gives a run its time, and some more to end.
///
/// # Errors
/// Those of the run, and [`Failure::Ours`] if it does not end.
pub(crate) async fn within<T>(
    lasts: Duration,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    tokio::time::timeout(lasts + PATIENCE, work).await.unwrap_or_else(|_| {
        let why = format!("it did not end {PATIENCE:?} after its time");
        Err(Failure::Ours { doing: "a run", why })
    })
}

async fn ask(sink: &Remote<Sink>, number: u64) -> Result<(), Failure> {
    check(request(sink, number).await, number)
}

fn request(sink: &Remote<Sink>, number: u64) -> Request<Ask> {
    sink.send(Ask(Note::new(number, SMALL)))
}

fn check(answer: Result<Note, SendError<Ask>>, number: u64) -> Result<(), Failure> {
    let note = answer.map_err(Failure::ours("asking"))?;
    if note.number == number && note.payload.len() == SMALL - size_of::<u64>() {
        Ok(())
    } else {
        Err(Failure::Ours { doing: "asking", why: "the answer is another's".into() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::note::MEDIUM;

    #[test]
    fn a_sender_keeps_within_what_a_mailbox_holds() {
        let limits = Limits::default();
        for bytes in [SMALL, MEDIUM, LARGE + size_of::<u64>()] {
            let lead = Lead::of(bytes);
            let ahead = lead.batch as usize * lead.batches;
            assert!(lead.batch >= 1 && lead.batches >= 2, "{bytes}: {lead:?}");
            assert!(ahead + lead.batches <= limits.mailbox_messages, "{bytes}: {lead:?}");
            assert!(ahead * (bytes + ENVELOPE) <= limits.mailbox_bytes, "{bytes}: {lead:?}");
        }
    }
}
