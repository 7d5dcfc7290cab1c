//! How a supervisor begins and ends the lives of its children: here, in other contexts, and those of contexts with their processes.

use std::{pin::pin, rc::Rc, sync::Arc, time::Duration};

use actix::{ActorFutureExt, AsyncContext, Context as ActixContext, Handler, Message, WrapFuture};
use actogen_runtime::{
    Ended, Place,
    core::{Address, Handle, Handled},
    launch::Launch,
    mailbox::StopReason,
};
use futures_util::future::{Either, select};

use super::{
    Supervision,
    child::{Here, Placement, What},
    plan::State,
    supervisor::Supervisor,
};
use crate::{
    RemoteActor,
    address::Remote,
    context::Context,
    intake::Over,
    message::Codec,
    nursery::{Answer, Ask, Kept, Seat, made},
    spawn::Child,
};

/// How long a process may take to end once its context cannot be reached: one that ends in good order has closed its links first.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// How soon a context is asked again to end a life that did not hear it.
const AGAIN: Duration = Duration::from_millis(500);

/// A life of a child, as far as the supervisor holds it.
pub(super) enum Seated {
    Here(Kept),
    There { place: Place, handle: Handle },
    Process(Rc<Child>),
}

/// A life has ended here, or by its context's loss.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct LifeIsOver {
    pub(super) seat: u64,
    pub(super) reason: StopReason,
    /// The seat is gone with it.
    pub(super) lost: Option<String>,
    /// Since its context is: that one's failure, and not its own.
    pub(super) with_context: bool,
}

/// A supervisor as a child of another one.
struct Nested<F>(F);

impl<F: FnMut() -> Supervision> Here for Nested<F> {
    fn kind(&self) -> &'static str {
        Supervisor::NAME
    }

    fn open(&self, context: &Context, over: Over) -> Kept {
        Kept::open::<Supervisor>(context, over)
    }

    fn begin(&mut self, context: &Context, kept: &Kept) -> Result<(), String> {
        let supervision = made(|| (self.0)())?.contained();
        let me = context.remote(kept.address());
        kept.begin(context, Supervisor::new(context.clone(), me, supervision));
        Ok(())
    }
}

/// What a supervision is as a child.
pub(super) fn nested(make: impl FnMut() -> Supervision + 'static) -> What {
    What::Here(Box::new(Nested(make)))
}

impl Supervisor {
    pub(super) fn begin(&mut self, child: usize, ctx: &mut ActixContext<Self>) {
        let number = match &self.children[child].seat {
            Some((number, _)) => *number,
            None => self.cx.fresh_number(),
        };
        let running = &mut self.children[child];
        running.beginning = true;
        match &mut running.spec.what {
            What::Here(here) => {
                let (_, seat) = running.seat.get_or_insert_with(|| {
                    let address = ctx.address();
                    let over = move |reason| {
                        let over =
                            LifeIsOver { seat: number, reason, lost: None, with_context: false };
                        address.do_send(over);
                    };
                    (number, Seated::Here(here.open(&self.cx, Arc::new(over))))
                });
                let Seated::Here(kept) = seat else { unreachable!("it has lived here before") };
                let begun = here.begin(&self.cx, kept);
                running.beginning = false;
                match begun {
                    Ok(()) => self.started(child),
                    Err(why) => self.refused(child, why),
                }
            }
            What::Process(launch) => {
                let (cx, launch) = (self.cx.clone(), made(launch));
                match launch {
                    Ok(launch) => self.launch(child, number, cx, launch, ctx),
                    // As what comes later: within a plan's act nothing may have gone wrong already.
                    Err(why) => ctx.notify(NotBegun { child, why }),
                }
            }
            What::There { .. } => self.begin_there(child, number, ctx),
        }
    }

    pub(super) fn launch(
        &self,
        child: usize,
        number: u64,
        cx: Context,
        launch: Launch,
        ctx: &mut ActixContext<Self>,
    ) {
        let launching = async move { cx.launch(launch).await }.into_actor(self);
        ctx.spawn(launching.map(move |launched, me, ctx| {
            let begun = launched.map_err(|error| error.to_string()).map(|launched| {
                let launched = Rc::new(launched);
                let exiting = launched.clone();
                let lost =
                    me.cx.watch(&me.cx.remote::<Self>(launched.place().address(Handle::PING)));
                let exit = async move {
                    // A context that is lost while its process goes on is of no use to anybody; but one that ends has said goodbye first.
                    if let Either::Right(_) = select(pin!(exiting.exited()), lost).await
                        && tokio::time::timeout(LAST_WORDS, exiting.exited()).await.is_err()
                    {
                        exiting.kill().await;
                    }
                    exiting.exited().await
                };
                let exit = exit.into_actor(me);
                ctx.spawn(exit.map(move |how, me, ctx| {
                    let reason = match how.as_str() {
                        "exit status 0" => StopReason::Normal,
                        _ => StopReason::Error(format!("its process ended: {how}")),
                    };
                    let lost = Some(how);
                    let over = LifeIsOver { seat: number, reason, lost, with_context: false };
                    me.life_is_over(over, ctx);
                }));
                (number, Seated::Process(launched))
            });
            me.begun(child, begun, ctx);
        }));
    }

