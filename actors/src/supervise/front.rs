//! The front of a supervised actor: an address in the supervisor's context that stays, wherever the actor's lives are.
//!
//! ```text
//!  senders ──> front (a mailbox here) ──> line, in order ──> the life of now, here or elsewhere
//!                                            │ while there is none: waits, within bounds
//! ```
//!
//! It passes messages on one behind the other. One that could not leave, because the life's context is lost, waits for the next life. One that has left
//! is not sent again: nobody knows what became of it, and its asker hears just that.

use std::{
    marker::PhantomData,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use actix::{Actor, Context as ActixContext, Handler};
use actogen_runtime::{
    Encoded, PostError, Way,
    core::{Address, Dead, DeadReason, Handle, Handled, policy::Origin},
    envelope::{Outcome, ReplyPort},
};
use bytes::Bytes;
use tokio::{
    sync::{Semaphore, mpsc, watch},
    time::Instant,
};

use crate::{
    actor::{Attach, RemoteActor},
    context::Context,
    message::Tag,
    turn::{self, Envelope, Turn},
};

/// Bytes of messages that wait in one front; more are refused.
const MOST_BYTES: usize = 4 * 1024 * 1024;

/// Requests of one front that have been passed on and not answered; those behind them wait.
const MOST_ASKED: usize = 4096;

/// How soon a life that cannot be reached is tried again, if its supervisor has heard of nothing by then.
const AGAIN: Duration = Duration::from_millis(50);

/// Where a front's messages go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Leads {
    /// Nowhere: another life is to begin.
    Nowhere,
    To(Address),
    /// The child is down, and stays so.
    Down(String),
}

/// A message that is passed on.
#[derive(Debug)]
pub(crate) struct Passed {
    pub(crate) tag: u64,
    pub(crate) codec: u8,
    pub(crate) body: Bytes,
    pub(crate) origin: Origin,
    pub(crate) reply: Option<Handle>,
}

/// A front that is open. It closes when this is dropped.
#[derive(Debug)]
pub(super) struct Front {
    context: Context,
    address: Address,
    leads: watch::Sender<Leads>,
}

/// Opens a front for actors of one type; set by whoever knows that.
pub(super) type Open = fn(&Context) -> Front;

impl Front {
    pub(super) fn open<A: RemoteActor>(context: &Context) -> Self {
        let (leads, led) = watch::channel(Leads::Nowhere);
        let (line, waiting) = mpsc::unbounded_channel();
        let bytes = Arc::new(AtomicUsize::new(0));
        let doorman: Doorman<A> = Doorman { line, bytes: bytes.clone(), _actor: PhantomData };
        let address = context.start(doorman).address();
        let passing = Passing { context: context.clone(), handle: address.handle, led, bytes };
        tokio::task::spawn_local(passing.all(waiting));
        Self { context: context.clone(), address, leads }
    }

    pub(super) fn address(&self) -> Address {
        self.address
    }

    pub(super) fn leads(&self, to: Leads) {
        self.leads.send_if_modified(|leads| {
            *leads != to && {
                *leads = to;
                true
            }
        });
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.leads(Leads::Down("its supervisor has ended".to_owned()));
        self.context.stop_address(self.address, actogen_runtime::mailbox::StopReason::Normal);
    }
}

/// The actor of a front: puts what comes into the line.
struct Doorman<A> {
    /// Bounded by the bytes in it.
    line: mpsc::UnboundedSender<(Passed, Instant)>,
    bytes: Arc<AtomicUsize>,
    _actor: PhantomData<fn() -> A>,
}

impl<A: RemoteActor> Actor for Doorman<A> {
    type Context = ActixContext<Self>;
}

impl<A: RemoteActor> Handler<Attach<Self>> for Doorman<A> {
    type Result = ();

    fn handle(&mut self, attach: Attach<Self>, ctx: &mut ActixContext<Self>) {
        attach.attach(ctx);
    }
}

impl<A: RemoteActor> RemoteActor for Doorman<A> {
    const NAME: &'static str = A::NAME;
    const TAGS: &'static [Tag] = A::TAGS;

    fn dispatch(&mut self, envelope: &mut Envelope<'_>, turn: &mut Turn<'_, Self>) {
        turn::pass_next(envelope, turn, |passed| {
            let charge = charge(&passed);
            if self.bytes.load(Ordering::Relaxed) + charge > MOST_BYTES {
                return Err("as much as may wait for the next life of the actor is waiting");
            }
            self.bytes.fetch_add(charge, Ordering::Relaxed);
            self.line.send((passed, Instant::now())).map_err(|_| "its supervisor has ended")
        });
    }
}

