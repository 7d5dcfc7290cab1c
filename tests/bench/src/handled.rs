//! Actors that take notes which went to all of them, and count together what they have handled: one who waits for all of them asks once for each
//! process.

use std::{cell::RefCell, collections::VecDeque, rc::Rc, time::Duration};

use actogen::prelude::*;
use tokio::sync::oneshot;

use crate::{
    failure::Failure,
    note::{Note, SMALL},
    ours,
    workload::{Outcome, Span},
};

/// Messages that may be under way to each process: what the lanes of a link hold of small ones many times over, so that none is refused.
const AHEAD: usize = 1000;

/// A note to all.
#[derive(Clone, Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "actogen-bench.Announce")]
pub(crate) struct Announce(pub(crate) Note);

/// Answered when so many notes have been handled in this process since it began.
#[derive(Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "actogen-bench.AllHandled")]
pub(crate) struct AllHandled(pub(crate) u64);

/// What the members of a process have handled, all together.
#[derive(Clone, Debug, Default)]
pub(crate) struct Handled(Rc<RefCell<Counts>>);

#[derive(Debug, Default)]
struct Counts {
    notes: u64,
    /// How many somebody waits for.
    awaited: Vec<(u64, oneshot::Sender<()>)>,
}

impl Handled {
    fn one_more(&self) {
        let mut counts = self.0.borrow_mut();
        counts.notes += 1;
        let notes = counts.notes;
        for (_, waiter) in counts.awaited.extract_if(.., |(awaited, _)| *awaited <= notes) {
            // Whoever has given up waiting needs no word.
            let _ = waiter.send(());
        }
    }

    /// Resolves when so many have been handled.
    pub(crate) fn reach(&self, awaited: u64) -> impl Future<Output = ()> + use<> {
        let mut counts = self.0.borrow_mut();
        let waiting = (counts.notes < awaited).then(|| {
            let (waiter, all) = oneshot::channel();
            counts.awaited.push((awaited, waiter));
            all
        });
        async move {
            if let Some(all) = waiting {
                // The other end lives as long as the members' keeper, who waits here.
                let _ = all.await;
            }
        }
    }
}

/// Takes notes and does nothing with them.
#[derive(Debug, RemoteActor)]
#[remote(name = "actogen-bench.member", messages(Announce))]
pub(crate) struct Member(pub(crate) Handled);

impl Actor for Member {
    type Context = actix::Context<Self>;
}

impl Handler<Announce> for Member {
    type Result = ();

    fn handle(&mut self, note: Announce, _: &mut Self::Context) {
        std::hint::black_box(note);
        self.0.one_more();
    }
}

/// Sends notes to so many members for a while, by a function that gives to how many a note went, until all have been handled. `in_each` are the
/// members of a process; `all_handled` gets how many messages went to each process in this batch, and resolves when every process has
/// handled those and all before. Nanoseconds for each member.
///
/// # Errors
/// [`Failure`].
pub(crate) async fn announce<H>(
    members: usize,
    in_each: usize,
    lasts: Duration,
    send: impl AsyncFn(Announce) -> Result<usize, Failure>,
    all_handled: impl Fn(u64) -> H,
) -> Result<Outcome, Failure>
where
    H: Future<Output = Result<(), Failure>>,
{
    // Half of what may be under way; the other half is handled meanwhile.
    let batch = (AHEAD / 2).div_ceil(in_each);
    let work = async {
        let (span, mut notes) = (Span::of(lasts), 0);
        let mut under_way = VecDeque::with_capacity(2);
        while !span.is_over() {
            for _ in 0..batch {
                let posted = send(Announce(Note::new(notes, SMALL))).await?;
                Failure::unless_all_came(members as u64, posted as u64)?;
                notes += 1;
            }
            under_way.push_back(all_handled((batch * in_each) as u64));
            if under_way.len() == 2 {
                let oldest = under_way.pop_front().expect("there are two");
                oldest.await?;
            }
        }
        for batch in under_way {
            batch.await?;
        }
        Ok((1e9 / span.rate(notes * members as u64)).into())
    };
    ours::within(lasts, work).await
}
