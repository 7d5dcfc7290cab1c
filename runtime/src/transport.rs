//! What the runtime asks of whatever carries its bytes.
//!
//! A [`Transport`] dials and accepts authenticated [`Link`]s. A link is five ordered byte streams in each direction
//! ([`StreamId`]), with the peer's identity already proved. The runtime frames, routes and judges; the transport moves bytes,
//! proves identities, and notices silence. [`crate::memory`] is the implementation for one process; `actogen-transport-quic` is
//! the one for everything else. One conformance suite (in `tests/`) runs over all of them.

use std::{fmt, future::Future, pin::Pin, sync::Arc};

use actogen_core::id::{ContextId, StreamId};
use bytes::Bytes;

use crate::names::{ContextNames, Holder};

/// A boxed future that may move between threads: broker tasks run on whatever runtime the broker has.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A context's own identity, and its judgement of others' (protocol rules 3 and 23-27).
pub trait Identity: fmt::Debug + Send + Sync + 'static {
    /// The context that this identity is of.
    fn context(&self) -> ContextId;

    /// The mesh's name: the trust domain.
    fn mesh(&self) -> &str;

    /// The certificate in the form in which announcements carry it: at most 8 KiB.
    fn certificate(&self) -> Vec<u8>;

    /// When its certificate will need renewal, and the request for that; `None` for one that needs none.
    fn renewal(&self) -> Option<crate::renewal::Renewal> {
        None
    }

    /// Takes a newer certificate for the same context and key: handshakes from now on show it.
    ///
    /// # Errors
    /// [`IdentityError`] when it is not one of this mesh for this context and key, or not in force.
    fn renew(&self, certificate: &[u8]) -> Result<(), IdentityError> {
        let _ = certificate;
        Err(IdentityError("this identity needs no renewal".to_owned()))
    }

    /// The newest list of revocations that this context has taken, with its signature; `None` when it has none.
    fn revocations(&self) -> Option<Vec<u8>> {
        None
    }

    /// Takes a list of revocations: certificates of those on it are refused from now on. Gives who is on it, or nothing when it is not
    /// newer than the last.
    ///
    /// # Errors
    /// [`IdentityError`] when the mesh's authority has not signed it.
    fn take_revocations(&self, list: &[u8]) -> Result<Option<Vec<ContextId>>, IdentityError> {
        let _ = list;
        Err(IdentityError("this identity's certificates are not revoked".to_owned()))
    }

    /// Whether the newest list has this context on it.
    fn is_revoked(&self, context: ContextId) -> bool {
        let _ = context;
        false
    }

    /// The names that a certificate of this mesh carries beside its context's id, in their order (see [`crate::names`]). Whether the
    /// certificate is good is [`Self::verify`]'s to say.
    ///
    /// # Errors
    /// [`IdentityError`] when it does not decode, is of another mesh, or carries names that no certificate may.
    fn names_in(&self, certificate: &[u8]) -> Result<Vec<String>, IdentityError>;

    /// Signs a claim of this context.
    fn sign(&self, claim: &[u8]) -> Vec<u8>;

    /// Checks that `certificate` is one of this mesh for `context`, in force now, and that its key has signed the claim.
    ///
    /// # Errors
    /// [`IdentityError`] says which of that does not hold.
    fn verify(
        &self,
        context: ContextId,
        certificate: &[u8],
        claim: &[u8],
        signature: &[u8],
    ) -> Result<(), IdentityError>;

    /// As [`Self::verify`], for a certificate that was in force at this time: for what was signed and kept. Revocations count as they are known
    /// now. Where certificates do not expire it is the same.
    ///
    /// # Errors
    /// As [`Self::verify`].
    fn verify_at(
        &self,
        context: ContextId,
        certificate: &[u8],
        claim: &[u8],
        signature: &[u8],
        at: std::time::SystemTime,
    ) -> Result<(), IdentityError> {
        let _ = at;
        self.verify(context, certificate, claim, signature)
    }
}

/// Why an identity, a certificate or a signature was not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct IdentityError(pub String);

