//! The macros of Actogen. Use them through the crate `actogen`, which re-exports each of them and holds everything that their
//! expansions name; the programs in its documentation and in the book are compiled, the sketches here only show the shapes.
//!
//! | macro | goes on | what it does |
//! |---|---|---|
//! | [`RemoteMessage`] | a struct or enum | gives it a name, a version, a reply and a codec, so that other processes know it |
//! | [`RemoteActor`] | an actor's type | lists the messages that reach it from other processes, and delivers them to its handlers |
//! | [`JournaledActor`] | an actor's state | its turns are durable; for the crate `actogen-journal` |
//! | [`macro@function`] | a function | other contexts can call it by its name |
//! | [`macro@main`] | `async fn main` | starts a context; the binary can also be its own child process |
//! | [`macro@test`] | an `async fn` | a test with a context of its own |
//!
//! A whole program:
//!
//! ```ignore
//! use actogen::prelude::*;
//!
//! #[derive(RemoteMessage, Serialize, Deserialize)]
//! #[remote(name = "calc.Add", reply = "i64")]
//! struct Add(i64, i64);
//!
//! #[derive(RemoteActor, Default)]
//! #[remote(name = "calc", messages(Add), spawn)]
//! struct Calc;
//!
//! impl Actor for Calc {
//!     type Context = actix::Context<Self>;
//! }
//!
//! impl Handler<Add> for Calc {
//!     type Result = i64;
//!
//!     fn handle(&mut self, add: Add, _: &mut Self::Context) -> i64 {
//!         add.0 + add.1
//!     }
//! }
//!
//! #[actogen::main]
//! async fn main(cx: Context) -> actogen::Result<()> {
//!     let child = cx.launch(Launch::local()).await?;
//!     let calc: Remote<Calc> = child.spawn::<Calc>(()).await?;
//!     println!("{}", calc.send(Add(2, 3)).await?);
//!     Ok(())
//! }
//! ```
//!
//! # Names
//!
//! The name of a message or of an actor is one or more parts joined by dots, such as `calc.Add`. A part has letters, digits, `_`
//! and `-` of ASCII; the whole has at most 128 bytes. Names are given, never taken from the type or its module: moving or
//! renaming a type changes nothing for its peers.
//!
//! # Tags
//!
//! A message travels under a tag of 64 bits: the first 8 bytes, read as little endian, of the BLAKE3 hash of its name, a zero
//! byte and its version in decimal. Another version is another message. Tags are computed while compiling.
//!
//! # The facade under another name
//!
//! Expansions name the facade `::actogen`. Where it is renamed or re-exported, say `crate = path` to any of the macros:
//! `#[remote(name = "calc", crate = my_framework::actogen)]`, `#[actogen::main(crate = my_framework::actogen)]`.

mod actor;
mod attributes;
mod entry;
mod function;
mod journaled;
mod message;
mod name;
mod service;
mod tag;

use proc_macro::TokenStream;
use syn::{DeriveInput, parse_macro_input};

/// Makes a struct or an enum a message that other processes can send.
///
/// The type must also be `Serialize`, `DeserializeOwned`, `Send` and `'static`, and so must its reply. The derive implements
/// `actix::Message` and `actogen::RemoteMessage`, so the type needs no `#[derive(Message)]`.
///
/// ```ignore
/// #[derive(RemoteMessage, Serialize, Deserialize)]
/// #[remote(name = "calc.Divide", version = 2, reply = "Result<i64, DivideError>", codec = "cbor")]
/// struct Divide {
///     dividend: i64,
///     divisor: i64,
/// }
/// ```
///
/// # Keys of `#[remote(...)]`
///
/// | key | default | meaning |
/// |---|---|---|
/// | `name = "area.Name"` | required | the name that peers know it by: see the crate's page |
/// | `version = 1` | `1` | from 1 to 4294967295; raise it when older peers could not read the new shape |
/// | `reply = "Type"` | `"()"` | what a handler answers |
/// | `codec = "postcard"` | `"postcard"` | how message and reply are written: `"postcard"`, `"json"` or `"cbor"` |
/// | `crate = path` | `::actogen` | where the facade is |
///
/// # Errors
///
/// A type with parameters or lifetimes is refused, because all its instances would share one tag; so is a union. A type or a reply
/// that is not serializable is an error at its name.
#[proc_macro_derive(RemoteMessage, attributes(remote))]
pub fn remote_message(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    message::expand(&input).unwrap_or_else(syn::Error::into_compile_error).into()
}

