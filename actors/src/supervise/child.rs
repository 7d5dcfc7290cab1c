//! What a supervisor is told of a child: how to begin a life of it, and when.

use std::{fmt, marker::PhantomData, time::Duration};

use actogen_runtime::{
    Place,
    core::{ContextId, policy::Origin},
    launch::Launch,
};

use super::{
    front::{self, Front},
    policy::Restart,
};
use crate::{
    actor::RemoteActor,
    address::Remote,
    context::Context,
    directory::Group,
    intake::Over,
    message::{Body, Codec, CodecError},
    nursery::{Kept, made},
    spawn::Spawn,
};

/// How long a child may take to end, unless said otherwise.
const GRACE: Duration = Duration::from_secs(5);

/// One child of a supervisor: an actor here, an actor in another context, or a context with its process.
#[must_use = "a child is one of a supervisor: give it to `Supervision::child`"]
pub struct ChildSpec {
    pub(super) name: String,
    pub(super) restart: Restart,
    pub(super) grace: Duration,
    pub(super) what: What,
    /// Whether it has an address that stays when it moves.
    pub(super) stable: bool,
}

/// What a child is.
pub(super) enum What {
    Here(Box<dyn Here>),
    There {
        actor: &'static str,
        arguments: Result<Vec<u8>, CodecError>,
        place: Placement,
        front: front::Open,
    },
    Process(Box<dyn FnMut() -> Launch>),
}

/// Gives the contexts that a life may begin in.
type Choose = dyn FnMut(&Context) -> Vec<Place>;

/// Where an actor's lives begin.
pub(super) enum Placement {
    /// In one of these; another one after each failure. Asked for each life that needs a new place.
    OneOf(Box<Choose>),
    /// In the context that is the child of this name.
    In(String),
}

/// An actor that is made here.
pub(super) trait Here {
    fn kind(&self) -> &'static str;
    fn open(&self, context: &Context, over: Over) -> Kept;
    fn begin(&mut self, context: &Context, kept: &Kept) -> Result<(), String>;
}

struct Made<A, F> {
    make: F,
    _actor: PhantomData<fn() -> A>,
}

impl<A: RemoteActor, F: FnMut(&Context) -> A> Here for Made<A, F> {
    fn kind(&self) -> &'static str {
        A::NAME
    }

    fn open(&self, context: &Context, over: Over) -> Kept {
        Kept::open::<A>(context, over)
    }

    fn begin(&mut self, context: &Context, kept: &Kept) -> Result<(), String> {
        let actor = made(|| (self.make)(context))?;
        kept.begin(context, actor);
        Ok(())
    }
}

impl ChildSpec {
    pub(super) fn new(name: impl Into<String>, what: What) -> Self {
        Self { name: name.into(), restart: Restart::default(), grace: GRACE, what, stable: false }
    }

    /// An actor of the supervisor's own context, made anew for each life.
    pub fn local<A: RemoteActor>(
        name: impl Into<String>,
        make: impl FnMut(&Context) -> A + 'static,
    ) -> Self {
        Self::new(name, What::Here(Box::new(Made { make, _actor: PhantomData })))
    }

    /// An actor that another context's program has registered with `spawn` in its derive; those contexts must lie below the supervisor's.
    /// Say where by [`Self::at`], [`Self::any_of`], [`Self::in_group`], [`Self::placed_by`] or [`Self::in_context`]; it is started in the supervisor's own
    /// context otherwise.
    pub fn spawned<A: Spawn>(name: impl Into<String>, arguments: A::Args) -> Self {
        let mut encoded = Vec::new();
        let arguments = arguments.encode(Codec::Postcard, &mut encoded).map(|()| encoded);
        let here = Placement::OneOf(Box::new(|context| vec![context.place()]));
        let front = Front::open::<A>;
        Self::new(name, What::There { actor: A::NAME, arguments, place: here, front })
    }

    /// A context: launched anew for each life, and ended with its process.
    pub fn context(name: impl Into<String>, launch: impl FnMut() -> Launch + 'static) -> Self {
        Self::new(name, What::Process(Box::new(launch)))
    }