/// The mesh's authority: held by the root alone.
pub trait Authority: fmt::Debug + Send + Sync + 'static {
    /// Signs a certificate request for a context whose id has just been allocated. Returns the certificate in the form of
    /// [`Identity::certificate`].
    ///
    /// # Errors
    /// [`IdentityError`] when the request does not decode or its own signature does not hold.
    fn issue(&self, context: ContextId, request: &[u8]) -> Result<Vec<u8>, IdentityError>;

    /// Signs another certificate for a context that has one: `certificate`, which must be in force and for the same key as the request.
    ///
    /// # Errors
    /// [`IdentityError`] when that does not hold.
    fn renew(
        &self,
        context: ContextId,
        certificate: &[u8],
        request: &[u8],
    ) -> Result<Vec<u8>, IdentityError> {
        let _ = (context, certificate, request);
        Err(IdentityError("this authority renews no certificates".to_owned()))
    }

    /// Signs another certificate for whichever context has this one, which may have expired up to seven days ago (protocol rule 25), and must
    /// be for the same key as the request. Gives the context too.
    ///
    /// # Errors
    /// [`IdentityError`] when that does not hold, or the context is revoked.
    fn renew_expired(
        &self,
        certificate: &[u8],
        request: &[u8],
    ) -> Result<(ContextId, Vec<u8>), IdentityError> {
        let _ = (certificate, request);
        Err(IdentityError("this authority renews no certificates".to_owned()))
    }

    /// Whether a one-time token admits this request, which `proof` proves to be of one who has the token. Gives the context that it is,
    /// if the same key has come before; else a new one is allocated, and [bound](Self::bind_token) before anything is issued.
    ///
    /// # Errors
    /// [`IdentityError`] when it does not, for the log: strangers learn no more than that.
    fn check_token(
        &self,
        token: u64,
        request: &[u8],
        proof: &[u8; 32],
    ) -> Result<Option<ContextId>, IdentityError> {
        let _ = (token, request, proof);
        Err(IdentityError("this authority gives no tokens out".to_owned()))
    }

    /// Notes, durably, whom a token has admitted.
    ///
    /// # Errors
    /// [`IdentityError`] when it could not be stored; nothing is issued then.
    fn bind_token(
        &self,
        token: u64,
        request: &[u8],
        context: ContextId,
    ) -> Result<(), IdentityError> {
        let _ = (token, request, context);
        Err(IdentityError("this authority gives no tokens out".to_owned()))
    }

    /// Takes over who is on a list of revocations that this authority has signed before, and does not know any more, because it was restored
    /// from a backup. Whether there was somebody.
    ///
    /// # Errors
    /// [`IdentityError`] when the list is not this authority's, or it could not be stored.
    fn recover_revocations(&self, list: &[u8]) -> Result<bool, IdentityError> {
        let _ = list;
        Ok(false)
    }

    /// Binds names to a context, durably: every certificate that is issued for it from now on carries them. A name that another context
    /// has is bound as `holder` says; a context that is revoked has none any more.
    ///
    /// # Errors
    /// [`IdentityError`] when another context keeps a name, `context` is revoked, there are more names than may be, or it could not be
    /// stored; nothing is bound then.
    fn bind_names(
        &self,
        context: ContextId,
        names: &ContextNames,
        holder: Holder,
    ) -> Result<(), IdentityError> {
        let _ = (context, holder);
        match names.is_empty() {
            true => Ok(()),
            false => Err(IdentityError("this authority gives no names out".to_owned())),
        }
    }

    /// To which context a name was bound last, whether that is revoked by now or not; `None` when it never was to any. It is asked often.
    ///
    /// # Errors
    /// [`IdentityError`] when it cannot be read.
    fn holder(&self, name: &str) -> Result<Option<ContextId>, IdentityError> {
        let _ = name;
        Ok(None)
    }

    /// Puts a context on the list of revocations, durably: its certificate is good no more, and it gets no other.
    ///
    /// # Errors
    /// [`IdentityError`] when it cannot be: the root, or one more than the list holds.
    fn revoke(&self, context: ContextId) -> Result<(), IdentityError> {
        let _ = context;
        Err(IdentityError("this authority revokes no certificates".to_owned()))
    }

    /// The list of revocations with its signature, as it is now: also what other processes have put on it. `None` while nobody is on it.
    ///
    /// # Errors
    /// [`IdentityError`] when it cannot be read.
    fn revocations(&self) -> Result<Option<Vec<u8>>, IdentityError> {
        Ok(None)
    }

    /// Makes an allocation durable before it is used: no id below `ids_below` and no term up to `term` is given out again,
    /// not even after a restart of the root (protocol rule 24). An authority that is not kept beyond the process does nothing.
    ///
    /// # Errors
    /// [`IdentityError`] when it could not be stored; the allocation is not used then.
    fn reserve(&self, term: u64, ids_below: u64) -> Result<(), IdentityError>;

    /// What earlier lives of the root have reserved: the last term and the first id that was never reserved.
    fn reserved(&self) -> (u64, u64);
}

