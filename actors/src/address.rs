//! Addresses of actors, as values: cloned, compared, sent in messages, printed without giving the capability away.

use std::{
    cell::{Cell, RefCell},
    cmp::Ordering,
    fmt,
    hash::{Hash, Hasher},
    marker::PhantomData,
    sync::{Arc, OnceLock},
};

use actogen_runtime::{
    KnownWay,
    core::{Address, ContextId},
};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use try_lock::TryLock;

use crate::{
    intake::Intake,
    message::{MessageOf, RemoteMessage},
};

thread_local! {
    /// The context whose messages are being decoded on this thread, for the addresses in them: one of the few exceptions to "no
    /// statics" (ARCHITECTURE.md).
    static SCOPE: RefCell<Option<actogen_runtime::Context>> = const { RefCell::new(None) };
    /// Whether the decoder runs right now. Between two messages an author's code does, and its addresses belong to nobody.
    static DECODING: Cell<bool> = const { Cell::new(false) };
}

/// Makes the addresses in what [`Self::decode`] decodes belong to a context. Made once for many messages; scopes nest.
pub(crate) struct DecodingScope {
    outer: Option<actogen_runtime::Context>,
    outer_decodes: bool,
}

impl DecodingScope {
    pub(crate) fn of(context: &actogen_runtime::Context) -> Self {
        let outer = SCOPE.replace(Some(context.clone()));
        Self { outer, outer_decodes: DECODING.replace(false) }
    }

    /// Runs a decoder. If it panics, [`Self::stop_decoding`] must follow.
    #[inline]
    pub(crate) fn decode<T>(&self, decoder: impl FnOnce() -> T) -> T {
        DECODING.set(true);
        let outcome = decoder();
        DECODING.set(false);
        outcome
    }

    /// Notes that a decoder panicked.
    pub(crate) fn stop_decoding(&self) {
        DECODING.set(false);
    }

    fn current() -> Option<actogen_runtime::Context> {
        // At the end of a thread the values may be gone already.
        let decodes = DECODING.try_with(Cell::get).unwrap_or(false);
        decodes.then(|| SCOPE.try_with(|scope| scope.borrow().clone()).ok().flatten()).flatten()
    }
}

impl Drop for DecodingScope {
    fn drop(&mut self) {
        let outer = self.outer.take();
        let _ = SCOPE.try_with(|scope| scope.replace(outer));
        let _ = DECODING.try_with(|decoding| decoding.set(self.outer_decodes));
    }
}

/// What both kinds of address have in common: where, and through which context.
pub(crate) struct Reach {
    pub(crate) address: Address,
    pub(crate) context: Option<actogen_runtime::Context>,
    pub(crate) known: Known,
}

/// What an address keeps of the last message's way.
pub(crate) enum Known {
    /// The actor is in the address's own context, and this is its intake, if anybody may send to it.
    Here(OnceLock<Arc<Intake>>),
    /// It is elsewhere. Whoever finds the way in use by another looks for it itself. Boxed, since most of many addresses lie idle.
    Away(TryLock<Option<Box<KnownWay>>>),
}

impl Reach {
    fn new(address: Address, context: Option<actogen_runtime::Context>) -> Arc<Self> {
        let is_here = context.as_ref().is_some_and(|context| context.id() == address.context);
        let known =
            if is_here { Known::Here(OnceLock::new()) } else { Known::Away(TryLock::new(None)) };
        Arc::new(Self { address, context, known })
    }

    fn decoded<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<Self>, D::Error> {
        let address = Address::deserialize(deserializer)?;
        Ok(Self::new(address, DecodingScope::current()))
    }
}

/// The address of an actor of type `A`, in this context or another. Cheap to clone; may travel in messages, and is attached to
/// the context that receives it.
///
/// Whoever holds it may send to the actor, so printing it shows a digest of its handle only. One that was decoded outside of a
/// message is unattached: sends fail with [`crate::SendError::Unattached`] until [`Self::attach`] gives it a context.
pub struct Remote<A> {
    pub(crate) reach: Arc<Reach>,
    _actor: PhantomData<fn(A)>,
}

/// The address of whatever actor accepts messages of type `M`.
pub struct RemoteRecipient<M> {
    pub(crate) reach: Arc<Reach>,
    _message: PhantomData<fn(M)>,
}

