//! What a queue of work is told and asked, and what it answers.

use actogen_runtime::core::ContextId;
use serde::{Deserialize, Serialize};

use super::WorkQueue;
use crate::{
    RemoteMessage,
    address::RemoteRecipient,
    channel::Item,
    message::{Codec, MessageOf, Tag},
};

/// What can be a job: a message that its workers handle. Met by whatever derives `RemoteMessage`, `Clone` and serde's two; nobody implements it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a job",
    label = "this must be a `RemoteMessage` that implements `Clone`",
    note = "derive them: `#[derive(Clone, RemoteMessage, Serialize, Deserialize)]`"
)]
pub trait Job: RemoteMessage + Item + Clone {}

impl<J: RemoteMessage + Item + Clone> Job for J {}

/// Puts a job into a [`WorkQueue`]. Answered at once: that it is held from now on, or why not.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(bound = "J: Job")]
pub struct Submit<J>(
    /// The job.
    pub J,
);

/// Has a worker get jobs of a [`WorkQueue`]: an actor, here or in another context, that handles them as requests. A job is done when it is
/// answered, whatever the answer is. A worker that enlists again gets this credit from then on.
///
/// The queue sends in its own name what others submit. So whoever asks may enlist actors of its own context alone, and so many of them; only the
/// queue's context may enlist any.
#[derive(Debug, Serialize, Deserialize)]
#[serde(bound = "")]
pub struct Enlist<J> {
    /// Who gets them.
    pub worker: RemoteRecipient<J>,
    /// So many jobs it has at a time, at least one and at most 1024; with more than one, the next is there when it is done with one.
    pub credit: u32,
}

/// Has a worker get no more jobs; it keeps those that it has. Asked by those who may [`Enlist`] it; of others it is not heard.
#[derive(Debug, Serialize, Deserialize)]
#[serde(bound = "")]
pub struct Dismiss<J> {
    /// Who gets no more.
    pub worker: RemoteRecipient<J>,
}

/// Asks a [`WorkQueue`] how it is.
#[derive(Clone, Copy, Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "actogen.ReportWork", reply = "WorkReport", crate = crate)]
pub struct ReportWork;

/// How a [`WorkQueue`] is, and what it has done so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct WorkReport {
    /// Jobs that wait for a worker.
    pub waiting: usize,
    /// Jobs that workers have.
    pub under_way: usize,
    /// What all of these take, encoded, in bytes.
    pub bytes: usize,
    /// Workers that are enlisted.
    pub workers: usize,
    /// Jobs that were done.
    pub done: u64,
    /// How often a job went back into the queue.
    pub redone: u64,
    /// Jobs that were given up; see [`WorkQueue::on_given_up`].
    pub given_up: u64,
    /// Jobs that were not taken in.
    pub refused: u64,
}

/// Why a [`WorkQueue`] has not taken a job, or a worker.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[non_exhaustive]
pub enum WorkError {
    /// The queue holds what it may.
    #[error(
        "the queue is full, with {jobs} jobs of {bytes} bytes: try again later, or enlist more workers"
    )]
    Full {
        /// How many it holds.
        jobs: usize,
        /// What they take, encoded.
        bytes: usize,
    },
    /// The job alone is larger than the queue.
    #[error("the job has {bytes} bytes, and the queue holds {most}: give it more, or send less")]
    TooLarge {
        /// What the job takes, encoded.
        bytes: usize,
        /// What the queue holds at most.
        most: usize,
    },
    /// The job has no form in its codec; why not.
    #[error("the job cannot be encoded: {0}")]
    Unencodable(String),
    /// As many workers as there may be are enlisted.
    #[error("{0} workers are enlisted already: no more are taken")]
    TooManyWorkers(usize),
    /// The worker is not the asker's to enlist.
    #[error(
        "the worker is said to be in {0}, where this does not come from: let it enlist itself, or have the queue's own context do so"
    )]
    NotThere(ContextId),
    /// The worker's address is one of the runtime's own, where no actor is.
    #[error("no actor is at this address")]
    NoActor,
}

/// The names of what carries a job or its type: the tag of the job's own type is mixed in, so that a queue of other jobs does not know them.
macro_rules! carries {
    ($message:ident, $name:literal, $named:ident, $reply:literal, $result:ty) => {
        #[derive(RemoteMessage, Serialize, Deserialize)]
        #[remote(name = $name, reply = $reply, crate = crate)]
        struct $named;

        impl<J: Job> actix::Message for $message<J> {
            type Result = $result;
        }

        impl<J: Job> RemoteMessage for $message<J> {
            const NAME: &'static str = $named::NAME;
            const VERSION: u32 = $named::VERSION;
            const TAG: Tag = Tag::new($named::TAG.get() ^ J::TAG.get().rotate_left(1));
            const CODEC: Codec = Codec::Postcard;
        }

        // Whoever sends some other actor what it does not accept need not read of this one.
        #[diagnostic::do_not_recommend]
        impl<J: Job> MessageOf<WorkQueue<J>> for $message<J> {}
    };
}

carries!(Submit, "actogen.Submit", AnySubmit, "Result<(), WorkError>", Result<(), WorkError>);
carries!(Enlist, "actogen.Enlist", AnyEnlist, "Result<(), WorkError>", Result<(), WorkError>);
carries!(Dismiss, "actogen.Dismiss", AnyDismiss, "()", ());

#[diagnostic::do_not_recommend]
impl<J: Job> MessageOf<WorkQueue<J>> for ReportWork {}
