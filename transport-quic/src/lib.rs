//! Links between contexts over QUIC: who is at the other end, and five ordered streams each way.
//!
//! [`QuicTransport`] implements [`Transport`](actogen_runtime::transport::Transport): it dials and accepts mutually authenticated
//! connections, and everything above it (frames, routes, policies) sees bytes and proved context ids only. quinn and rustls do the
//! work; neither shows in this crate's signatures.
//!
//! # How are identities checked?
//!
//! The root of a mesh holds a [`MeshAuthority`]. Every context makes its own key ([`JoinKey`]) and gets a certificate that names it as
//! `spiffe://<mesh>/context/<id>`; together they are its [`NodeIdentity`]. A link is TLS 1.3 with certificates on both sides, and each
//! side checks the other's: the name, that this mesh's root issued it, that it is in force, that it is meant for both directions,
//! and, where the caller knows who must answer, the id. Host names play no part. The same check judges certificates inside
//! announcements ([`Identity::verify`](actogen_runtime::transport::Identity::verify)). There is no shared secret, no way to switch the
//! checks off, and nothing is resumed or sent early.
//!
//! Whoever fails a check never reaches the runtime: no byte of a stream is read from it or written to it, the refusal is counted
//! ([`QuicTransport::refused`]) and logged with the address. The dialling side is told which check failed; for a peer of another mesh
//! the error names both meshes.
//!
//! # How does a process get an identity?
//!
//! - It is the root: [`MeshAuthority::root_identity`].
//! - It is new and was invited: [`enrol`] carries its request to its parent over a protocol of its own, which needs no certificate and
//!   checks the parent's; [`Enrolled::identity`] puts the answer together.
//! - It was given a folder: [`MeshAuthority::issue_pem`] wrote it, [`NodeIdentity::from_pem`] reads it.
//!
//! # Example
//!
//! Two contexts of one mesh, in one process:
//!
//! ```
//! use std::sync::Arc;
//!
//! use actogen_core::id::ContextId;
//! use actogen_runtime::transport::{Authority, Incoming, Transport};
//! use actogen_transport_quic::{JoinKey, MeshAuthority, NodeIdentity, QuicOptions, QuicTransport};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let authority = MeshAuthority::generate("fleet.example")?;
//! let root = Arc::new(authority.root_identity());
//! let root = QuicTransport::bind(root, QuicOptions::listen("127.0.0.1:0"))?;
//!
//! let key = JoinKey::generate();
//! let certificate = authority.issue(ContextId(1), &key.request())?;
//! let child = Arc::new(NodeIdentity::from_enrolment(key, &certificate, &authority.roots())?);
//! let child = QuicTransport::bind(child, QuicOptions::dial_only())?;
//!
//! let endpoint = root.endpoint().expect("the root listens");
//! let (dialled, accepted) = tokio::join!(child.dial(endpoint, Some(ContextId::ROOT)), root.accept());
//! assert_eq!(dialled?.peer, ContextId::ROOT);
//! let Some(Incoming::Link(link)) = accepted else { panic!("the child linked") };
//! assert_eq!(link.peer, ContextId(1));
//! # Ok(())
//! # }
//! ```
//!
//! # Rooms
//!
//! | module | what is there |
//! |---|---|
//! | `identity` | names, the authority, certificates, PEM folders, and the one judgement of a certificate |
//! | `tls` | what TLS shows, asks for and leaves off |
//! | `settings` | every setting of QUIC, with its reason; [`QuicOptions`] |
//! | `socket` | what carries datagrams: UDP, or a [`DatagramSocket`] of your own |
//! | `endpoint` | [`QuicTransport`]: one socket, its runtime, closing |
//! | `door` | which newcomers are let in, and what becomes of the others |
//! | `dial` | from `HOST:PORT` to a link, or to an error that says what to do |
//! | `link` | the ten streams of a link, and how a connection ends |
//! | `enrol`, `invited`, `returning` | the join protocol; joining with a token; coming back with a certificate that has expired |

mod dial;
mod door;
mod endpoint;
mod enrol;
mod identity;
mod invited;
mod link;
mod returning;
mod settings;
mod socket;
mod tls;
mod tunnel;

pub use door::Refused;
pub use endpoint::{BindError, QuicTransport};
pub use enrol::{EnrolError, Enrolled, MAX_REQUEST, enrol};
pub use identity::{
    Clock, FolderError, JoinKey, JoinToken, LIFETIME, MachineClock, MeshAuthority, MeshName,
    MeshNameError, NodeIdentity, PEM_LIFETIME, TokenError, TokenId,
};
pub use invited::{Joined, join};
pub use settings::{Mtu, QuicOptions};
pub use socket::DatagramSocket;
pub use tunnel::{TUNNEL_ENDPOINT, Tunnel};
