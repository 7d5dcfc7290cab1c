//! kameo: one actor in a second process, over libp2p (TCP, encrypted by Noise, multiplexed by Yamux: what kameo's book shows); and whole programs in
//! this process.
//!
//! kameo sends every message as a request of libp2p on a stream of its own. Of those that nobody waits for it drops what exceeds its
//! streams, silently, and their order is not kept.

use std::time::Duration;

use futures_util::StreamExt;
use kameo::{prelude::*, remote};
use libp2p::{
    Multiaddr, PeerId, Swarm, SwarmBuilder, noise,
    swarm::{NetworkBehaviour, SwarmEvent},
    tcp, yamux,
};
use measure::{
    Error, PATIENCE,
    drive::drive,
    note::{self, Tally},
    savina::{Behaviour as Playable, Players, Side, System},
    second::{self, Second},
    target::{self, Target},
    work::{Kind, Outcome, Place, Work, Worker},
};
use serde::{Deserialize, Serialize};

/// The name under which the second process's actor is found.
const NAME: &str = "sink";
/// How often it is looked for at the beginning.
const ATTEMPT: Duration = Duration::from_millis(100);
/// Longer than any run without a word.
const IDLE: Duration = Duration::from_secs(600);
/// How far a sender is ahead at most. With more under way than kameo has streams (100) it loses messages.
const LEAD: usize = 64;

#[derive(Default, Actor, RemoteActor)]
struct Sink(Tally);

#[derive(Serialize, Deserialize)]
struct Tell(note::Note);

#[derive(Serialize, Deserialize)]
struct Ask(note::Note);

#[derive(Serialize, Deserialize)]
struct Told;

#[derive(Serialize, Deserialize, Reply)]
struct Answer(note::Note);

#[derive(Serialize, Deserialize, Reply)]
struct Counted(Tally);

#[remote_message("tell")]
impl Message<Tell> for Sink {
    type Reply = ();

    async fn handle(&mut self, Tell(note): Tell, _: &mut Context<Self, Self::Reply>) {
        self.0.count(note.number, &note.payload);
    }
}

#[remote_message("ask")]
impl Message<Ask> for Sink {
    type Reply = Answer;

    async fn handle(&mut self, ask: Ask, _: &mut Context<Self, Self::Reply>) -> Answer {
        Answer(ask.0)
    }
}

#[remote_message("told")]
impl Message<Told> for Sink {
    type Reply = Counted;

    async fn handle(&mut self, _: Told, _: &mut Context<Self, Self::Reply>) -> Counted {
        Counted(self.0.take())
    }
}

/// The actors of whole programs: tasks, on the two threads of tokio.
#[derive(Clone)]
struct Tasks;

struct Playing<B>(B);

impl<B: Playable<Tasks>> Actor for Playing<B> {
    type Args = Self;
    type Error = std::convert::Infallible;

    async fn on_start(playing: Self, _: ActorRef<Self>) -> Result<Self, Self::Error> {
        Ok(playing)
    }
}

struct Say<M>(M);

impl<B: Playable<Tasks>> Message<Say<B::Message>> for Playing<B> {
    type Reply = ();

    async fn handle(&mut self, Say(message): Say<B::Message>, _: &mut Context<Self, ()>) {
        if let Some(later) = self.0.handle(message) {
            tokio::spawn(later);
        }
    }
}

impl System for Tasks {
    type Address<B: Playable<Self>> = ActorRef<Playing<B>>;

    /// Without a bound, as the others: nobody waits for room here, and a performance is as large as ours has room for.
    async fn start<B: Playable<Self>>(
        &self,
        _: Side,
        behaviour: B,
    ) -> Result<Self::Address<B>, Error> {
        Ok(Playing::spawn_with_mailbox(Playing(behaviour), mailbox::unbounded()))
    }

    fn tell<B: Playable<Self>>(address: &Self::Address<B>, message: B::Message) {
        // Whoever has ended is missed where the messages are counted.
        let _ = address.tell(Say(message)).try_send();
    }
}

