//! Posting: the attempt to put a message on its way, and what is tried again when there was no room for it.

use std::time::Duration;

use actogen_runtime::{
    Context, Encoded, KnownWay, PostError, Way,
    core::{Dead, DeadReason, Handle, Handled, limits::FRAGMENT, wire::TAG},
    envelope::Outcome,
};

use bytes::Bytes;

use crate::{
    address::{DecodingScope, Known, Reach},
    blob,
    intake::{Intake, Put},
    message::{Body, CodecError, RemoteMessage},
    scratch,
    send_error::SendError,
    trace::{self, Kept},
};

/// What one attempt at posting came to.
pub(crate) enum Attempt<M> {
    Posted,
    /// No room: wait, and try with what is left.
    NoRoom(Parcel<M>, Way),
    Failed(SendError<M>),
}

/// A message, with its tag and its encoded form if that was made already.
pub(crate) struct Parcel<M> {
    message: M,
    encoded: Option<Bytes>,
    /// Where its sender was.
    trace: Kept,
}

impl<M> Parcel<M> {
    fn new(message: M, encoded: Option<Bytes>) -> Self {
        Self { message, encoded, trace: trace::kept() }
    }
}

impl Reach {
    /// Posts what an earlier attempt has left, if it finds a way and room.
    fn attempt_again<M: RemoteMessage>(
        &self,
        parcel: Parcel<M>,
        reply: Option<Handle>,
    ) -> Attempt<M> {
        let _scope = trace::enter(parcel.trace.as_deref());
        self.attempt(parcel.message, parcel.encoded, reply)
    }

    /// Posts a message, if it finds a way and room. `encoded` is its tag and its encoded form, if that was made already.
    ///
    /// The message is not made part of anything else on its way through here: to move it costs as much as to encode it.
    #[inline(always)]
    pub(crate) fn attempt<M: RemoteMessage>(
        &self,
        message: M,
        encoded: Option<Bytes>,
        reply: Option<Handle>,
    ) -> Attempt<M> {
        if let Known::Here(known) = &self.known
            && let Some(intake) = known.get()
        {
            return self.attempt_here(intake, message, reply);
        }
        self.attempt_unknown(message, encoded, reply)
    }

    /// As [`Self::attempt`], where it is not known that the message stays here.
    #[inline(never)]
    fn attempt_unknown<M: RemoteMessage>(
        &self,
        message: M,
        encoded: Option<Bytes>,
        reply: Option<Handle>,
    ) -> Attempt<M> {
        let Some(context) = &self.context else {
            return Attempt::Failed(SendError::Unattached(message));
        };
        let known = match &self.known {
            Known::Here(_) => return self.find_here(message, reply),
            Known::Away(known) => known,
        };
        let (mut shared, mut unshared) = (known.try_lock(), None);
        let known = shared.as_deref_mut().unwrap_or(&mut unshared);
        let known = match context.way_known(self.address, known) {
            Err(dead) => return Attempt::Failed(SendError::Unsent(message, dead)),
            Ok(known) => known,
        };
        // What is not posted is told beside the buffer's lending, so that next to nothing comes through there when all is well.
        let mut left = None;
        let is_posted = match encoded {
            Some(encoded) => post_again::<M>(context, known, encoded, reply, &mut left),
            None => scratch::with(|encoded| {
                encoded.extend_from_slice(&M::TAG.get().to_le_bytes());
                if let Err(error) = message.encode(M::CODEC, encoded) {
                    left = Some(Left::Unencodable(error));
                    return false;
                }
                if encoded.len() > FRAGMENT {
                    let encoded = Bytes::from(std::mem::take(encoded));
                    return post_again::<M>(context, known, encoded, reply, &mut left);
                }
                match post_short::<M>(context, known, encoded, reply) {
                    Ok(()) => true,
                    Err(error) => {
                        left = Some(Left::of(error, || Bytes::copy_from_slice(encoded)));
                        false
                    }
                }
            }),
        };
        if is_posted {
            return Attempt::Posted;
        }
        let dead = match left {
            Some(Left::Full(encoded)) => {
                let parcel = Parcel::new(message, Some(encoded));
                return Attempt::NoRoom(parcel, known.way().clone());
            }
            Some(Left::Unencodable(error)) => {
                return Attempt::Failed(SendError::Unencodable(message, error));
            }
            Some(Left::Dead(dead)) => dead,
            None => unreachable!("what is not posted says why"),
        };
        Attempt::Failed(SendError::Unsent(message, dead))
    }

    /// Puts a message into a mailbox of its sender's own context, as it is, if there is room.
    #[inline]
    fn attempt_here<M: RemoteMessage>(
        &self,
        intake: &Intake,
        message: M,
        reply: Option<Handle>,
    ) -> Attempt<M> {
        match intake.put(message, reply) {
            Put::Posted => Attempt::Posted,
            Put::NoRoom(message) | Put::Closed(message) => self.find_here(message, reply),
        }
    }

