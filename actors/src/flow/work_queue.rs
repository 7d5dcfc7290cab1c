//! A queue of work without a broker: an actor that hands jobs to the workers that have enlisted, as many as each has credit for.

use std::{collections::BTreeMap, fmt, time::Duration};

use actix::{
    Actor, ActorFutureExt, AsyncContext, Context as ActixContext, Handler, SpawnHandle, WrapFuture,
};
use actogen_runtime::{
    Ended,
    core::{Address, ContextId, DeadReason, Handled},
};

use super::{
    Dismiss, Enlist, Job, ReportWork, Submit, WorkError, WorkReport,
    jobs::{Bounds, Handed, Jobs, MOST_OF_ONE},
};
use crate::{
    Inbound,
    actor::{Attach, RemoteActor},
    address::RemoteRecipient,
    context::Context,
    message::{RemoteMessage, Tag},
    scratch,
    send_error::SendError,
    turn::{Envelope, Turn, deliver, deliver_inbound, unknown},
};

/// How long a worker gets nothing that has failed at a job, or could not be sent one: it may be lost, and the notice of that on its way. One that
/// takes no such jobs rests twice as long each time, up to the second one.
const RESTS: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(60));

/// What is done with jobs that are given up.
type GivenUp<J> = dyn FnMut(J, &str);

/// A queue of jobs, and the actor that holds it: start it with [`Context::start`], or as a child of a supervisor.
///
/// Jobs are put in by [`Submit`] and handed to workers that [`Enlist`], in their order. Each job is done **at least once**: one whose worker is lost, or failed at it, goes to another, and may
/// have been done by the first. Workers must bear that. A worker counts as lost when its actor has ended or its context cannot be reached any
/// more; it may enlist again when it can. One that does not know the jobs, or whose policy refuses them, costs them no try, and is asked more and more
/// rarely.
///
/// The queue sends jobs in the name of its own context, to actors that their own contexts have [enlisted](Enlist). Whoever can reach the queue can
/// submit jobs: give its address to those who may, or let its workers' policies decide.
///
/// The queue lives in memory. When its own actor ends, what it holds is given up; watch it if you submit to it or work for it.
///
/// ```
/// # use actogen::{flow::{Enlist, Submit, WorkQueue}, prelude::*};
/// # #[derive(Clone, RemoteMessage, Serialize, Deserialize)]
/// # #[remote(name = "doc.Thumbnail")]
/// # struct Thumbnail(String);
/// # async fn example(cx: Context, worker: RemoteRecipient<Thumbnail>) -> actogen::Result<()> {
/// let queue = cx.start(WorkQueue::<Thumbnail>::new(&cx).most_jobs(1000));
/// queue.send(Enlist { worker, credit: 2 }).await??;
/// queue.send(Submit(Thumbnail("cat.png".into()))).await??;
/// # Ok(())
/// # }
/// ```
#[must_use = "it is an actor: start it with `Context::start`"]
pub struct WorkQueue<J: Job> {
    cx: Context,
    jobs: Jobs<Address, J>,
    workers: BTreeMap<Address, Enlisted<J>>,
    job_time: Duration,
    given_up: Box<GivenUp<J>>,
}

struct Enlisted<J> {
    worker: RemoteRecipient<J>,
    watch: SpawnHandle,
    /// How long it rests next.
    rest: Duration,
}

/// Jobs are values like any others: nothing in here is pinned.
impl<J: Job> Unpin for WorkQueue<J> {}

impl<J: Job> WorkQueue<J> {
    /// A queue that holds at most 10,000 jobs of 64 MiB together, tries each five times, and gives each ten minutes.
    pub fn new(cx: &Context) -> Self {
        let bounds = Bounds { jobs: 10_000, bytes: 64 * 1024 * 1024, tries: 5 };
        Self {
            cx: cx.clone(),
            jobs: Jobs::new(bounds),
            workers: BTreeMap::new(),
            job_time: Duration::from_secs(600),
            given_up: Box::new(|_, _| ()),
        }
    }

    /// Holds at most so many jobs, those that workers have included.
    pub fn most_jobs(mut self, jobs: usize) -> Self {
        self.jobs.bounds.jobs = jobs;
        self
    }

    /// Holds jobs of at most so many bytes together, as they are encoded.
    pub fn most_bytes(mut self, bytes: usize) -> Self {
        self.jobs.bounds.bytes = bytes;
        self
    }