struct Sent(RemoteActorRef<Sink>);

impl Target for Sent {
    async fn tell(&self, note: note::Note) -> Result<(), Error> {
        Ok(self.0.tell(&Tell(note)).send()?)
    }

    async fn tally(&self) -> Result<Tally, Error> {
        Ok(self.0.ask(&Told).await?.0)
    }

    async fn ask(&self, note: note::Note) -> Result<note::Note, Error> {
        Ok(self.0.ask(&Ask(note)).await?.0)
    }

    fn lead(&self, _: usize) -> usize {
        LEAD
    }
}

struct Kameo {
    remote: Sent,
    players: Players<Tasks>,
}

impl Worker for Kameo {
    async fn run(&self, work: &Work, lasts: Duration) -> Result<Outcome, Error> {
        match work.kind {
            Kind::Play(program) => self.players.play(program, lasts).await,
            kind => target::run(&self.remote, kind, lasts).await,
        }
    }

    fn without(&self, work: &Work) -> Option<&'static str> {
        let is_placed = work.place != Place::Remote && !matches!(work.kind, Kind::Play(_));
        is_placed.then_some("kameo has no arbiters: its actors are tasks that tokio places")
    }
}

#[derive(NetworkBehaviour)]
struct Behaviour {
    kameo: remote::Behaviour,
}

/// A swarm that listens, and where.
async fn swarm() -> Result<(Swarm<Behaviour>, Multiaddr), Error> {
    let mut swarm = SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(tcp::Config::default().nodelay(true), noise::Config::new, yamux::Config::default)?
        .with_behaviour(|key| {
            let config = remote::messaging::Config::default();
            Ok(Behaviour { kameo: remote::Behaviour::new(key.public().to_peer_id(), config) })
        })?
        .with_swarm_config(|config| config.with_idle_connection_timeout(IDLE))
        .build();
    swarm.behaviour().kameo.try_init_global()?;
    swarm.listen_on("/ip4/127.0.0.1/tcp/0".parse()?)?;
    loop {
        if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
            swarm.add_external_address(address.clone());
            return Ok((swarm, address));
        }
    }
}

/// Keeps the network going.
fn keep(mut swarm: Swarm<Behaviour>) {
    tokio::spawn(async move {
        loop {
            swarm.select_next_some().await;
        }
    });
}

async fn first(other: &str) -> Result<(), Error> {
    let (address, peer) = other.split_once(' ').ok_or("the second process said no address")?;
    let (address, peer): (Multiaddr, PeerId) = (address.parse()?, peer.parse()?);
    let (mut swarm, _) = swarm().await?;
    swarm.add_peer_address(peer, address.clone());
    swarm.dial(address.with_p2p(peer).map_err(|_| "an address of another peer")?)?;
    keep(swarm);
    let finding = async {
        loop {
            if let Ok(Some(sink)) = RemoteActorRef::<Sink>::lookup(NAME).await {
                return sink;
            }
            tokio::time::sleep(ATTEMPT).await;
        }
    };
    let sink = tokio::time::timeout(PATIENCE, finding).await.map_err(|_| "no connection")?;
    let (remote, players) = (Sent(sink), Players::new(Tasks));
    drive(&Kameo { remote, players }, "libp2p: TCP, Noise, Yamux").await
}

async fn second() -> Result<(), Error> {
    let (swarm, address) = swarm().await?;
    second::say(&format!("{address} {}", swarm.local_peer_id()))?;
    keep(swarm);
    let sink = Sink::spawn(Sink::default());
    // Until there is another peer, there is nobody to keep the registration.
    while sink.register(NAME).await.is_err() {
        tokio::time::sleep(ATTEMPT).await;
    }
    sink.wait_for_shutdown().await;
    Ok(())
}

fn main() -> Result<(), Error> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    if second::is_this() {
        second::end_with_the_first();
        return runtime.block_on(second());
    }
    let other = Second::start()?;
    // On a worker's thread, as an actor that sends would be.
    runtime.block_on(async move { tokio::spawn(async move { first(&other.says).await }).await? })
}