/// Dials and accepts links for one context.
pub trait Transport: fmt::Debug + Send + Sync + 'static {
    /// Who this context is.
    fn identity(&self) -> Arc<dyn Identity>;

    /// Where others can dial this context; `None` when it accepts no links.
    fn endpoint(&self) -> Option<String>;

    /// Where others can dial this context for a direct link, best first; a transport that accepts no links begins to for that. `seen_from`
    /// has the remotes of the links that stand, as [`Link::remote`] says them, which tell by which networks this context is reached.
    /// Empty when nobody can.
    fn places(&self, seen_from: Vec<String>) -> BoxFuture<'_, Vec<String>> {
        drop(seen_from);
        Box::pin(std::future::ready(self.endpoint().into_iter().collect()))
    }

    /// What a new process needs to enrol with this context; `None` when the transport cannot carry other processes.
    fn invitation(&self) -> Option<Invitation>;

    /// Dials another context and proves both identities. `expect` names who must answer, if that is known.
    ///
    /// # Errors
    /// [`DialError`] says at which step and why; for a peer of another mesh its text names both meshes.
    fn dial(
        &self,
        endpoint: String,
        expect: Option<ContextId>,
    ) -> BoxFuture<'_, Result<Link, DialError>>;

    /// The next link or enrolment from outside; `None` once the transport is closed. A newcomer that fails to prove who it is
    /// never comes out here: the transport refuses it, and counts and logs it with its address.
    fn accept(&self) -> BoxFuture<'_, Option<Incoming>>;

    /// Accepts, from now on, links and enrolments that come through a pair of pipes as well, until those end. It is for one other process,
    /// which dials by the text that this gives.
    ///
    /// # Errors
    /// Why this transport cannot.
    fn tunnel(&self, input: PipeReader, output: PipeWriter) -> Result<Tunnelled, String> {
        drop((input, output));
        Err("this transport goes through no pipes".to_owned())
    }

    /// Closes every link and stops accepting. Waits, within a bound, until the peers have been told.
    fn close(&self) -> BoxFuture<'_, ()>;
}

/// A transport that others keep a hand on.
impl<T: Transport + ?Sized> Transport for Arc<T> {
    fn identity(&self) -> Arc<dyn Identity> {
        (**self).identity()
    }

    fn endpoint(&self) -> Option<String> {
        (**self).endpoint()
    }

    fn invitation(&self) -> Option<Invitation> {
        (**self).invitation()
    }

    fn dial(
        &self,
        endpoint: String,
        expect: Option<ContextId>,
    ) -> BoxFuture<'_, Result<Link, DialError>> {
        (**self).dial(endpoint, expect)
    }

    fn accept(&self) -> BoxFuture<'_, Option<Incoming>> {
        (**self).accept()
    }

    fn tunnel(&self, input: PipeReader, output: PipeWriter) -> Result<Tunnelled, String> {
        (**self).tunnel(input, output)
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        (**self).close()
    }
}

/// What a process puts out, for a tunnel.
pub type PipeReader = Box<dyn tokio::io::AsyncRead + Send + Unpin>;

/// What a process takes in, for a tunnel.
pub type PipeWriter = Box<dyn tokio::io::AsyncWrite + Send + Unpin>;

/// What stands for the address of a peer at the other end of a pipe.
pub const PIPE: &str = "pipe";

/// A tunnel that is open.
pub struct Tunnelled {
    /// Where its other end dials.
    pub endpoint: String,
    /// Ends it at once.
    pub cut: Box<dyn FnOnce() + Send>,
}

impl fmt::Debug for Tunnelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tunnelled").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

/// Somebody at the door.
#[derive(Debug)]
pub enum Incoming {
    /// An authenticated context.
    Link(Link),
    /// A new process that asks for an identity (protocol rule 23).
    Enrolment(Enrolment),
}

/// A request for an identity over the join protocol. The transport carries both ways as opaque bytes.
pub struct Enrolment {
    /// The request; at most 16 KiB.
    pub request: Bytes,
    /// Where it came from, for logs.
    pub remote: String,
    /// Answers it and closes the connection. Dropping it without a call refuses without a reason.
    pub respond: Box<dyn FnOnce(Result<Vec<u8>, String>) + Send>,
}