    /// As [`Self::attempt_here`], where the mailbox is not known, has ended or is full.
    #[cold]
    fn find_here<M: RemoteMessage>(&self, message: M, reply: Option<Handle>) -> Attempt<M> {
        let Some(context) = &self.context else {
            return Attempt::Failed(SendError::Unattached(message));
        };
        let (here, intake) = match context.way(self.address) {
            Err(dead) => return Attempt::Failed(SendError::Unsent(message, dead)),
            Ok(Way::Away(_)) => unreachable!("no link leads from a context to itself"),
            Ok(Way::Here(here)) => match Intake::of(&here) {
                Some(intake) => (here, intake),
                None => {
                    let text = "a mailbox of the runtime's own takes no values";
                    let (reason, by) = (DeadReason::UnknownMessage, context.id());
                    let dead = Dead::new(reason, Handled::No, by, text);
                    return Attempt::Failed(SendError::Unsent(message, dead));
                }
            },
        };
        if let Err(dead) = context.may_enter(&here) {
            intake.refuse_value::<M>(reply, dead);
            return Attempt::Posted;
        }
        match intake.put(message, reply) {
            Put::Posted => {}
            Put::NoRoom(message) => {
                let parcel = Parcel::new(message, None);
                return Attempt::NoRoom(parcel, Way::Here(here));
            }
            // It ends this moment.
            Put::Closed(_) => intake.refuse_stopped::<M>(reply),
        }
        if let Known::Here(known) = &self.known
            && here.is_open()
        {
            let _ = known.set(intake);
        }
        Attempt::Posted
    }

    /// Counts a message that did not leave.
    pub(crate) fn refused<M>(&self, error: SendError<M>) -> SendError<M> {
        if let Some(context) = &self.context {
            context.count_sent(1);
            context.count_refused();
        }
        error
    }

    pub(crate) fn try_send<M: RemoteMessage>(&self, message: M) -> Result<(), SendError<M>> {
        match self.attempt(message, None, None) {
            Attempt::Posted => Ok(()),
            Attempt::NoRoom(parcel, _) => Err(self.refused(SendError::Full(parcel.message))),
            Attempt::Failed(error) => Err(self.refused(error)),
        }
    }

    #[inline]
    pub(crate) fn do_send<M: RemoteMessage>(&self, message: M) {
        match self.attempt(message, None, None) {
            Attempt::Posted => {}
            left => self.bury(left),
        }
    }

    /// Makes a dead letter of what could not be posted.
    #[cold]
    fn bury<M: RemoteMessage>(&self, left: Attempt<M>) {
        let Some(context) = &self.context else { return };
        let (reason, by) = (DeadReason::Congested, context.id());
        let dead = match left {
            Attempt::Posted => return,
            Attempt::NoRoom(..) => {
                Dead::new(reason, Handled::No, by, "there is no room on the way")
            }
            Attempt::Failed(SendError::Unsent(_, dead)) => dead,
            Attempt::Failed(error) => {
                Dead::new(DeadReason::Malformed, Handled::No, by, error.to_string())
            }
        };
        context.count_sent(1);
        context.dead_letter(self.address, M::TAG.get(), &dead);
    }

    /// Waits for room, and posts what an attempt has left.
    pub(crate) async fn post_later<M: RemoteMessage>(
        &self,
        mut parcel: Parcel<M>,
        mut way: Way,
        reply: Option<Handle>,
    ) -> Result<(), SendError<M>> {
        loop {
            match &way {
                Way::Here(here) => here.room().await,
                Way::Away(away) => {
                    if let Some(context) = &self.context {
                        context.room(away).await;
                    }
                }
            }
            match self.attempt_again(parcel, reply) {
                Attempt::Posted => return Ok(()),
                Attempt::Failed(error) => return Err(self.refused(error)),
                Attempt::NoRoom(left, again) => (parcel, way) = (left, again),
            }
        }
    }

    /// Takes an answer for what it is.
    pub(crate) fn answered<M: RemoteMessage>(
        &self,
        outcome: Outcome,
        limit: Duration,
    ) -> Result<M::Result, SendError<M>> {
        match outcome {
            Outcome::Reply(bytes) => {
                let decode = || blob::decoded_from(&bytes, || M::Result::decode(M::CODEC, &bytes));
                let decoded = match &self.context {
                    Some(context) => DecodingScope::of(context).decode(decode),
                    None => decode(),
                };
                decoded.map_err(SendError::BadAnswer)
            }
            Outcome::Local(value) => match value.downcast::<M::Result>() {
                Ok(value) => Ok(*value),
                Err(_) => Err(SendError::Failed("the answer is a value of another type".into())),
            },
            Outcome::Failed(text) => Err(SendError::Failed(text)),
            Outcome::Late => Err(SendError::Timeout(limit)),
            Outcome::Dead(dead) => Err(SendError::Dead(dead)),
        }
    }
}

/// Why a message was not posted.
enum Left {
    /// No room; this is what was to be posted.
    Full(Bytes),
    Dead(Dead),
    Unencodable(CodecError),
}

impl Left {
    #[cold]
    fn of(error: PostError, encoded: impl FnOnce() -> Bytes) -> Self {
        match error {
            PostError::Full => Self::Full(encoded()),
            PostError::Dead(dead) => Self::Dead(dead),
        }
    }
}

fn post_again<M: RemoteMessage>(
    context: &Context,
    known: &mut KnownWay,
    encoded: Bytes,
    reply: Option<Handle>,
    left: &mut Option<Left>,
) -> bool {
    let posted = if encoded.len() > FRAGMENT {
        let trace = trace::current();
        context.post_long(known, M::CODEC.number(), encoded.clone(), reply, trace.as_ref())
    } else {
        post_short::<M>(context, known, &encoded, reply)
    };
    *left = posted.err().map(|error| Left::of(error, || encoded));
    left.is_none()
}

fn post_short<M: RemoteMessage>(
    context: &Context,
    known: &mut KnownWay,
    encoded: &[u8],
    reply: Option<Handle>,
) -> Result<(), PostError> {
    let (tag, codec, body) = (M::TAG.get(), M::CODEC.number(), &encoded[TAG..]);
    let trace = trace::current();
    context.post_known(known, Encoded { tag, codec, body, trace: trace.as_ref() }, reply)
}
