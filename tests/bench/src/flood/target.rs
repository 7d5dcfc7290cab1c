//! Those who are flooded, and who looks after them in the child.

use std::{cell::Cell, rc::Rc};

use actix::WrapFuture;
use actogen::{Spawn, StopReason, prelude::*};
use tokio::sync::watch;

use super::accounts::Accounts;
use crate::note::Note;

/// One of many, one way.
#[derive(Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "actogen-bench.Drop")]
pub(crate) struct Drop(pub(crate) Note);

/// Waits from the first message on until it is woken: its mailbox fills up.
#[derive(Debug, RemoteActor)]
#[remote(name = "actogen-bench.sleeper", messages(Drop))]
pub(crate) struct Sleeper {
    awake: watch::Receiver<bool>,
}

impl Actor for Sleeper {
    type Context = actix::Context<Self>;
}

impl Handler<Drop> for Sleeper {
    type Result = ();

    fn handle(&mut self, drop: Drop, ctx: &mut Self::Context) {
        std::hint::black_box(drop);
        if !*self.awake.borrow() {
            let mut awake = self.awake.clone();
            let wait = async move {
                // It ends with its warden as well.
                let _ = awake.wait_for(|&awake| awake).await;
            };
            ctx.wait(wait.into_actor(self));
        }
    }
}

/// Starts a sleeper, and gives by what it is woken.
pub(super) fn sleeper(context: &Context) -> (Remote<Sleeper>, watch::Sender<bool>) {
    let (wake, awake) = watch::channel(false);
    (context.start(Sleeper { awake }), wake)
}

/// Asks for an actor that sleeps.
#[derive(Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "actogen-bench.MakeSleeper", reply = "Remote<Sleeper>")]
pub(crate) struct MakeSleeper;

/// Wakes it.
#[derive(Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "actogen-bench.Wake", reply = "()")]
pub(crate) struct Wake;

/// Asks for an actor that is about to stop.
#[derive(Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "actogen-bench.MakeDead", reply = "Remote<Sleeper>")]
pub(super) struct MakeDead;

/// Asks for the context's counters.
#[derive(Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "actogen-bench.Read", reply = "Accounts")]
pub(super) struct Read;

/// Subscribes to the context's dead letters.
#[derive(Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "actogen-bench.Hear", reply = "()")]
pub(super) struct Hear;

/// Asks how many dead letters there were since then.
#[derive(Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "actogen-bench.Heard", reply = "u64")]
pub(super) struct Heard;

/// Makes what is flooded in the child, and reads its counters.
#[derive(Debug, RemoteActor)]
#[remote(
    name = "actogen-bench.warden",
    messages(MakeSleeper, Wake, MakeDead, Read, Hear, Heard),
    spawn = custom
)]
pub(crate) struct Warden {
    context: Context,
    wake: Option<watch::Sender<bool>>,
    letters: Option<Letters>,
}

impl Spawn for Warden {
    type Args = ();

    fn spawn((): (), context: &Context) -> Self {
        Self { context: context.clone(), wake: None, letters: None }
    }
}

impl Actor for Warden {
    type Context = actix::Context<Self>;
}

impl Handler<MakeSleeper> for Warden {
    type Result = MessageResult<MakeSleeper>;

    fn handle(&mut self, _: MakeSleeper, _: &mut Self::Context) -> Self::Result {
        let (sleeper, wake) = sleeper(&self.context);
        self.wake = Some(wake);
        MessageResult(sleeper)
    }
}

impl Handler<Wake> for Warden {
    type Result = ();

    fn handle(&mut self, _: Wake, _: &mut Self::Context) {
        if let Some(wake) = &self.wake {
            wake.send_replace(true);
        }
    }
}

impl Handler<MakeDead> for Warden {
    type Result = MessageResult<MakeDead>;

    fn handle(&mut self, _: MakeDead, _: &mut Self::Context) -> Self::Result {
        let (dead, _) = sleeper(&self.context);
        self.context.stop(&dead, StopReason::Normal);
        MessageResult(dead)
    }
}

impl Handler<Read> for Warden {
    type Result = MessageResult<Read>;

    fn handle(&mut self, _: Read, _: &mut Self::Context) -> Self::Result {
        MessageResult(Accounts::of(&self.context.stats()))
    }
}

impl Handler<Hear> for Warden {
    type Result = ();

    fn handle(&mut self, _: Hear, _: &mut Self::Context) {
        self.letters = Some(Letters::hear(&self.context));
    }
}

impl Handler<Heard> for Warden {
    type Result = u64;

    fn handle(&mut self, _: Heard, _: &mut Self::Context) -> u64 {
        self.letters.as_ref().map_or(0, Letters::heard)
    }
}

/// Subscribes to the dead letters of a context.
#[derive(Debug)]
pub(super) struct Letters {
    heard: Rc<Cell<u64>>,
    task: tokio::task::JoinHandle<()>,
}

impl Letters {
    pub(super) fn hear(context: &Context) -> Self {
        let heard = Rc::new(Cell::new(0));
        let (counted, mut letters) = (heard.clone(), context.dead_letters());
        let task = tokio::task::spawn_local(async move {
            while let Some(letter) = letters.next().await {
                let letters = letter.map_or_else(|missed| missed, |_| 1);
                counted.set(counted.get() + letters);
            }
        });
        Self { heard, task }
    }

    /// How many it has seen, or was told that it has missed.
    pub(super) fn heard(&self) -> u64 {
        self.heard.get()
    }
}

impl std::ops::Drop for Letters {
    fn drop(&mut self) {
        self.task.abort();
    }
}
