//! The processes over which groups are spread, as seen by the root, which sends.

use std::{cell::Cell, collections::VecDeque, time::Duration};

use actogen::{Group, prelude::*};
use futures_util::future::try_join_all;

use super::member::{AllHandled, Announce, Join, Keeper, LookUp, Member, Populate};
use crate::{
    failure::Failure,
    note::{Note, SMALL},
    ours,
    settings::Settings,
    statistics::percentile,
    workload::{Outcome, Span},
};

/// Processes that have members. One more has none, and looks groups up.
const PROCESSES: usize = 10;

/// Messages that may be under way to each process: what the lanes of a link hold of small ones many times over, so that none is refused.
const AHEAD: usize = 1000;

/// How long the last of many that have joined may take to be known.
const PATIENCE: Duration = Duration::from_secs(30);

/// A group with its members.
#[derive(Clone)]
pub(super) struct Spanned {
    group: Group<Member>,
    /// The same members, for those who know no group.
    members: Vec<Remote<Member>>,
}

/// A root with child processes.
pub(super) struct Spread {
    context: Context,
    _children: Vec<Child>,
    keepers: Vec<Remote<Keeper>>,
    seeker: Remote<Keeper>,
    /// What was sent to each process since it began.
    sent: Cell<u64>,
}

impl Spread {
    /// # Errors
    /// [`Failure::Ours`].
    pub(super) async fn launch(settings: Settings) -> Result<Self, Failure> {
        let context = ours::root(settings).await?;
        let (mut children, mut keepers) = (Vec::new(), Vec::new());
        for _ in 0..=PROCESSES {
            let child = ours::child(&context, settings).await?;
            let keeper = child.spawn::<Keeper>(()).await;
            keepers.push(keeper.map_err(Failure::ours("spawning an actor"))?);
            children.push(child);
        }
        let seeker = keepers.pop().expect("one more than has members was launched");
        Ok(Self { context, _children: children, keepers, seeker, sent: Cell::new(0) })
    }

    /// A group of so many members, a tenth of them in each process; every process with members holds it.
    ///
    /// # Errors
    /// [`Failure::Ours`].
    pub(super) async fn group_of(&mut self, members: usize) -> Result<Spanned, Failure> {
        let name = format!("group of {members}");
        let group = self.context.group(&name).await.map_err(Failure::ours("holding a group"))?;
        let mut events = group.events();
        let populate = || Populate { group: name.clone(), members: members / PROCESSES };
        let populated = try_join_all(self.keepers.iter().map(|keeper| keeper.send(populate())));
        for populated in populated.await.map_err(Failure::ours("asking for members"))? {
            populated.map_err(Failure::ours("joining a group"))?;
        }
        let all = async {
            while group.members().len() < members {
                // What it says is in the group by then.
                events.next().await;
            }
        };
        tokio::time::timeout(PATIENCE, all).await.map_err(Failure::ours("waiting for members"))?;
        let members = group.members();
        Ok(Spanned { group, members })
    }

    /// Sends to the group; nanoseconds for each member.
    ///
    /// # Errors
    /// [`Failure`].
    pub(super) async fn broadcast(
        &self,
        to: &Spanned,
        lasts: Duration,
    ) -> Result<Outcome, Failure> {
        self.announce(to, lasts, |note| to.group.broadcast(note)).await
    }

    /// Sends the same to the same members, one after the other.
    ///
    /// # Errors
    /// [`Failure`].
    pub(super) async fn send_to_each(
        &self,
        to: &Spanned,
        lasts: Duration,
    ) -> Result<Outcome, Failure> {
        let each = |note: Announce| {
            to.members.iter().filter(|member| member.try_send(note.clone()).is_ok()).count()
        };
        self.announce(to, lasts, each).await
    }

    /// Sends notes to all of a group for a while, by a function that gives to how many a note went, until all have been handled.
    async fn announce(
        &self,
        to: &Spanned,
        lasts: Duration,
        send: impl Fn(Announce) -> usize,
    ) -> Result<Outcome, Failure> {
        let members = to.members.len();
        let in_each = members / PROCESSES;
        // Half of what may be under way; the other half is handled meanwhile.
        let batch = (AHEAD / 2).div_ceil(in_each);
        let work = async {
            let (span, mut notes) = (Span::of(lasts), 0);
            let mut under_way = VecDeque::with_capacity(2);
            while !span.is_over() {
                for _ in 0..batch {
                    let posted = send(Announce(Note::new(notes, SMALL)));
                    Failure::unless_all_came(members as u64, posted as u64)?;
                    notes += 1;
                }
                self.sent.set(self.sent.get() + (batch * in_each) as u64);
                under_way.push_back(self.all_handled());
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

    /// Resolves when every process has handled all that was sent before; asks at once.
    fn all_handled(&self) -> impl Future<Output = Result<(), Failure>> + use<> {
        let sent = self.sent.get();
        let asked: Vec<_> =
            self.keepers.iter().map(|keeper| keeper.send(AllHandled(sent))).collect();
        async move { try_join_all(asked).await.map_err(Failure::ours("waiting for members")).map(drop) }
    }

    /// Lets an actor of one of the processes join and leave again for a while; microseconds of a joining, the median.
    ///
    /// # Errors
    /// [`Failure`].
    pub(super) async fn join(&self, to: &Spanned, lasts: Duration) -> Result<Outcome, Failure> {
        let group = to.group.name().to_owned();
        median(self.keepers[0].send(Join { group, lasts }), lasts, "joining a group").await
    }

    /// Lets a process that does not hold the group find its members, for a while; microseconds of each time, the median.
    ///
    /// # Errors
    /// [`Failure`].
    pub(super) async fn look_up(&self, to: &Spanned, lasts: Duration) -> Result<Outcome, Failure> {
        let (group, members) = (to.group.name().to_owned(), to.members.len());
        let asked = self.seeker.send(LookUp { group, members, lasts });
        median(asked, lasts, "looking up a group").await
    }

    /// Ends all of them.
    pub(super) async fn end(self) {
        self.context.shutdown().await;
    }
}

/// Of times in nanoseconds that are asked for, the median in microseconds.
async fn median<E: std::fmt::Display>(
    asked: impl Future<Output = Result<Result<Vec<u64>, String>, E>>,
    lasts: Duration,
    doing: &'static str,
) -> Result<Outcome, Failure> {
    let answer = async { asked.await.map_err(Failure::ours(doing))?.map_err(Failure::ours(doing)) };
    let mut times = ours::within(lasts, answer).await?;
    let median = percentile(&mut times, 50).map(|nanoseconds| nanoseconds as f64 / 1000.0);
    Ok(Outcome { figures: median.into_iter().collect(), ..Outcome::default() })
}