impl<A> Remote<A> {
    pub(crate) fn new(address: Address, context: Option<actogen_runtime::Context>) -> Self {
        Self { reach: Reach::new(address, context), _actor: PhantomData }
    }

    /// The same address, for senders that know one message of the actor only.
    pub fn recipient<M: MessageOf<A>>(&self) -> RemoteRecipient<M> {
        RemoteRecipient { reach: self.reach.clone(), _message: PhantomData }
    }
}

macro_rules! address {
    ($type:ident<$parameter:ident>, $marker:ident) => {
        impl<$parameter> $type<$parameter> {
            /// Where the actor is.
            pub fn address(&self) -> Address {
                self.reach.address
            }

            /// The context that the actor lives in.
            pub fn context_id(&self) -> ContextId {
                self.reach.address.context
            }

            /// Attaches an address that was decoded outside of a message to a context, through which it then sends.
            #[must_use]
            pub fn attach(self, context: &crate::Context) -> Self {
                let context: &actogen_runtime::Context = context;
                let reach = Reach::new(self.reach.address, Some(context.clone()));
                Self { reach, $marker: PhantomData }
            }
        }

        impl<$parameter> Clone for $type<$parameter> {
            fn clone(&self) -> Self {
                Self { reach: self.reach.clone(), $marker: PhantomData }
            }
        }

        impl<$parameter> PartialEq for $type<$parameter> {
            fn eq(&self, other: &Self) -> bool {
                self.reach.address == other.reach.address
            }
        }

        impl<$parameter> Eq for $type<$parameter> {}

        impl<$parameter> PartialOrd for $type<$parameter> {
            fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
                Some(self.cmp(other))
            }
        }

        impl<$parameter> Ord for $type<$parameter> {
            fn cmp(&self, other: &Self) -> Ordering {
                self.reach.address.cmp(&other.reach.address)
            }
        }

        impl<$parameter> Hash for $type<$parameter> {
            fn hash<H: Hasher>(&self, state: &mut H) {
                self.reach.address.hash(state);
            }
        }

        impl<$parameter> fmt::Debug for $type<$parameter> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({:?})", stringify!($type), self.reach.address)
            }
        }

        impl<$parameter> fmt::Display for $type<$parameter> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.reach.address, f)
            }
        }

        impl<$parameter> Serialize for $type<$parameter> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                self.reach.address.serialize(serializer)
            }
        }

        impl<'de, $parameter> Deserialize<'de> for $type<$parameter> {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Ok(Self { reach: Reach::decoded(deserializer)?, $marker: PhantomData })
            }
        }
    };
}

address!(Remote<A>, _actor);
address!(RemoteRecipient<M>, _message);

impl<A, M: MessageOf<A>> From<Remote<A>> for RemoteRecipient<M> {
    fn from(remote: Remote<A>) -> Self {
        remote.recipient()
    }
}

impl<M: RemoteMessage> RemoteRecipient<M> {
    pub(crate) fn reach(&self) -> &Arc<Reach> {
        &self.reach
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Codec;
    use actogen_runtime::core::{Handle, Incarnation};

    fn address() -> Remote<()> {
        let address = Address {
            context: ContextId(3),
            handle: Handle(0x1234_5678_9abc_def0),
            incarnation: Incarnation::new(1, 2),
        };
        Remote::new(address, None)
    }

    #[test]
    fn an_address_survives_and_compares_by_where_it_is() {
        let bytes = Codec::Postcard.encode(&address()).unwrap();
        let decoded: Remote<()> = Codec::Postcard.decode(&bytes).unwrap();
        assert_eq!(decoded, address());
        assert!(decoded.reach.context.is_none(), "nothing is being received");
        assert_eq!(decoded.cmp(&address()), Ordering::Equal);
    }

    #[test]
    fn an_address_prints_a_digest_and_never_its_handle() {
        for text in [format!("{}", address()), format!("{:?}", address())] {
            assert!(
                !text.contains("123456789abcdef0")
                    && !text.contains(&0x1234_5678_9abc_def0_u64.to_string()),
                "{text}"
            );
        }
        assert!(format!("{}", address()).starts_with("3/"));
    }
}
