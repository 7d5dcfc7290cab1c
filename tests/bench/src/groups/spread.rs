//! The processes over which groups are spread, as seen by the root, which sends.

use std::{cell::Cell, time::Duration};

use actogen::{Group, prelude::*};
use futures_util::future::try_join_all;

use super::keeper::{Join, Keeper, LookUp, Populate};
use crate::{
    failure::Failure,
    handled::{self, AllHandled, Announce, Member},
    ours,
    settings::Settings,
    statistics::percentile,
    workload::Outcome,
};

/// Processes that have members. One more has none, and looks groups up.
const PROCESSES: usize = 10;

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
        self.announce(to, lasts, async |note| Ok(to.group.broadcast(note))).await
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
        let each = async |note: Announce| {
            let sent = |member: &&Remote<Member>| member.try_send(note.clone()).is_ok();
            Ok(to.members.iter().filter(sent).count())
        };
        self.announce(to, lasts, each).await
    }

    async fn announce(
        &self,
        to: &Spanned,
        lasts: Duration,
        send: impl AsyncFn(Announce) -> Result<usize, Failure>,
    ) -> Result<Outcome, Failure> {
        let members = to.members.len();
        let all_handled = |batch| self.all_handled(batch);
        handled::announce(members, members / PROCESSES, lasts, send, all_handled).await
    }

    /// Resolves when every process has handled all that was sent before, and so many more; asks at once.
    fn all_handled(&self, batch: u64) -> impl Future<Output = Result<(), Failure>> + use<> {
        let sent = self.sent.get() + batch;
        self.sent.set(sent);
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
