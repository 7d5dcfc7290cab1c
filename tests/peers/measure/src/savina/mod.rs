//! Seven programs of the Savina benchmarks, for whatever has actors. They are those of `actogen-bench`, with its sizes: the same messages, the same
//! performances, one after the other.
//!
//! An actor here is a [`Behaviour`]; what starts it, queues its messages and calls it is the peer's. Where one waits for another's answer, the
//! message carries what the answer goes into, as each of these systems does it below its own `ask`.

/// Messages with addresses in them are not shown.
macro_rules! opaque {
    ($message:ident) => {
        impl<S: System> std::fmt::Debug for $message<S> {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(stringify!($message))
            }
        }
    };
}

pub(crate) use opaque;

mod bank;
mod big;
mod bounded_buffer;
mod counting;
mod fork_join;
mod ping_pong;
mod thread_ring;

use std::{
    collections::HashMap,
    fmt,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::sync::oneshot;

use crate::{
    Error,
    span::Span,
    work::{Outcome, Program},
};

/// An actor system.
pub trait System: Clone + Send + Sync + 'static {
    /// Where messages for one actor are sent to.
    type Address<B: Behaviour<Self>>: Clone + Send + Sync + 'static;

    /// Starts an actor: with the leader of its program, or where else the system has room.
    fn start<B: Behaviour<Self>>(
        &self,
        side: Side,
        behaviour: B,
    ) -> impl Future<Output = Result<Self::Address<B>, Error>>;

    /// Sends one way, without waiting.
    fn tell<B: Behaviour<Self>>(address: &Self::Address<B>, message: B::Message);
}

/// On which side an actor lives, where there are two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// With the leader.
    Here,
    /// On the other one.
    There,
}

impl Side {
    /// There and here by turns.
    fn of(number: usize) -> Self {
        if number.is_multiple_of(2) { Self::There } else { Self::Here }
    }
}

/// What goes on after a message was handled, beside the actor's next ones.
pub type Later = Pin<Box<dyn Future<Output = ()> + Send>>;

/// An actor: what it does with a message.
pub trait Behaviour<S: System>: Send + Sync + 'static {
    /// What it takes.
    type Message: fmt::Debug + Send + 'static;

    /// Takes a message.
    fn handle(&mut self, message: Self::Message) -> Option<Later>;
}

/// What a performance took, or what went wrong.
type Performed = Result<u64, String>;

/// Asks a program's leader for a performance of a size.
#[derive(Debug)]
pub struct Go {
    size: u32,
    done: oneshot::Sender<Performed>,
}

/// A leader's debt of an answer.
#[derive(Debug, Default)]
struct Debt(Option<oneshot::Sender<Performed>>);

impl Debt {
    fn pay(&mut self, result: Performed) {
        if let Some(owed) = self.0.take() {
            // Whoever has given up waiting needs no word.
            let _ = owed.send(result);
        }
    }
}

/// The state of a generator by Lehmer: the same numbers in each run.
#[derive(Debug)]
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0 * 48_271 % 0x7fff_ffff;
        self.0 as usize % end
    }
}

type Leader = Arc<dyn Fn(Go) + Send + Sync>;

/// The programs of one system. Each is started when it is first played, and stays.
pub struct Players<S> {
    system: S,
    leaders: Mutex<HashMap<Program, Leader>>,
}

impl<S> fmt::Debug for Players<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Players").finish_non_exhaustive()
    }
}

impl<S: System> Players<S> {
    /// Nobody plays yet.
    pub fn new(system: S) -> Self {
        Self { system, leaders: Mutex::default() }
    }

    /// Plays a program for so long; the figure is messages a second.
    ///
    /// # Errors
    /// That the system starts no actor, or that messages were lost.
    pub async fn play(&self, program: Program, lasts: Duration) -> Result<Outcome, Error> {
        let leader = self.leader(program).await?;
        let (span, mut messages) = (Span::of(lasts), 0);
        while !span.is_over() {
            let (done, is_done) = oneshot::channel();
            leader(Go { size: size(program), done });
            messages += is_done.await.map_err(|_| "its leader has ended")??;
        }
        Ok(Outcome { figures: vec![span.rate(messages)], sent: messages, handled: messages })
    }

    async fn leader(&self, program: Program) -> Result<Leader, Error> {
        let known = || self.leaders.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(leader) = known().get(&program) {
            return Ok(leader.clone());
        }
        let system = &self.system;
        let leader = match program {
            Program::PingPong => ping_pong::start(system).await?,
            Program::Counting => counting::start(system).await?,
            Program::ForkJoin => fork_join::start(system).await?,
            Program::ThreadRing => thread_ring::start(system).await?,
            Program::Big => big::start(system).await?,
            Program::Bank => bank::start(system).await?,
            Program::BoundedBuffer => bounded_buffer::start(system).await?,
        };
        known().insert(program, leader.clone());
        Ok(leader)
    }
}

/// What one performance has of whatever a program has many of.
fn size(program: Program) -> u32 {
    match program {
        Program::PingPong => ping_pong::SIZE,
        Program::Counting => counting::SIZE,
        Program::ForkJoin => fork_join::SIZE,
        Program::ThreadRing => thread_ring::SIZE,
        Program::Big => big::SIZE,
        Program::Bank => bank::SIZE,
        Program::BoundedBuffer => bounded_buffer::SIZE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::mpsc;

    /// A task with a queue for each actor.
    #[derive(Clone)]
    struct Tasks;

    impl System for Tasks {
        type Address<B: Behaviour<Self>> = mpsc::UnboundedSender<B::Message>;

        async fn start<B: Behaviour<Self>>(
            &self,
            _: Side,
            mut behaviour: B,
        ) -> Result<Self::Address<B>, Error> {
            let (sender, mut queue) = mpsc::unbounded_channel();
            tokio::spawn(async move {
                while let Some(message) = queue.recv().await {
                    if let Some(later) = behaviour.handle(message) {
                        tokio::spawn(later);
                    }
                }
            });
            Ok(sender)
        }

        fn tell<B: Behaviour<Self>>(address: &Self::Address<B>, message: B::Message) {
            // Both ends of a ring may go at once.
            let _ = address.send(message);
        }
    }

    #[test]
    fn each_program_is_performed_as_often_as_there_is_time_and_counts_its_messages() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let players = Players::new(Tasks);
            for (program, of_one) in [
                (Program::PingPong, 500),
                (Program::Counting, 4002),
                (Program::ForkJoin, 6060),
                (Program::ThreadRing, 500),
                (Program::Big, 120 * 42),
                (Program::Bank, 18_000),
                (Program::BoundedBuffer, 8000),
            ] {
                for lasts in [Duration::from_millis(1), Duration::from_millis(20)] {
                    let outcome = players.play(program, lasts).await.unwrap();
                    assert!(outcome.sent >= of_one, "{program:?}");
                    assert_eq!((outcome.sent % of_one, outcome.handled), (0, outcome.sent));
                }
            }
        });
    }
}
