//! How many instructions the hot path takes, counted by valgrind: the same on a busy machine as on one at rest.
//!
//! All contexts of a scene are in one thread and linked in memory, so what the transport does is not in the counts; and tokio's clock
//! stands still, so that no turn ends by the time it takes. `instructions.json` beside this says what was counted last, and
//! `.ci/instructions` compares.

#![expect(missing_docs, reason = "the macros of gungraun make items without documentation")]

use std::{cell::Cell, collections::VecDeque, hint::black_box, rc::Rc};

use actogen::{ContextId, Limits, Placement, memory::MemoryNetwork, prelude::*};
use actogen_core::wire::{self, FrameReader, Header};
use gungraun::{library_benchmark, library_benchmark_group, main};
use tokio::{runtime::Runtime, sync::Notify, task::LocalSet};

/// One-way messages of a run.
const TELLS: u64 = 4096;
/// Requests of a run, and how many of them are unanswered at any time.
const ASKS: u64 = 4096;
const IN_FLIGHT: usize = 64;
/// Bytes of a message's payload, beside a number of 8.
const PAYLOAD: usize = 56;

#[derive(Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "hot.Tell")]
struct Tell {
    number: u64,
    #[serde(with = "serde_bytes")]
    payload: Vec<u8>,
}

#[derive(Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "hot.Ask", reply = "u64")]
struct Ask(u64);

/// Counts what it is told, and says when it has had all of it.
#[derive(Debug, RemoteActor)]
#[remote(name = "hot.sink", messages(Tell, Ask))]
struct Sink {
    told: Rc<Cell<u64>>,
    all: Rc<Notify>,
}

impl Actor for Sink {
    type Context = actix::Context<Self>;
}

impl Handler<Tell> for Sink {
    type Result = ();

    fn handle(&mut self, tell: Tell, _: &mut Self::Context) {
        black_box(tell);
        self.told.set(self.told.get() + 1);
        if self.told.get().is_multiple_of(TELLS) {
            self.all.notify_one();
        }
    }
}

impl Handler<Ask> for Sink {
    type Result = u64;

    fn handle(&mut self, Ask(number): Ask, _: &mut Self::Context) -> u64 {
        number
    }
}

/// Contexts in a line, an actor in the last, and its address as the first has it.
struct Scene {
    sink: Remote<Sink>,
    all: Rc<Notify>,
    _contexts: Vec<Context>,
    local: LocalSet,
    runtime: Runtime,
}

impl Scene {
    /// With so many links between the first and the last context.
    fn with(links: u64) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .expect("a runtime");
        let local = LocalSet::new();
        let (contexts, sink, all) = local.block_on(&runtime, async {
            let network = MemoryNetwork::new("bench.test", [7; 32]);
            let mut contexts: Vec<Context> = Vec::new();
            for id in 0..=links {
                let (network, id) = (network.clone(), ContextId(id));
                let authority = network.authority();
                let builder = Context::builder()
                    .limits(Limits::default())
                    .placement(Placement::Inline)
                    .transport(move |limits| {
                        let endpoint = id.0.to_string();
                        let transport = network.transport(id, endpoint, limits.detection_time);
                        Box::pin(async move { Ok(transport) })
                    });
                let builder = match contexts.last() {
                    None => builder.authority(authority),
                    Some(parent) => {
                        let endpoint = parent.endpoint().expect("it can be dialled");
                        builder.connect_to(endpoint, parent.id())
                    }
                };
                contexts.push(builder.start().await.expect("a context"));
            }
            let (first, last) = (&contexts[0], &contexts[contexts.len() - 1]);
            while first.place_of(last.id()).is_none() && links > 0 {
                tokio::task::yield_now().await;
            }
            let all = Rc::new(Notify::new());
            let sink = last.start(Sink { told: Rc::default(), all: all.clone() });
            let sink = sink.attach(first);
            (contexts, sink, all)
        });
        let scene = Self { sink, all, _contexts: contexts, local, runtime };
        // The first of all finds the way, and makes what is made once.
        scene.tell(TELLS);
        scene.ask(IN_FLIGHT as u64);
        scene
    }

    fn tell(&self, messages: u64) {
        self.local.block_on(&self.runtime, async {
            for number in 0..messages {
                let payload = vec![0x5a; PAYLOAD];
                self.sink.tell(Tell { number, payload }).await.expect("it is taken");
            }
            self.all.notified().await;
        });
    }

    fn ask(&self, requests: u64) {
        self.local.block_on(&self.runtime, async {
            let mut under_way = VecDeque::with_capacity(IN_FLIGHT);
            let mut numbers = 0..requests;
            loop {
                while under_way.len() < IN_FLIGHT
                    && let Some(number) = numbers.next()
                {
                    under_way.push_back(self.sink.send(Ask(number)));
                }
                let Some(oldest) = under_way.pop_front() else { break };
                black_box(oldest.await.expect("it is answered"));
            }
        });
    }
}

#[library_benchmark]
#[bench::here(args = (0), setup = Scene::with)]
#[bench::away(args = (1), setup = Scene::with)]
#[bench::relayed(args = (2), setup = Scene::with)]
fn tell(scene: Scene) -> Scene {
    scene.tell(TELLS);
    scene
}

#[library_benchmark]
#[bench::here(args = (0), setup = Scene::with)]
#[bench::away(args = (1), setup = Scene::with)]
fn ask(scene: Scene) -> Scene {
    scene.ask(ASKS);
    scene
}

/// A stream of one-way messages to one mailbox, as they come in; every other run is one message long.
fn stream() -> bytes::Bytes {
    let (body, mut stream) = ([0x5a; PAYLOAD], Vec::new());
    for number in 0..TELLS {
        if number % 64 < 32 {
            let header = Header::to(actogen_core::Handle(4000 + number % 64));
            wire::put_frame(&header, &[&number.to_le_bytes(), &body], &mut stream);
        } else {
            wire::put_repeated(&body, &mut stream);
        }
    }
    stream.into()
}

#[library_benchmark]
#[bench::stream(setup = stream)]
fn read(stream: bytes::Bytes) -> usize {
    let mut frames = FrameReader::new();
    frames.feed(stream);
    let mut read = 0;
    while let Some(frame) = frames.next().expect("they are frames") {
        read += black_box(frame).payload.len();
    }
    read
}

library_benchmark_group!(name = hot_path, benchmarks = [tell, ask, read]);
main!(library_benchmark_groups = hot_path);
