//! How a link opens: the dialler says how it wants to stand, the acceptor answers, and only then anything else flows.

use std::sync::Arc;

use actogen_core::{
    ContextId, Incarnation, StreamId,
    policy::Side,
    wire::{
        FrameReader,
        control::{self, Answer, Hello, Refusal, RefusalReason, Role, Welcome},
    },
};
use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    context::Context,
    transport::{Connection, Link, PIPE, StreamError},
};

/// A link whose openings have been exchanged, with what came behind them.
pub(crate) struct Opened {
    pub(crate) link: Link,
    pub(crate) peer: ContextId,
    pub(crate) incarnation: Incarnation,
    pub(crate) side: Side,
    pub(crate) control: FrameReader,
}

/// Why a link did not open.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum OpenError {
    #[error("the peer refused: {0}")]
    Refused(String),
    #[error("both sides dialled at once, and the peer's dial stands")]
    Simultaneous,
    #[error("the peer does not speak the protocol: {0}")]
    Protocol(String),
    #[error("the link broke while it opened: {0}")]
    Broken(String),
}

impl From<StreamError> for OpenError {
    fn from(error: StreamError) -> Self {
        Self::Broken(error.0)
    }
}

/// Closes a link whose opening is given up, so that the peer does not go on with it alone.
struct Unopened(Option<Arc<dyn Connection>>);

impl Unopened {
    fn watch(link: &Link) -> Self {
        Self(Some(link.connection.clone()))
    }

    fn opened(mut self) {
        self.0 = None;
    }
}

impl Drop for Unopened {
    fn drop(&mut self) {
        if let Some(connection) = &self.0 {
            connection.close("the link did not open");
        }
    }
}

/// What a dialler says of itself.
pub(crate) fn hello(
    context: ContextId,
    incarnation: Option<Incarnation>,
    role: Role,
    max_message: usize,
) -> Hello {
    Hello {
        version: control::VERSION,
        capabilities: 0,
        role,
        context,
        incarnation,
        yours: None,
        max_message: max_message as u64,
        ancestors: Vec::new(),
    }
}

/// Opens a link that this side has dialled.
pub(crate) async fn dial(mut link: Link, hello: &Hello) -> Result<(Opened, Welcome), OpenError> {
    let unopened = Unopened::watch(&link);
    send(&mut link, hello).await?;
    let (answer, control) = receive::<Answer>(&mut link).await?;
    let welcome = match answer {
        Answer::Welcome(welcome) => welcome,
        Answer::Refusal(Refusal { reason: RefusalReason::Simultaneous, .. }) => {
            return Err(OpenError::Simultaneous);
        }
        Answer::Refusal(refusal) => return Err(OpenError::Refused(refusal.text)),
    };
    if welcome.context != link.peer {
        return Err(OpenError::Protocol(format!("{} calls itself {}", link.peer, welcome.context)));
    }
    if welcome.version != control::VERSION {
        return Err(OpenError::Protocol(format!("it speaks version {}", welcome.version)));
    }
    if hello.incarnation.is_some_and(|mine| mine != welcome.yours) {
        return Err(OpenError::Protocol("it gave this context another life than it has".into()));
    }
    unopened.opened();
    let side = match hello.role {
        Role::Child => Side::Parent,
        Role::Parent => Side::Child,
        Role::Direct(_) => Side::Direct,
    };
    let opened = Opened { peer: link.peer, incarnation: welcome.incarnation, side, control, link };
    Ok((opened, welcome))
}

