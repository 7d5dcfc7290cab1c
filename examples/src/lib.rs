//! Example programs of Actogen.
//!
//! | program | shows |
//! |---|---|
//! | `hello` | a remote actor in another process: asked, watched, lost |
//! | `ask_and_tell` | `send`, `tell`, `try_send`, `do_send` |
//! | `watch` | the one notice of a watch, and its reasons |
//! | `names` | binding, registering, looking up |
//! | `spawn` | an actor started in a child, with arguments and an address to report to |
//! | `dead_letters` | what could not be delivered: seen, counted, handed back |
//! | `policies` | who may send to an actor, and what a refusal looks like |
//! | `fleet` | one command on many hosts: contexts launched by ssh, sudo, docker and others, functions called in them |
//! | `chat` | rooms over several processes: topics, and groups for who is there |
//! | `kv` | a key-value store, each value in two processes, which goes on when one is killed: groups, supervision, the test kit |
//! | `bank` | transfers between accounts of several processes, one of which is killed, and a sum that stays: supervision, the test kit |
//! | `journal-demo` | the smallest journaled program: killed at any instant, it goes on where it was |
//! | `bank-durable` | journaled accounts in processes that are killed all the time, and not a penny is missing |
//! | `wordcount` | work spread over processes, with backpressure, that stays exact when one of them is killed |

pub mod bank;
pub mod bank_durable;
pub mod chat;
pub mod fleet;
pub mod kv;
pub mod wordcount;