    fn place(mut self, placement: Placement) -> Self {
        match &mut self.what {
            What::There { place, .. } => *place = placement,
            _ => panic!("`{}` has no place to choose: only a spawned child has one", self.name),
        }
        self
    }

    /// In this context. When that is lost for good, the child cannot be started, and the supervisor gives up.
    ///
    /// # Panics
    /// For a child that is not [spawned](Self::spawned), as its siblings.
    pub fn at(self, place: impl Into<Place>) -> Self {
        self.any_of([place.into()])
    }

    /// In any of these contexts: in another one when its own is lost, or could not start it.
    pub fn any_of(self, places: impl IntoIterator<Item = Place>) -> Self {
        let places: Vec<_> = places.into_iter().collect();
        self.placed_by(move |_| places.clone())
    }

    /// In any of the contexts that this gives when a life needs a place.
    pub fn placed_by(self, choose: impl FnMut(&Context) -> Vec<Place> + 'static) -> Self {
        self.place(Placement::OneOf(Box::new(choose)))
    }

    /// In the context of any member of a group: in another member's when its own is lost, or could not start it. Members that do not lie below the
    /// supervisor's context are passed over; while there is none, the start fails and is tried again.
    pub fn in_group<B: RemoteActor>(self, group: Group<B>) -> Self {
        self.placed_by(move |context| {
            let own = context.place();
            let below = context.descendants();
            let mut places: Vec<_> = group
                .members()
                .iter()
                .map(Remote::context_id)
                .filter(|member| *member == own.context || below.contains(member))
                .filter_map(|member| {
                    if member == own.context { Some(own) } else { context.place_of(member) }
                })
                .collect();
            places.dedup();
            places
        })
    }

    /// In the context that is another child of the same supervisor, added before, by its name. Its lives wait for that one's.
    pub fn in_context(self, child: impl Into<String>) -> Self {
        self.place(Placement::In(child.into()))
    }

    /// Gives it an address that stays valid wherever its lives are: a mailbox in the supervisor's context, which passes messages on to the life of now, in
    /// their order. What comes while there is none waits for the next, up to 4 MiB and the limit for requests. What has left for a life that is lost is
    /// not sent again: a request is answered with the reason, and may have been handled. Each message takes the way by the supervisor, and the actor sees
    /// that context as its sender, unless it lives there itself.
    ///
    /// # Panics
    /// For a child that is not [spawned](Self::spawned): one of the supervisor's own context keeps its address anyway.
    pub fn stable(mut self) -> Self {
        let is_spawned = matches!(self.what, What::There { .. });
        assert!(is_spawned, "`{}` is not spawned, and keeps its address anyway", self.name);
        self.stable = true;
        self
    }

    /// Whether it begins another life when one is over; [`Restart::Permanent`] unless said otherwise.
    pub fn restart(mut self, restart: Restart) -> Self {
        self.restart = restart;
        self
    }

    /// How long it may take to end when it is asked to, before it is killed; five seconds unless said otherwise.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// The name of the kind of actor; none for a context.
    pub(super) fn kind(&self) -> Option<&'static str> {
        match &self.what {
            What::Here(here) => Some(here.kind()),
            What::There { actor, .. } => Some(actor),
            What::Process(_) => None,
        }
    }

    /// The name of the child that must be up before this one.
    pub(super) fn needs(&self) -> Option<&str> {
        match &self.what {
            What::There { place: Placement::In(name), .. } => Some(name),
            _ => None,
        }
    }
}

impl fmt::Debug for ChildSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChildSpec")
            .field("name", &self.name)
            .field("restart", &self.restart)
            .field("kind", &self.kind().unwrap_or("context"))
            .finish_non_exhaustive()
    }
}

/// Whether a word about the life of a child in this context may come from there.
pub(super) fn may_speak_for(origin: &Origin, context: ContextId) -> bool {
    origin.source == context
}
