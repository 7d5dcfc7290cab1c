//! The way out: messages from a sender in this context to a mailbox anywhere.

use actogen_core::{
    Dead, DeadReason, Handle,
    limits::FRAGMENT,
    policy::Origin,
    wire::{Header, TAG, TraceContext},
};

use bytes::Bytes;

use crate::{
    batch::{Batch, Item},
    context::Context,
    direct::Load,
    lane::{Class, LaneError},
    way::{AwayLink, KnownWay, LocalMailbox, Way},
};

/// An encoded message.
#[derive(Clone, Copy, Debug)]
pub struct Encoded<'a> {
    /// Which type of message it is.
    pub tag: u64,
    /// The codec of the body; 0 is postcard.
    pub codec: u8,
    /// The body.
    pub body: &'a [u8],
    /// The span that sends it, if any.
    pub trace: Option<&'a TraceContext>,
}

/// Why a message could not be posted; it has not left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PostError {
    /// The lane to the next context is full: wait for room ([`Context::room`]) or give up.
    Full,
    /// It cannot go there at all.
    Dead(Dead),
}

impl Context {
    /// Whether a sender of this context may put a message into a mailbox of it.
    ///
    /// # Errors
    /// The dead reply that the message gets otherwise.
    #[inline]
    pub fn may_enter(&self, to: &LocalMailbox) -> Result<(), Dead> {
        // The family is read for those policies only that ask for it.
        if to.is_open() {
            return Ok(());
        }
        let refusal = to.bound.policy.check(&Origin::own(self.id()), &self.family());
        refusal.map_err(|refusal| self.dead(DeadReason::Refused, refusal.to_string()))
    }

    /// Puts an encoded message on its way, and counts it as sent.
    ///
    /// # Errors
    /// [`PostError`]: the message has not left.
    pub fn post_away(
        &self,
        way: &AwayLink,
        message: Encoded<'_>,
        reply: Option<Handle>,
    ) -> Result<(), PostError> {
        self.may_post(way, message.body)?;
        let AwayLink { link, to, generation, .. } = way;
        let tag = message.tag.to_le_bytes();
        let header = way.header(message.codec, reply, message.trace);
        let lane = link.lane(to.handle.stream());
        lane.append_since(
            *generation,
            (to.context, to.handle),
            &header,
            &[&tag, message.body],
            Class::Message,
        )
        .map_err(|error| self.not_posted(way, error))?;
        self.count_sent(1);
        Ok(())
    }

    /// As [`Self::post_away`], by a known way: what frames to one mailbox have in common is made once. Those of a trace have less in
    /// common, and each gets a head of its own.
    ///
    /// # Errors
    /// [`PostError`]: the message has not left.
    #[inline]
    pub fn post_known(
        &self,
        known: &mut KnownWay,
        message: Encoded<'_>,
        reply: Option<Handle>,
    ) -> Result<(), PostError> {
        let Way::Away(way) = &known.way else { return Err(self.takes_values()) };
        if reply.is_some() || message.trace.is_some() || message.body.len() + TAG > FRAGMENT {
            return self.post_away(way, message, reply);
        }
        self.may_post(way, message.body)?;
        let (lane, pair) = (way.link.lane(way.to.handle.stream()), (way.to.context, way.to.handle));
        let head = match &mut known.head {
            Some((tag, codec, head)) if (*tag, *codec) == (message.tag, message.codec) => head,
            head => {
                let made = way.head(message.tag, message.codec);
                &mut head.insert((message.tag, message.codec, made)).2
            }
        };
        lane.append_alike(way.generation, pair, head, message.body)
            .map_err(|error| self.not_posted(way, error))
    }

    /// As [`Self::post_known`], for a message that is longer than a fragment, tag included. `payload` is its tag and its body, and is
    /// not copied.
    ///
    /// # Errors
    /// [`PostError`]: the message has not left.
    pub fn post_long(
        &self,
        known: &KnownWay,
        codec: u8,
        payload: Bytes,
        reply: Option<Handle>,
        trace: Option<&TraceContext>,
    ) -> Result<(), PostError> {
        let Way::Away(way) = &known.way else { return Err(self.takes_values()) };
        self.may_post(way, payload.get(TAG..).unwrap_or_default())?;
        let AwayLink { link, to, generation, .. } = way;
        link.lane(to.handle.stream())
            .append_long(
                *generation,
                (to.context, to.handle),
                &way.header(codec, reply, trace),
                payload,
                Class::Message,
            )
            .map_err(|error| self.not_posted(way, error))?;
        self.count_sent(1);
        Ok(())
    }