impl fmt::Debug for Enrolment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Enrolment").field("remote", &self.remote).finish_non_exhaustive()
    }
}

/// What a new process must know before it can enrol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invitation {
    /// Where to dial.
    pub endpoint: String,
    /// The mesh's name.
    pub mesh: String,
    /// The mesh's roots, in the transport's own form; public.
    pub roots: Vec<u8>,
}

/// An authenticated connection: five streams in, five out.
pub struct Link {
    /// The peer, proved by its certificate.
    pub peer: ContextId,
    /// The peer's network address or the like, for logs and errors.
    pub remote: String,
    /// Where this context writes, by [`StreamId::index`].
    pub writers: [Box<dyn StreamWriter>; StreamId::COUNT],
    /// Where this context reads, by [`StreamId::index`].
    pub readers: [Box<dyn StreamReader>; StreamId::COUNT],
    /// The connection as a whole.
    pub connection: Arc<dyn Connection>,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link")
            .field("peer", &self.peer)
            .field("remote", &self.remote)
            .finish_non_exhaustive()
    }
}

/// The connection under a link.
pub trait Connection: fmt::Debug + Send + Sync + 'static {
    /// Closes it at once, with a text for the peer. Bytes that have been written but not acknowledged may be lost: the runtime
    /// says goodbye on the streams first. Does nothing when it is closed already.
    fn close(&self, text: &str);

    /// Ends when the connection has, by whomever.
    fn closed(&self) -> BoxFuture<'static, LinkEnd>;
}

/// How a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkEnd {
    /// The peer has not been heard for the detection time.
    Silent,
    /// The peer closed it, or it broke; the text says how.
    Closed(String),
    /// This side closed it.
    Local,
}

/// The sending end of one stream.
pub trait StreamWriter: Send + 'static {
    /// Writes a whole chunk; waits while the peer grants no room.
    ///
    /// # Errors
    /// [`StreamError`] once the connection has ended.
    fn write(&mut self, chunk: Bytes) -> BoxFuture<'_, Result<(), StreamError>>;

    /// Says that nothing more comes, and waits, until the peer has acknowledged everything or the connection has ended.
    fn finish(&mut self) -> BoxFuture<'_, ()>;
}

/// The receiving end of one stream.
pub trait StreamReader: Send + 'static {
    /// The next bytes in order; `None` when the peer has said that nothing more comes. Pieces that have come may be put together up
    /// to `gather` bytes: many messages in a piece are cheaper to hand on than a few in each of many, and a copy of little else is
    /// not. With 0 they come as they are.
    ///
    /// # Errors
    /// [`StreamError`] once the connection has ended.
    fn read(&mut self, gather: usize) -> BoxFuture<'_, Result<Option<Bytes>, StreamError>>;
}

/// A stream's connection has ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the stream ended: {0}")]
pub struct StreamError(pub String);

/// Why a link could not be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DialError {
    /// The endpoint cannot be understood or resolved.
    #[error(
        "`{endpoint}` is no address to connect to: {why}. Give HOST:PORT, such as 127.0.0.1:4433"
    )]
    Address {
        /// What was given.
        endpoint: String,
        /// What is wrong with it.
        why: String,
    },
    /// Nobody answered in time.
    #[error(
        "nobody answers at {endpoint}: {why}. Is the other context listening there, and does UDP pass?"
    )]
    Unreachable {
        /// What was dialled.
        endpoint: String,
        /// How it failed.
        why: String,
    },
    /// One side did not accept the other's identity.
    #[error("{endpoint} and this context do not accept each other: {why}")]
    Identity {
        /// What was dialled.
        endpoint: String,
        /// Which check failed; names both meshes where they differ.
        why: String,
    },
    /// The peer speaks no version that this one speaks.
    #[error("{endpoint} does not speak actogen/1: {why}. Upgrade the older side")]
    Version {
        /// What was dialled.
        endpoint: String,
        /// What was offered.
        why: String,
    },
    /// The peer is who it should be and does not want the link.
    #[error("{endpoint} refused the link: {why}")]
    Refused {
        /// What was dialled.
        endpoint: String,
        /// The peer's text.
        why: String,
    },
    /// This side's transport is closed.
    #[error("this context is shutting down")]
    Closed,
}
