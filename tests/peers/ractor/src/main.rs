//! ractor and ractor_cluster: one actor in a second process, over ractor's TCP (not encrypted); and whole programs in this process.

use std::time::Duration;

use measure::{
    Error, PATIENCE,
    drive::drive,
    note::{Note, Tally},
    savina::{Behaviour, Players, Side, System},
    second::{self, Second},
    target::{self, Target},
    work::{Kind, Outcome, Place, Work, Worker},
};
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use ractor_cluster::{NodeServer, NodeServerMessage, RactorClusterMessage};

/// The group in which the second process's actor is found.
const GROUP: &str = "peers";
/// What the two nodes show each other.
const COOKIE: &str = "peers";

/// What `RactorClusterMessage` can encode are vectors, and so a sender makes one for each message.
#[derive(RactorClusterMessage)]
enum Sent {
    Tell(u64, Vec<u8>),
    #[rpc]
    Ask(u64, Vec<u8>, RpcReplyPort<Vec<u8>>),
    #[rpc]
    Told(RpcReplyPort<Vec<u64>>),
}

struct Sink;

impl Actor for Sink {
    type Msg = Sent;
    type State = Tally;
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Sent>, (): ()) -> Result<Tally, ActorProcessingErr> {
        Ok(Tally::default())
    }

    async fn handle(
        &self,
        _: ActorRef<Sent>,
        message: Sent,
        tally: &mut Tally,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            Sent::Tell(number, payload) => tally.count(number, &payload),
            Sent::Ask(number, mut payload, reply) => {
                payload.extend_from_slice(&number.to_le_bytes());
                reply.send(payload)?;
            }
            Sent::Told(reply) => {
                let Tally { messages, sum } = tally.take();
                reply.send(vec![messages, sum])?;
            }
        }
        Ok(())
    }
}

struct ByRef(ActorRef<Sent>);

impl Target for ByRef {
    /// By `cast`, which makes no sender wait.
    async fn tell(&self, note: Note) -> Result<(), Error> {
        Ok(self.0.cast(Sent::Tell(note.number, note.payload.into_owned()))?)
    }

    async fn tally(&self) -> Result<Tally, Error> {
        match ractor::call!(self.0, Sent::Told)?.as_slice() {
            &[messages, sum] => Ok(Tally { messages, sum }),
            _ => Err("a tally is two numbers".into()),
        }
    }

    async fn ask(&self, note: Note) -> Result<Note, Error> {
        let mut payload = ractor::call!(self.0, Sent::Ask, note.number, note.payload.into_owned())?;
        let number = payload.split_off(payload.len().saturating_sub(size_of::<u64>()));
        let number = u64::from_le_bytes(number.try_into().map_err(|_| "an answer is too short")?);
        Ok(Note { number, payload: payload.into() })
    }
}

/// The actors of whole programs: tasks, on the two threads of tokio.
#[derive(Clone)]
struct Tasks;

/// An actor here is its state.
struct Playing<B>(std::marker::PhantomData<B>);

impl<B: Behaviour<Tasks>> Actor for Playing<B> {
    type Msg = Say<B::Message>;
    type State = B;
    type Arguments = B;

    async fn pre_start(&self, _: ActorRef<Self::Msg>, state: B) -> Result<B, ActorProcessingErr> {
        Ok(state)
    }

    async fn handle(
        &self,
        _: ActorRef<Self::Msg>,
        Say(message): Self::Msg,
        state: &mut B,
    ) -> Result<(), ActorProcessingErr> {
        if let Some(later) = state.handle(message) {
            tokio::spawn(later);
        }
        Ok(())
    }
}

struct Say<M>(M);

impl<M: Send + 'static> ractor::Message for Say<M> {}

impl System for Tasks {
    type Address<B: Behaviour<Self>> = ActorRef<Say<B::Message>>;

    async fn start<B: Behaviour<Self>>(
        &self,
        _: Side,
        behaviour: B,
    ) -> Result<Self::Address<B>, Error> {
        Ok(Actor::spawn(None, Playing(std::marker::PhantomData), behaviour).await?.0)
    }

    fn tell<B: Behaviour<Self>>(address: &Self::Address<B>, message: B::Message) {
        // Whoever has ended is missed where the messages are counted.
        let _ = address.cast(Say(message));
    }
}

struct Ractor {
    remote: ByRef,
    players: Players<Tasks>,
}

impl Worker for Ractor {
    async fn run(&self, work: &Work, lasts: Duration) -> Result<Outcome, Error> {
        match work.kind {
            Kind::Play(program) => self.players.play(program, lasts).await,
            kind => target::run(&self.remote, kind, lasts).await,
        }
    }

    fn without(&self, work: &Work) -> Option<&'static str> {
        let is_placed = work.place != Place::Remote && !matches!(work.kind, Kind::Play(_));
        is_placed.then_some("ractor has no arbiters: its actors are tasks that tokio places")
    }
}

async fn node(port: u16, name: &str) -> Result<ActorRef<NodeServerMessage>, Error> {
    let server = NodeServer::new(port, COOKIE.into(), name.into(), "localhost".into(), None, None);
    Ok(Actor::spawn(None, server, ()).await?.0)
}

async fn first(port: &str) -> Result<(), Error> {
    let node = node(0, "first").await?;
    ractor_cluster::client_connect(&node, format!("127.0.0.1:{port}")).await?;
    let joining = async {
        loop {
            let members = ractor::pg::get_members(&GROUP.to_owned());
            if let Some(cell) = members.into_iter().find(|cell| !cell.get_id().is_local()) {
                return cell;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let cell = tokio::time::timeout(PATIENCE, joining).await.map_err(|_| "no connection")?;
    let (remote, players) = (ByRef(cell.into()), Players::new(Tasks));
    drive(&Ractor { remote, players }, "TCP").await
}

async fn second() -> Result<(), Error> {
    let port = std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
    let _node = node(port, "second").await?;
    let (sink, ended) = Actor::spawn(None, Sink, ()).await?;
    ractor::pg::join(GROUP.to_owned(), vec![sink.get_cell()]);
    second::say(&port.to_string())?;
    Ok(ended.await?)
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