    /// Tries a job so often, at least once, before it gives it up. Tries of which it is certain that no worker has begun them do not count, unless
    /// that is the job's own fault, such as one that is too large.
    pub fn tries(mut self, most: u32) -> Self {
        self.jobs.bounds.tries = most;
        self
    }

    /// How long a worker may take for a job before it is handed to another, or to the same again: the worker may have hung, and stays enlisted.
    pub fn job_time(mut self, time: Duration) -> Self {
        self.job_time = time;
        self
    }

    /// What to do with a job that is given up, and with those that the queue holds when it ends; with it comes why. Without this they are counted
    /// and logged.
    pub fn on_given_up(mut self, act: impl FnMut(J, &str) + 'static) -> Self {
        self.given_up = Box::new(act);
        self
    }

    fn hand_out(&mut self, ctx: &mut ActixContext<Self>) {
        while let Some(Handed { turn, worker, job }) = self.jobs.next() {
            let enlisted = self.workers.get(&worker).expect("whoever gets jobs is enlisted");
            let request = enlisted.worker.send(job).within(self.job_time);
            let answered = request.into_actor(self).map(move |answer, queue, ctx| {
                queue.answered(turn, worker, answer, ctx);
            });
            ctx.spawn(answered);
        }
    }

    fn answered(
        &mut self,
        turn: u64,
        worker: Address,
        answer: Result<J::Result, SendError<J>>,
        ctx: &mut ActixContext<Self>,
    ) {
        let is_gone = match answer {
            // That the answer cannot be read here does not undo what was done.
            Ok(_) | Err(SendError::BadAnswer(_)) => {
                if let Some(enlisted) = self.workers.get_mut(&worker) {
                    enlisted.rest = RESTS.0;
                }
                self.jobs.done(turn)
            }
            Err(error) => {
                if self.jobs.rest(worker) {
                    let rest = self.rest(worker, &error);
                    ctx.run_later(rest, move |queue, ctx| {
                        queue.jobs.rested(worker);
                        queue.hand_out(ctx);
                    });
                }
                let untouched = error.handled() == Handled::No && !is_fault_of_job(&error);
                let (given_up, is_gone) = self.jobs.failed(turn, untouched);
                self.give_up(given_up, &error.to_string());
                is_gone
            }
        };
        if is_gone {
            self.forget(worker, ctx);
        }
        self.hand_out(ctx);
    }

    /// How long a worker rests after an error.
    fn rest(&mut self, worker: Address, error: &SendError<J>) -> Duration {
        let Some(enlisted) = self.workers.get_mut(&worker) else { return RESTS.0 };
        if !is_fault_of_worker(error) {
            return RESTS.0;
        }
        let rest = enlisted.rest;
        enlisted.rest = (rest * 2).min(RESTS.1);
        tracing::warn!(context = %self.cx.id(), worker = %worker, job = J::NAME, "a worker takes no jobs, and rests for {rest:?}: {error}");
        rest
    }

    /// Whether a context may say what becomes of a worker: the queue would else send to whom it likes.
    fn may_speak_for(&self, source: ContextId, worker: Address) -> bool {
        source == worker.context || source == self.cx.id()
    }

    fn give_up(&mut self, jobs: impl IntoIterator<Item = J>, why: &str) {
        for job in jobs {
            tracing::warn!(context = %self.cx.id(), job = J::NAME, "a job is given up: {why}");
            (self.given_up)(job, why);
        }
    }

    fn forget(&mut self, worker: Address, ctx: &mut ActixContext<Self>) {
        if let Some(enlisted) = self.workers.remove(&worker) {
            ctx.cancel_future(enlisted.watch);
        }
    }

    fn lost(&mut self, worker: Address, ended: &Ended, ctx: &mut ActixContext<Self>) {
        self.workers.remove(&worker);
        let given_up = self.jobs.lost(worker);
        self.give_up(given_up, &format!("its last worker was lost: {ended}"));
        self.hand_out(ctx);
    }
}

/// Whether another worker would not get it either.
fn is_fault_of_job<M>(error: &SendError<M>) -> bool {
    match error {
        SendError::Unattached(_) | SendError::Unencodable(..) => true,
        error => matches!(error.reason(), Some(DeadReason::TooLarge | DeadReason::Malformed)),
    }
}

/// Whether this worker takes no jobs of this type, whatever they are.
fn is_fault_of_worker<M>(error: &SendError<M>) -> bool {
    matches!(error.reason(), Some(DeadReason::UnknownMessage | DeadReason::Refused))
}

impl<J: Job> Actor for WorkQueue<J> {
    type Context = ActixContext<Self>;