/// Makes an actor reachable from other processes.
///
/// The actor must run in an `actix::Context<Self>` and have a handler for every message of the list. The derive implements
/// `actogen::RemoteActor`, `actogen::MessageOf<Self>` for each listed message, actix's handler that attaches the actor to its
/// context's intake and, with `spawn`, `actogen::Spawn`.
///
/// ```ignore
/// #[derive(RemoteActor)]
/// #[remote(name = "accounts", messages(Deposit, Balance), inbound(Withdraw), spawn(Ledger))]
/// struct Accounts {
///     ledger: Ledger,
/// }
///
/// impl From<Ledger> for Accounts {
///     fn from(ledger: Ledger) -> Self {
///         Accounts { ledger }
///     }
/// }
///
/// impl Handler<Inbound<Withdraw>> for Accounts {
///     type Result = Result<(), Refused>;
///
///     fn handle(&mut self, withdraw: Inbound<Withdraw>, _: &mut Self::Context) -> Self::Result {
///         // Who sent it, and with which authority, stands beside the message.
///     }
/// }
/// ```
///
/// # Keys of `#[remote(...)]`
///
/// | key | default | meaning |
/// |---|---|---|
/// | `name = "area"` | required | the name that peers know the actor by |
/// | `messages(A, B)` | none | messages with a plain `Handler<A>` |
/// | `inbound(C)` | none | messages with a `Handler<Inbound<C>>`, which learns sender and authority |
/// | `spawn` | not spawned | peers may start it; its arguments are `()` and it is made by `Default` |
/// | `spawn(Args)` | | likewise, made from `Args` by `From<Args>` |
/// | `spawn = custom` | | likewise, and `impl actogen::Spawn` is yours |
/// | `crate = path` | `::actogen` | where the facade is |
///
/// # Errors
///
/// Two messages with the same tag, or one that is listed twice, are refused. A generic actor is fine as long as its messages do not
/// mention its parameters and it is not spawned by peers: those ask for it by its one name. The bounds that its `Actor` and `Handler`
/// implementations need belong on the type itself, because the derive copies them from there.
#[proc_macro_derive(RemoteActor, attributes(remote))]
pub fn remote_actor(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    actor::expand(&input).unwrap_or_else(syn::Error::into_compile_error).into()
}

/// Makes an actor one whose turns the journal keeps. For the crate `actogen-journal`, which re-exports it.
///
/// The type is the actor's whole state: it must be `Serialize` and `DeserializeOwned`, its `actix::Actor::Context` is
/// `actogen_journal::Turn<Self>`, and it has a handler for every message of the list.
///
/// ```ignore
/// #[derive(JournaledActor, Default, Serialize, Deserialize)]
/// #[journaled(kind = "account", version = 2, messages(Deposit, Withdraw), migrate = Account::from_older)]
/// struct Account {
///     balance: u64,
/// }
/// ```
///
/// # Keys of `#[journaled(...)]`
///
/// | key | default | meaning |
/// |---|---|---|
/// | `kind = "account"` | required | the first part of its actors' names; stored states are found by it |
/// | `messages(A, B)` | none | messages with a `Handler<A>` that answers at once |
/// | `version = 1` | `1` | of the state's shape; raise it when older states could not be read any more, and say how with `migrate` |
/// | `migrate = path` | | `fn(version: u32, bytes: &[u8]) -> Result<Self, LoadError>`, for older versions |
/// | `begin = path` | `Default` | `fn(key: &str) -> Self`, the state before the first message |
/// | `codec = "postcard"` | `"postcard"` | how the state is encoded: `"postcard"`, `"json"` or `"cbor"` |
/// | `keep = "snapshot"` | `"snapshot"` | `"deltas"` writes what has changed in the encoded state |
/// | `events = "Event"` | | the state is kept as events of this type; implement `EventSourced` |
/// | `crate = path` | `::actogen_journal` | where the crate is |
#[proc_macro_derive(JournaledActor, attributes(journaled))]
pub fn journaled_actor(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    journaled::expand(&input).unwrap_or_else(syn::Error::into_compile_error).into()
}