    pub(super) fn begin_there(&mut self, child: usize, number: u64, ctx: &mut ActixContext<Self>) {
        let asked = self.ask_to_begin(child, number);
        let (place, body) = match asked {
            Ok(asked) => asked,
            Err(why) => {
                // As what comes later: within a plan's act nothing may have gone wrong already.
                ctx.notify(NotBegun { child, why });
                return;
            }
        };
        self.children[child].asked = Some((number, place));
        let (cx, seat) = (self.cx.clone(), self.seat(number));
        let has_seat = self.children[child].seat.is_some();
        let asking = async move {
            let answer = ask(&cx, place.address(Handle::SPAWN), &body).await;
            if matches!(answer, Err(NoAnswer::Lost(_))) || (answer.is_err() && !has_seat) {
                // A life that has begun would go on where nobody knows of it.
                tell(&cx, place, &Ask::Close { seat }).await;
            }
            answer
        };
        ctx.spawn(asking.into_actor(self).map(move |answer, me, ctx| {
            if matches!(answer, Err(NoAnswer::Lost(_))) {
                // The next life is another mailbox's: this one is closed, sooner or later.
                me.children[child].seat = None;
            }
            let begun = answer.map_err(NoAnswer::text).map(|handle| {
                let known = me.children[child].seat.take();
                known.unwrap_or_else(|| {
                    me.watch(number, place, handle, ctx);
                    (number, Seated::There { place, handle })
                })
            });
            me.begun(child, begun, ctx);
        }));
    }

    /// Where a life is to begin, and what to ask for it.
    pub(super) fn ask_to_begin(
        &mut self,
        child: usize,
        number: u64,
    ) -> Result<(Place, Vec<u8>), String> {
        let sibling = self.needed(child);
        let seat = self.seat(number);
        let running = &mut self.children[child];
        let moves = running.moves;
        let What::There { actor, arguments, place, .. } = &mut running.spec.what else {
            return Err("it lives here".to_owned());
        };
        let place = match (&running.seat, sibling, place) {
            (Some((_, Seated::There { place, .. })), ..) => *place,
            (_, Some(place), _) => place,
            (_, None, Placement::OneOf(choose)) => {
                let places = made(|| choose(&self.cx))?;
                match places.len() {
                    0 => return Err("there is no context to start it in".to_owned()),
                    several => places[moves % several],
                }
            }
            (_, None, Placement::In(name)) => return Err(format!("the context `{name}` is down")),
        };
        let arguments = arguments.clone().map_err(|error| error.to_string())?;
        let ask = Ask::Begin { seat, actor: (*actor).to_owned(), arguments };
        let body = Codec::Postcard.encode(&ask).map_err(|error| error.to_string())?;
        Ok((place, body))
    }

    /// The place of the context that is a child too and that this one lives in, as far as that is up.
    fn needed(&self, child: usize) -> Option<Place> {
        let needed = self.index(self.children[child].spec.needs()?).ok()?;
        match &self.children[needed].seat {
            Some((_, Seated::Process(process))) => Some(process.place()),
            _ => None,
        }
    }

    /// Whether a child cannot begin since the context that it lives in is lost, which will be said in a moment, and is that one's failure.
    pub(super) fn is_held_up(&self, child: usize) -> bool {
        let stands = |place: Place| self.cx.place_of(place.context) == Some(place);
        self.children[child].spec.needs().is_some() && !self.needed(child).is_some_and(stands)
    }

    pub(super) fn seat(&self, number: u64) -> Seat {
        Seat { number, supervisor: self.me.clone() }
    }