fn charge(passed: &Passed) -> usize {
    passed.body.len() + size_of::<(Passed, Instant)>()
}

/// Passes on what stands in a line.
struct Passing {
    context: Context,
    handle: Handle,
    led: watch::Receiver<Leads>,
    bytes: Arc<AtomicUsize>,
}

impl Passing {
    async fn all(mut self, mut waiting: mpsc::UnboundedReceiver<(Passed, Instant)>) {
        let asked = Arc::new(Semaphore::new(MOST_ASKED));
        while let Some((passed, came)) = waiting.recv().await {
            let bytes = charge(&passed);
            if let Err(dead) = self.pass(&passed, came, &asked).await {
                let Passed { tag, origin, reply, .. } = passed;
                let reply = ReplyPort::of(&self.context, origin, reply);
                self.context.refuse_message(self.handle, origin, tag, reply, dead);
            }
            self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        }
    }

    /// Passes a message on to the life that there is by then.
    async fn pass(
        &mut self,
        passed: &Passed,
        came: Instant,
        asked: &Arc<Semaphore>,
    ) -> Result<(), Dead> {
        let limit = self.context.limits().request_time;
        let mut why = format!("it has waited {limit:?} for another life of the actor");
        loop {
            let leads = self.led.borrow_and_update().clone();
            match leads {
                Leads::Down(why) => {
                    return Err(self.dead(DeadReason::Stopped, format!("it is down: {why}")));
                }
                Leads::Nowhere => {}
                Leads::To(address) => match self.pass_to(address, passed, asked).await {
                    Ok(()) => return Ok(()),
                    // It will not get better.
                    Err(dead) if dead.reason == DeadReason::TooLarge => return Err(dead),
                    Err(dead) => why = dead.text,
                },
            }
            if came.elapsed() >= limit {
                return Err(self.dead(DeadReason::RouteLost, why));
            }
            let again = if leads == Leads::Nowhere { limit - came.elapsed() } else { AGAIN };
            // An error is the end of its supervisor, which has said so before.
            let _ = tokio::time::timeout(again, self.led.changed()).await;
        }
    }

    /// Passes a message on to this address; with an error it has not left.
    async fn pass_to(
        &self,
        to: Address,
        passed: &Passed,
        asked: &Arc<Semaphore>,
    ) -> Result<(), Dead> {
        let Passed { tag, codec, body, origin, reply } = passed;
        let message = Encoded { tag: *tag, codec: *codec, body, trace: None };
        let mut call = None;
        loop {
            match self.context.way(to)? {
                // The answer goes straight to the asker.
                Way::Here(here) => {
                    self.context.hand_in(&here, to.handle, *origin, message, *reply);
                    return Ok(());
                }
                Way::Away(way) => {
                    if reply.is_some() && call.is_none() {
                        let leave = asked.clone().acquire_owned().await;
                        call = Some((self.context.begin_call(to, None)?, leave));
                    }
                    let asks = call.as_ref().map(|(call, _)| call.reply_handle());
                    match self.context.post_away(&way, message, asks) {
                        Ok(()) => break,
                        Err(PostError::Full) => self.context.room(&way).await,
                        Err(PostError::Dead(dead)) => return Err(dead),
                    }
                }
            }
        }
        let port = ReplyPort::of(&self.context, *origin, *reply);
        if let (Some((mut call, leave)), Some(port)) = (call, port) {
            call.note_left();
            call.keep_limit();
            tokio::task::spawn_local(async move {
                answer(port, call.await);
                drop(leave);
            });
        }
        Ok(())
    }

    fn dead(&self, reason: DeadReason, text: String) -> Dead {
        Dead::new(reason, Handled::No, self.context.id(), text)
    }
}

fn answer(port: ReplyPort, outcome: Outcome) {
    match outcome {
        Outcome::Reply(bytes) => port.value_owned(bytes),
        Outcome::Failed(text) => port.failed(&text),
        Outcome::Dead(dead) => port.dead(dead.reason, dead.handled, dead.text),
        Outcome::Late => {
            let text = "the actor behind this front did not answer in time";
            port.dead(DeadReason::NoAnswer, Handled::Maybe, text);
        }
        Outcome::Local(_) => unreachable!("what answers elsewhere is encoded"),
    }
}