/// Makes a function one that other contexts can call.
///
/// It stays what it is in its own program, and gets a type of the same name, by which calls name it. A call's arguments are `()`, the one
/// argument, or the tuple of all. A first parameter of type `Context` is no argument: it gets the context where the function runs.
/// A function that returns a `Result` may fail with any error; its causes travel with it.
///
/// ```ignore
/// #[actogen::function]
/// async fn grow(cx: Context, children: u32) -> actogen::Result<Vec<u64>> {
///     // ...
/// }
///
/// let ids = child.call::<grow>(3).await?;
/// ```
///
/// A plain function runs on the thread of its context's actors, and holds them up for as long as it takes; one that is `blocking` has a
/// thread to itself. An `async fn` runs beside them.
///
/// # Keys
///
/// | key | default | meaning |
/// |---|---|---|
/// | `name = "area.name"` | its own name | what callers know it by: see the crate's page |
/// | `version = 1` | `1` | raise it when older callers could not call it any more |
/// | `blocking` | no | a plain function that waits or computes for long |
/// | `crate = path` | `::actogen` | where the facade is |
///
/// # Errors
///
/// A function with generics, `self`, borrowed arguments, `unsafe` or an ABI is refused. Arguments and value must be `Serialize`,
/// `DeserializeOwned`, `Send` and `'static`.
#[proc_macro_attribute]
pub fn function(arguments: TokenStream, item: TokenStream) -> TokenStream {
    function::function(arguments.into(), item.into()).into()
}

/// Makes methods of a service ones that other contexts can call.
///
/// It stands on an `impl` block of a type that implements `actogen::Service`. Methods marked `#[method(policy = ...)]` take `&self` and
/// arguments that travel; parameters of type `Context` and `Origin` in front of those are no arguments, but the context where the
/// service lives, and who calls. A method that returns a `Result` may fail with any error; its causes travel with it.
///
/// ```ignore
/// #[actogen::service(name = "demo.Counter")]
/// impl Counter {
///     #[method(policy = anyone, serialized)]
///     async fn add(&self, n: i64) -> i64 { ... }
/// }
///
/// let sum = child.service::<Counter>().add(3).await?;
/// ```
///
/// # Keys
///
/// | key | default | meaning |
/// |---|---|---|
/// | `name = "area.Name"` | the type's name | what callers know it by |
/// | `version = 1` | `1` | raise it when older callers could not call it any more |
/// | `start = policy` | `parent_authority` | whose call may start it |
/// | `crate = path` | `::actogen` | where the facade is |
///
/// Of `#[method(...)]`:
///
/// | key | meaning |
/// |---|---|
/// | `policy = ...` | who may call it; must be given: `anyone`, `parent_authority`, `immediate_child`, `only_self`, or a function that gives an `actogen::Policy` |
/// | `serialized` | its calls, and those of the service's other serialized methods, run one after the other |
/// | `deduplicated` | calls with equal arguments that come while one runs share its outcome |
///
/// # Errors
///
/// A method without a policy, with generics, `&mut self` or borrowed arguments is refused. Arguments and value must be `Serialize`,
/// `DeserializeOwned`, `Send` and `'static`.
#[proc_macro_attribute]
pub fn service(arguments: TokenStream, item: TokenStream) -> TokenStream {
    service::service(arguments.into(), item.into()).into()
}

/// Runs `async fn main` in a context, and makes the binary able to be its own child process.
///
/// The function takes the `Context` and returns anything that is `std::process::Termination`. Where the process was launched
/// as a child, the body does not run: the process serves its parent instead.
///
/// ```ignore
/// #[actogen::main]
/// async fn main(cx: Context) -> actogen::Result<()> {
///     let child = cx.launch(Launch::local()).await?;
///     Ok(())
/// }
/// ```
///
/// The only argument is `crate = path`, where the facade is not `::actogen`.
///
/// # Errors
///
/// A function that is not `async`, has generics, or takes no or more than one parameter is refused.
#[proc_macro_attribute]
pub fn main(arguments: TokenStream, item: TokenStream) -> TokenStream {
    entry::main(arguments.into(), item.into()).into()
}

/// Runs an `async fn` as a test, in a context of its own.
///
/// The function takes the `Context`, or nothing. Other attributes stay: `#[ignore]`, `#[should_panic]`, `#[cfg(...)]`. A test
/// that launches children needs `actogen::test_child!()` once at the root of its test binary.
///
/// ```ignore
/// #[actogen::test]
/// async fn adds(cx: Context) -> actogen::Result<()> {
///     let calc = cx.bind(Calc.start())?;
///     assert_eq!(calc.send(Add(2, 3)).await?, 5);
///     Ok(())
/// }
/// ```
///
/// The only argument is `crate = path`, where the facade is not `::actogen`.
///
/// # Errors
///
/// A function that is not `async`, has generics, takes more than one parameter or is marked `#[test]` as well is refused.
#[proc_macro_attribute]
pub fn test(arguments: TokenStream, item: TokenStream) -> TokenStream {
    entry::test(arguments.into(), item.into()).into()
}