    /// Hears of the loss of a child's context, or of its mailbox's end.
    pub(super) fn watch(
        &self,
        number: u64,
        place: Place,
        handle: Handle,
        ctx: &mut ActixContext<Self>,
    ) {
        let target: Remote<Self> = self.cx.remote(place.address(handle));
        let watch = self.cx.watch_for(&target, &self.me);
        ctx.spawn(watch.into_actor(self).map(move |down, me, ctx| {
            let reason = match &down.ended {
                Ended::Stopped(reason) => reason.clone(),
                lost => StopReason::Error(lost.to_string()),
            };
            // A mailbox that has ended, or a watch that was refused, while its context stands is a failure like any other.
            let stands =
                matches!(&down.ended, Ended::Stopped(reason) if *reason != StopReason::Shutdown);
            let lost = Some(down.to_string());
            let over = LifeIsOver { seat: number, reason, lost, with_context: !stands };
            me.life_is_over(over, ctx);
        }));
    }

    pub(super) fn end_life(&mut self, child: usize, ctx: &mut ActixContext<Self>) {
        let running = &self.children[child];
        if running.beginning {
            // When that is known, the plan still says so.
            return;
        }
        let grace = running.spec.grace;
        match &running.seat {
            Some((_, Seated::Here(kept))) => kept.end(grace),
            Some((number, Seated::There { place, .. })) => {
                let millis = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
                let (cx, place) = (self.cx.clone(), *place);
                let end = Ask::End { seat: self.seat(*number), grace: millis };
                let asking = async move { tell(&cx, place, &end).await };
                let number = *number;
                ctx.spawn(asking.into_actor(self).map(move |heard, _: &mut Self, ctx| {
                    if !heard {
                        ctx.run_later(AGAIN, move |me, ctx| me.end_again(child, number, ctx));
                    }
                }));
            }
            Some((_, Seated::Process(process))) => {
                let process = process.clone();
                let ending = async move {
                    process.end(grace).await;
                };
                ctx.spawn(ending.into_actor(self));
            }
            None => {}
        }
    }

    /// Says once more that this life shall end, if it still shall and is there.
    fn end_again(&mut self, child: usize, number: u64, ctx: &mut ActixContext<Self>) {
        let is_its = |(seat, _): &(u64, Seated)| *seat == number;
        let is_there = self.children[child].seat.as_ref().is_some_and(is_its);
        if is_there && self.plan.state(child) == State::Stopping {
            self.end_life(child, ctx);
        }
    }

    pub(super) fn close(&mut self, child: usize) {
        if let Some((number, Seated::There { place, .. })) = self.children[child].seat.take() {
            // The watch on it goes on, and finds nobody.
            let (cx, close) = (self.cx.clone(), Ask::Close { seat: self.seat(number) });
            tokio::task::spawn_local(async move {
                tell(&cx, place, &close).await;
            });
        }
    }
}

/// Why a context has not done what it was asked for.
enum NoAnswer {
    /// It says so.
    Refused(String),
    /// It was not heard, or its answer was not.
    Lost(String),
}

impl NoAnswer {
    fn text(self) -> String {
        match self {
            Self::Refused(text) | Self::Lost(text) => text,
        }
    }
}

/// Asks a context's nursery for something, and reads its answer.
async fn ask(cx: &Context, nursery: Address, body: &[u8]) -> Result<Handle, NoAnswer> {
    let answer = cx.ask(nursery, body).await;
    let answer = answer.map_err(|dead| match dead.handled {
        Handled::No => NoAnswer::Refused(dead.to_string()),
        _ => NoAnswer::Lost(dead.to_string()),
    })?;
    let answer = Codec::Postcard.decode::<Answer>(&answer);
    answer.map_err(|error| NoAnswer::Lost(error.to_string()))?.map_err(NoAnswer::Refused)
}

/// As [`ask`], where nothing hangs on the answer: if the context is lost, the watch says so. Gives whether it was heard.
async fn tell(cx: &Context, place: Place, what: &Ask) -> bool {
    let Ok(body) = Codec::Postcard.encode(what) else { return false };
    let handle = match what {
        // It is not held up by what its sender has sent to the actor; that it begins has been answered before.
        Ask::End { .. } => Handle::END,
        _ => Handle::SPAWN,
    };
    match ask(cx, place.address(handle), &body).await {
        Ok(_) => true,
        Err(error) => {
            let why = error.text();
            tracing::debug!(context = %cx.id(), there = %place.context, "a supervisor was not heard: {why}");
            false
        }
    }
}

/// A life could not be asked for.
#[derive(Message)]
#[rtype(result = "()")]
struct NotBegun {
    child: usize,
    why: String,
}

impl Handler<NotBegun> for Supervisor {
    type Result = ();

    fn handle(&mut self, NotBegun { child, why }: NotBegun, ctx: &mut ActixContext<Self>) {
        self.begun(child, Err(why), ctx);
    }
}