    fn stopped(&mut self, _: &mut Self::Context) {
        let held = self.jobs.drain();
        self.give_up(held, "the queue has ended");
    }
}

impl<J: Job> Handler<Submit<J>> for WorkQueue<J> {
    type Result = Result<(), WorkError>;

    fn handle(&mut self, Submit(job): Submit<J>, ctx: &mut Self::Context) -> Self::Result {
        let bytes = scratch::with(|bytes| job.encode(J::CODEC, bytes).map(|()| bytes.len()));
        let bytes = bytes.map_err(|error| WorkError::Unencodable(error.to_string()))?;
        self.jobs.submit(job, bytes)?;
        self.hand_out(ctx);
        Ok(())
    }
}

impl<J: Job> Handler<Inbound<Enlist<J>>> for WorkQueue<J> {
    type Result = Result<(), WorkError>;

    fn handle(&mut self, enlist: Inbound<Enlist<J>>, ctx: &mut Self::Context) -> Self::Result {
        let Inbound { message: Enlist { worker, credit }, origin } = enlist;
        let address = worker.address();
        if !self.may_speak_for(origin.source, address) {
            return Err(WorkError::NotThere(address.context));
        }
        if address.handle.is_reserved() {
            return Err(WorkError::NoActor);
        }
        if origin.source != self.cx.id() && !self.workers.contains_key(&address) {
            let of_one = self.workers.keys().filter(|other| other.context == address.context);
            if of_one.count() >= MOST_OF_ONE {
                return Err(WorkError::TooManyWorkers(MOST_OF_ONE));
            }
        }
        if self.jobs.enlist(address, credit)? {
            let watch = self.cx.watch_address(address).into_actor(self);
            let watch = ctx.spawn(watch.map(move |ended, queue, ctx| {
                queue.lost(address, &ended, ctx);
            }));
            self.workers.insert(address, Enlisted { worker, watch, rest: RESTS.0 });
        }
        self.hand_out(ctx);
        Ok(())
    }
}

impl<J: Job> Handler<Inbound<Dismiss<J>>> for WorkQueue<J> {
    type Result = ();

    fn handle(&mut self, dismiss: Inbound<Dismiss<J>>, ctx: &mut Self::Context) {
        let Inbound { message: Dismiss { worker }, origin } = dismiss;
        let address = worker.address();
        if !self.may_speak_for(origin.source, address) {
            tracing::warn!(context = %self.cx.id(), from = %origin.source, worker = %address, "whose worker it is not may not dismiss it");
            return;
        }
        if self.jobs.dismiss(address) {
            self.forget(address, ctx);
        }
    }
}

impl<J: Job> Handler<ReportWork> for WorkQueue<J> {
    type Result = actix::MessageResult<ReportWork>;

    fn handle(&mut self, _: ReportWork, _: &mut Self::Context) -> Self::Result {
        actix::MessageResult(self.jobs.report())
    }
}

impl<J: Job> Handler<Attach<Self>> for WorkQueue<J> {
    type Result = ();

    fn handle(&mut self, attach: Attach<Self>, ctx: &mut Self::Context) {
        attach.attach(ctx);
    }
}

impl<J: Job> RemoteActor for WorkQueue<J> {
    const NAME: &'static str = "actogen.work_queue";
    const TAGS: &'static [Tag] =
        &[Submit::<J>::TAG, Enlist::<J>::TAG, Dismiss::<J>::TAG, ReportWork::TAG];

    fn dispatch(&mut self, envelope: &mut Envelope<'_>, turn: &mut Turn<'_, Self>) {
        let tag = envelope.tag();
        if tag == Submit::<J>::TAG {
            deliver::<Self, Submit<J>>(self, envelope, turn);
        } else if tag == Enlist::<J>::TAG {
            deliver_inbound::<Self, Enlist<J>>(self, envelope, turn);
        } else if tag == Dismiss::<J>::TAG {
            deliver_inbound::<Self, Dismiss<J>>(self, envelope, turn);
        } else if tag == ReportWork::TAG {
            deliver::<Self, ReportWork>(self, envelope, turn);
        } else {
            unknown::<Self>(envelope, turn);
        }
    }
}

impl<J: Job> fmt::Debug for WorkQueue<J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let WorkReport { waiting, under_way, workers, .. } = self.jobs.report();
        f.debug_struct("WorkQueue")
            .field("waiting", &waiting)
            .field("under_way", &under_way)
            .field("workers", &workers)
            .finish_non_exhaustive()
    }
}
