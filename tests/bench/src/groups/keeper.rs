//! The actor that keeps the members of groups in its process.

use std::{
    cell::RefCell,
    collections::HashMap,
    rc::Rc,
    time::{Duration, Instant},
};

use actogen::{Group, Spawn, prelude::*};
use futures_util::future::try_join_all;

use crate::{
    handled::{AllHandled, Handled, Member},
    workload::Span,
};

/// Asks a keeper for so many members of a group, which it holds from then on.
#[derive(Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "actogen-bench.Populate", reply = "Result<(), String>")]
pub(super) struct Populate {
    pub(super) group: String,
    pub(super) members: usize,
}

/// Lets an actor join and leave a group that the keeper holds, for a while; gives the nanoseconds that each joining took.
#[derive(Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "actogen-bench.Join", reply = "Result<Vec<u64>, String>")]
pub(super) struct Join {
    pub(super) group: String,
    pub(super) lasts: Duration,
}

/// Finds out for a while, anew each time, who is in a group that the keeper does not hold, and which has so many members; gives the nanoseconds that
/// each time took.
#[derive(Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "actogen-bench.LookUp", reply = "Result<Vec<u64>, String>")]
pub(super) struct LookUp {
    pub(super) group: String,
    pub(super) members: usize,
    pub(super) lasts: Duration,
}

/// Keeps the members of a process.
#[derive(Debug, RemoteActor)]
#[remote(name = "actogen-bench.keeper", messages(Populate, AllHandled, Join, LookUp), spawn = custom)]
pub(super) struct Keeper {
    context: Context,
    handled: Handled,
    groups: Rc<RefCell<HashMap<String, Group<Member>>>>,
}

impl Spawn for Keeper {
    type Args = ();

    fn spawn((): (), context: &Context) -> Self {
        Self { context: context.clone(), handled: Handled::default(), groups: Rc::default() }
    }
}

impl Actor for Keeper {
    type Context = actix::Context<Self>;
}

impl Keeper {
    fn member(&self) -> Remote<Member> {
        self.context.start(Member(self.handled.clone()))
    }
}

fn said(error: impl std::fmt::Display) -> String {
    error.to_string()
}

impl Handler<Populate> for Keeper {
    type Result = ResponseFuture<Result<(), String>>;

    fn handle(
        &mut self,
        Populate { group: name, members }: Populate,
        _: &mut Self::Context,
    ) -> Self::Result {
        let members: Vec<_> = (0..members).map(|_| self.member()).collect();
        let (context, groups) = (self.context.clone(), self.groups.clone());
        Box::pin(async move {
            let group = context.group(&name).await.map_err(said)?;
            try_join_all(members.iter().map(|member| group.join(member))).await.map_err(said)?;
            groups.borrow_mut().insert(name, group);
            Ok(())
        })
    }
}

impl Handler<AllHandled> for Keeper {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, AllHandled(awaited): AllHandled, _: &mut Self::Context) -> Self::Result {
        Box::pin(self.handled.reach(awaited))
    }
}

impl Handler<Join> for Keeper {
    type Result = ResponseFuture<Result<Vec<u64>, String>>;

    fn handle(&mut self, Join { group, lasts }: Join, _: &mut Self::Context) -> Self::Result {
        let (joins, group) = (self.member(), self.groups.borrow().get(&group).cloned());
        let context = self.context.clone();
        Box::pin(async move {
            let group = group.ok_or("the group has no members here")?;
            let (span, mut times) = (Span::of(lasts), Vec::new());
            while !span.is_over() {
                let began = Instant::now();
                group.join(&joins).await.map_err(said)?;
                times.push(began.elapsed().as_nanos() as u64);
                group.leave(&joins).await.map_err(said)?;
            }
            context.unbind(&joins);
            Ok(times)
        })
    }
}

impl Handler<LookUp> for Keeper {
    type Result = ResponseFuture<Result<Vec<u64>, String>>;

    fn handle(
        &mut self,
        LookUp { group, members, lasts }: LookUp,
        _: &mut Self::Context,
    ) -> Self::Result {
        let context = self.context.clone();
        Box::pin(async move {
            let (span, mut times) = (Span::of(lasts), Vec::new());
            while !span.is_over() {
                let began = Instant::now();
                // Let go of at the end of each time, so that the next one has to ask.
                let group = context.group::<Member>(&group).await.map_err(said)?;
                let found = group.members().len();
                times.push(began.elapsed().as_nanos() as u64);
                if found != members {
                    return Err(format!("{found} members were found, and not {members}"));
                }
            }
            Ok(times)
        })
    }
}
