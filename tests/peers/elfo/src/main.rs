//! elfo: actors in groups, over elfo's own network between two processes (TCP, not encrypted).
//!
//! The first process holds a group of one actor that sends and asks, the second one of one actor that counts and answers.

use std::{
    net::TcpListener,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use elfo::{
    ActorGroup, Blueprint, Context, Topology,
    messages::UpdateConfig,
    prelude::*,
    routers::{MapRouter, Outcome as Route, Singleton},
};
use measure::{
    Error, PATIENCE,
    drive::drive,
    note::{Note, Tally},
    second::{self, Second},
    target::{self, Target},
    work::{Outcome, Place, Work, Worker},
};

#[message]
struct Tell(Note);

#[message(ret = Answer)]
struct Ask(Note);

#[message]
struct Answer(Note);

#[message(ret = Counted)]
struct Told;

#[message]
struct Counted(Tally);

/// How often a connection is looked for at the beginning.
const ATTEMPT: Duration = Duration::from_millis(100);

struct Sender(Context);

impl Target for Sender {
    /// elfo's network asks the receiver's mailbox how much it takes, and `send` waits for it.
    async fn tell(&self, note: Note) -> Result<(), Error> {
        Ok(self.0.send(Tell(note)).await.map_err(|_| "the receiver is gone")?)
    }

    async fn tally(&self) -> Result<Tally, Error> {
        Ok(self.0.request(Told).resolve().await?.0)
    }

    async fn ask(&self, note: Note) -> Result<Note, Error> {
        Ok(self.0.request(Ask(note)).resolve().await?.0)
    }
}

impl Worker for Sender {
    async fn run(&self, work: &Work, lasts: Duration) -> Result<Outcome, Error> {
        target::run(self, work.kind, lasts).await
    }

    fn without(&self, work: &Work) -> Option<&'static str> {
        (work.place != Place::Remote)
            .then_some("elfo has no arbiters: it places actors on its threads itself")
    }
}

/// The second process, for whoever ends it.
type Other = Arc<Mutex<Option<Second>>>;

fn senders(other: Other) -> Blueprint {
    let router = MapRouter::new(|envelope| {
        msg!(match envelope {
            UpdateConfig => Route::Unicast(Singleton),
            _ => Route::Discard,
        })
    });
    ActorGroup::new().router(router).exec(move |context| run_sender(context, other.clone()))
}

async fn run_sender(context: Context, other: Other) {
    let sender = Sender(context);
    let serving = async {
        let connecting = async {
            while sender.tally().await.is_err() {
                tokio::time::sleep(ATTEMPT).await;
            }
        };
        tokio::time::timeout(PATIENCE, connecting).await.map_err(|_| "no connection")?;
        drive(&sender, "TCP").await
    };
    let result: Result<(), Error> = serving.await;
    if let Err(error) = &result {
        eprintln!("elfo: {error}");
    }
    drop(other.lock().unwrap_or_else(PoisonError::into_inner).take());
    // elfo's own way to end is a signal.
    std::process::exit(i32::from(result.is_err()))
}

fn receivers() -> Blueprint {
    let router = MapRouter::new(|envelope| {
        msg!(match envelope {
            UpdateConfig => Route::Default,
            _ => Route::Unicast(Singleton),
        })
    });
    ActorGroup::new().router(router).exec(|mut context| async move {
        let mut tally = Tally::default();
        while let Some(envelope) = context.recv().await {
            msg!(match envelope {
                Tell(note) => tally.count(note.number, &note.payload),
                (Ask(note), token) => context.respond(token, Answer(note)),
                (Told, token) => context.respond(token, Counted(tally.take())),
            })
        }
    })
}

/// A topology of what both processes have: the groups that configure and that carry.
fn topology(config: &str) -> Result<Topology, Error> {
    let topology = Topology::empty();
    let config = toml::from_str::<toml::Value>(config)?;
    let configurers = topology.local("system.configurers").entrypoint();
    configurers.mount(elfo::batteries::configurer::fixture(&topology, config));
    topology.local("system.network").mount(elfo::batteries::network::new(&topology));
    Ok(topology)
}

/// A port that was free a moment ago: elfo does not say which one it has got.
fn free_port() -> Result<u16, Error> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

async fn first(other: Second) -> Result<(), Error> {
    let port = other.says.clone();
    let config = format!(
        "[system.network]\n\
         discovery.predefined = [\"tcp://127.0.0.1:{port}\"]\n\
         discovery.attempt_interval = \"1s\"\n\
         [senders]\n"
    );
    let topology = topology(&config)?;
    let here = topology.local("senders");
    let there = topology.remote("receivers");
    here.route_to(&there, |_, _| elfo::topology::Outcome::Broadcast);
    here.mount(senders(Arc::new(Mutex::new(Some(other)))));
    Ok(elfo::init::try_start(topology).await?)
}

async fn second() -> Result<(), Error> {
    let port = free_port()?;
    let config = format!("[system.network]\nlisten = [\"tcp://127.0.0.1:{port}\"]\n[receivers]\n");
    let topology = topology(&config)?;
    let here = topology.local("receivers");
    here.mount(receivers());
    second::say(&port.to_string())?;
    Ok(elfo::init::try_start(topology).await?)
}

fn main() -> Result<(), Error> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    if second::is_this() {
        second::end_with_the_first();
        return runtime.block_on(second());
    }
    runtime.block_on(first(Second::start()?))
}
