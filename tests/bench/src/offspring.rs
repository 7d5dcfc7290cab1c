//! Contexts further down: a child process that launches children of its own, with an actor in each.

use std::{cell::RefCell, rc::Rc};

use actogen::{Spawn, prelude::*};

use crate::{
    failure::Failure,
    ours::{self, Sink},
    settings::Settings,
};

/// A process further down.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Offspring {
    /// Its actor.
    pub(crate) sink: Remote<Sink>,
    pub(crate) pid: u32,
}

/// Asks for a process.
#[derive(Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "actogen-bench.Beget", reply = "Result<Offspring, String>")]
struct Beget(Settings);

/// Launches children of its own context, which end with it.
#[derive(Debug, RemoteActor)]
#[remote(name = "actogen-bench.parent", messages(Beget), spawn = custom)]
pub(crate) struct Parent {
    context: Context,
    children: Rc<RefCell<Vec<Child>>>,
}

impl Spawn for Parent {
    type Args = ();

    fn spawn((): (), context: &Context) -> Self {
        Self { context: context.clone(), children: Rc::default() }
    }
}

impl Actor for Parent {
    type Context = actix::Context<Self>;
}

impl Handler<Beget> for Parent {
    type Result = ResponseFuture<Result<Offspring, String>>;

    fn handle(&mut self, Beget(settings): Beget, _: &mut Self::Context) -> Self::Result {
        let (context, children) = (self.context.clone(), self.children.clone());
        Box::pin(async move {
            let child = ours::child(&context, settings).await.map_err(|error| error.to_string())?;
            let sink = child.spawn::<Sink>(()).await.map_err(|error| error.to_string())?;
            let pid = child.pid();
            children.borrow_mut().push(child);
            Ok(Offspring { sink, pid })
        })
    }
}

/// A root, its child, and those that the child has launched.
pub(crate) struct Line {
    context: Context,
    _child: Child,
    /// The actor of the process in the middle.
    pub(crate) middle: Remote<Sink>,
    parent: Remote<Parent>,
    settings: Settings,
}

impl Line {
    /// Starts the root and its child.
    ///
    /// # Errors
    /// [`Failure::Ours`].
    pub(crate) async fn start(settings: Settings) -> Result<Self, Failure> {
        let context = ours::root(settings).await?;
        let child = ours::child(&context, settings).await?;
        let spawning = Failure::ours("spawning an actor");
        let parent = child.spawn::<Parent>(()).await.map_err(spawning)?;
        let spawning = Failure::ours("spawning an actor");
        let middle = child.spawn::<Sink>(()).await.map_err(spawning)?;
        Ok(Self { context, _child: child, middle, parent, settings })
    }

    /// Has the child launch one more of its own.
    ///
    /// # Errors
    /// [`Failure::Ours`].
    pub(crate) async fn beget(&self) -> Result<Offspring, Failure> {
        let begot = self.parent.send(Beget(self.settings)).await;
        begot
            .map_err(Failure::ours("asking a child to launch"))?
            .map_err(Failure::ours("launching a grandchild"))
    }

    /// The root.
    pub(crate) fn context(&self) -> &Context {
        &self.context
    }

    /// Ends all of them.
    pub(crate) async fn end(self) {
        self.context.shutdown().await;
    }
}