/// Opens a link that a peer has dialled. `admit` asks the root for a life for a peer that has none.
pub(crate) async fn accept(context: &Context, mut link: Link) -> Result<Opened, OpenError> {
    let (hello, control) = receive::<Hello>(&mut link).await?;
    let (peer, me) = (link.peer, context.id());
    let refuse = |reason, text: String| Err(Refusal { reason, text });
    let checked = if hello.version != control::VERSION {
        refuse(
            RefusalReason::Version,
            format!("{me} speaks version {}, not {}", control::VERSION, hello.version),
        )
    } else if hello.context != peer {
        refuse(
            RefusalReason::Identity,
            format!("the certificate is of {peer}, not of {}", hello.context),
        )
    } else if !context.is_running() {
        refuse(RefusalReason::Shutdown, format!("{me} is shutting down"))
    } else if context.link_count() >= context.limits().links {
        refuse(
            RefusalReason::Quota,
            format!("{me} holds {} links, as many as it may", context.limits().links),
        )
    } else if context.endpoint().is_none()
        && link.remote != PIPE
        && !matches!(hello.role, Role::Direct(_))
    {
        refuse(
            RefusalReason::Role,
            format!("{me} lets in nobody but who has a ticket to a direct link"),
        )
    } else if context.is_dialling(peer) {
        refuse(
            RefusalReason::Simultaneous,
            format!("{me} is dialling {peer} itself, and its dial stands"),
        )
    } else if matches!(hello.role, Role::Direct(_)) {
        // Its ticket is judged below.
        Ok(())
    } else if hello.role == Role::Parent {
        // A context that waits for its parent has no router yet and is not here (`join`).
        refuse(RefusalReason::Role, format!("{me} has its place in the tree already"))
    } else if peer == me || peer.is_root() || context.family().ancestors.contains(&peer) {
        refuse(
            RefusalReason::Role,
            format!("{peer} cannot be a child of {me}: it is above it, or the same"),
        )
    } else {
        Ok(())
    };
    let side = match hello.role {
        Role::Direct(_) => Side::Direct,
        _ => Side::Child,
    };
    let incarnation = match (checked, hello.incarnation) {
        (Err(refusal), _) => Err(refusal),
        (Ok(()), life) if let Role::Direct(ticket) = hello.role => {
            context.admit_direct((peer, &*link.connection), life, ticket).await
        }
        (Ok(()), Some(incarnation)) => Ok(incarnation),
        (Ok(()), None) => context.admit(peer).await.map_err(|dead| Refusal {
            reason: RefusalReason::NoRoot,
            text: format!("the root could not be asked for a life for {peer}: {dead}"),
        }),
    };
    let yours = match incarnation {
        Ok(incarnation) => incarnation,
        Err(refusal) => return Err(refuse_link(link, refusal).await),
    };
    let family = context.family();
    let welcome = Welcome {
        version: control::VERSION,
        capabilities: context.capabilities(),
        context: me,
        incarnation: context.incarnation(),
        yours,
        max_message: context.max_message() as u64,
        ancestors: family.ancestors,
    };
    send(&mut link, &Answer::Welcome(welcome)).await?;
    Ok(Opened { peer, incarnation: yours, side, control, link })
}

/// Answers the hello of a peer that has dialled to be this context's parent, while that waits for one.
pub(crate) async fn accept_parent(
    mut link: Link,
    me: ContextId,
    max_message: usize,
) -> Result<(Opened, Welcome), OpenError> {
    let unopened = Unopened::watch(&link);
    let (hello, control) = receive::<Hello>(&mut link).await?;
    let refuse = |reason, text: &str| Refusal { reason, text: text.to_owned() };
    let grant = match (hello.role, hello.incarnation, hello.yours) {
        _ if hello.version != control::VERSION => {
            Err(refuse(RefusalReason::Version, "another version is spoken here"))
        }
        _ if hello.context != link.peer => {
            Err(refuse(RefusalReason::Identity, "the certificate is of another context"))
        }
        (Role::Parent, Some(theirs), Some(yours)) if link.peer.is_root() => Ok((theirs, yours)),
        _ => Err(refuse(RefusalReason::Role, "this context waits for the root to be its parent")),
    };
    let (incarnation, yours) = match grant {
        Ok(grant) => grant,
        Err(refusal) => return Err(refuse_link(link, refusal).await),
    };
    let welcome = Welcome {
        version: control::VERSION,
        capabilities: 0,
        context: me,
        incarnation: yours,
        yours: incarnation,
        max_message: max_message as u64,
        ancestors: Vec::new(),
    };
    send(&mut link, &Answer::Welcome(welcome)).await?;
    unopened.opened();
    // What this side takes from the parent, as if that had welcomed it.
    let place = Welcome {
        version: hello.version,
        capabilities: hello.capabilities,
        context: hello.context,
        incarnation,
        yours,
        max_message: hello.max_message,
        ancestors: hello.ancestors,
    };
    Ok((Opened { peer: link.peer, incarnation, side: Side::Parent, control, link }, place))
}

/// Tells the peer why not, and closes the link once it knows.
async fn refuse_link(mut link: Link, refusal: Refusal) -> OpenError {
    let text = refusal.text.clone();
    if let Err(error) = send(&mut link, &Answer::Refusal(refusal)).await {
        return error;
    }
    link.writers[StreamId::CONTROL.index()].finish().await;
    // The peer closes when it has read the refusal; if it does not, the handshake's limit does.
    link.connection.closed().await;
    OpenError::Refused(text)
}

async fn send<T: Serialize>(link: &mut Link, opening: &T) -> Result<(), OpenError> {
    let mut frame = Vec::new();
    control::put_opening(opening, &mut frame);
    Ok(link.writers[StreamId::CONTROL.index()].write(Bytes::from(frame)).await?)
}

async fn receive<T: DeserializeOwned>(link: &mut Link) -> Result<(T, FrameReader), OpenError> {
    let mut frames = FrameReader::new();
    loop {
        let frame = frames.next().map_err(|error| OpenError::Protocol(error.to_string()))?;
        if let Some(frame) = frame {
            let opening = control::take_opening(&frame.header, &frame.payload);
            let opening = opening.map_err(|error| OpenError::Protocol(error.to_string()))?;
            return Ok((opening, frames));
        }
        match link.readers[StreamId::CONTROL.index()].read(0).await? {
            Some(chunk) => frames.feed(chunk),
            None => return Err(OpenError::Broken("it ended before it opened".into())),
        }
    }
}