    /// Puts an encoded message of somebody else into a mailbox of this context: its answer goes to them.
    pub fn hand_in(
        &self,
        to: &LocalMailbox,
        handle: Handle,
        from: Origin,
        message: Encoded<'_>,
        reply: Option<Handle>,
    ) {
        let Encoded { tag, codec, body, .. } = message;
        let mut batch = Batch::new(handle, from, Bytes::copy_from_slice(body));
        batch.push(Item::new(tag, codec, reply, 0..body.len()));
        to.bound.mailbox.push(self, batch);
    }

    fn takes_values(&self) -> PostError {
        let text = "a mailbox of this context takes values, not bytes".into();
        PostError::Dead(self.dead(DeadReason::NoRoute, text))
    }

    /// Whether a message may leave now: nobody has asked for a pause, and it is not too large for the way.
    #[inline]
    fn may_post(&self, way: &AwayLink, body: &[u8]) -> Result<(), PostError> {
        if way.waits || self.is_paused(way.to) || way.link.hold.pauses(way.to.context) {
            return Err(PostError::Full);
        }
        if body.len() > self.max_message() { Err(self.too_large(body.len())) } else { Ok(()) }
    }

    #[cold]
    fn too_large(&self, is: usize) -> PostError {
        let limit = self.max_message();
        let text = format!("a body of {is} bytes, the limit on the way is {limit}");
        PostError::Dead(self.dead(DeadReason::TooLarge, text))
    }

    #[cold]
    fn not_posted(&self, way: &AwayLink, error: LaneError) -> PostError {
        match error {
            // It is found anew when there is room.
            LaneError::Full | LaneError::Old => PostError::Full,
            LaneError::Closed => {
                PostError::Dead(self.dead(DeadReason::RouteLost, way.link.loss().to_string()))
            }
        }
    }

    /// Waits until a message that found its lane full, or its mailbox or context paused, may be tried again, or the link has gone.
    pub async fn room(&self, way: &AwayLink) {
        self.path_settled(way.to.context, way.to.handle).await;
        self.pause_over(way.to).await;
        self.link_pause_over(&way.link.hold, way.to.context).await;
        way.link.lane(way.to.handle.stream()).wait_for_room().await;
    }

    /// Posts one of the runtime's own requests, which quotas of their own bound and no lane refuses.
    pub(crate) fn post_own(
        &self,
        way: &AwayLink,
        body: &[u8],
        reply: Option<Handle>,
    ) -> Result<(), PostError> {
        self.post_plain(way, body, reply, Class::Notice)
    }

    /// Posts a request of the runtime's own that nobody misses when there is no room for it.
    pub(crate) fn post_kindness(&self, way: &AwayLink, body: &[u8]) -> Result<(), PostError> {
        self.post_plain(way, body, None, Class::Message)
    }

    fn post_plain(
        &self,
        way: &AwayLink,
        body: &[u8],
        reply: Option<Handle>,
        class: Class,
    ) -> Result<(), PostError> {
        let to = way.to;
        let tag = 0_u64.to_le_bytes();
        let mut header = Header::to(to.handle);
        header.reply = reply;
        self.emit(to.context, to.incarnation.meant(), header, Load::Parts(&[&tag, body]), class)
            .map_err(|error| self.not_posted(way, error))
    }

    /// Counts messages of this context that could not be posted: somebody has sent them all the same.
    pub fn count_sent(&self, messages: u64) {
        self.0.counters.sent.add(messages);
    }

    /// Counts messages handed to handlers in this context.
    pub fn count_delivered(&self, messages: u64) {
        self.0.counters.delivered.add(messages);
    }

    /// Counts a message that was given back to its sender here, before it left.
    pub fn count_refused(&self) {
        self.0.counters.refused.add(1);
    }
}
