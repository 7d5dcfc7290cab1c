//! Every way in which a message or a wait can end without an answer, one test a case.

#![expect(clippy::unwrap_used, reason = "this is all test code")]

use std::time::Duration;

use actogen::{
    Address, Codec, ContextId, DeadReason, Ended, Handle, Handled, Incarnation, Limits, Place,
    Placement, Policy, StopReason, memory::MemoryNetwork, prelude::*,
};
use futures_util::FutureExt;

actogen::test_child!();

#[derive(Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "calc.Add", reply = "i64")]
struct Add(i64, i64);

/// Another program's idea of the same message: one number more, and the version not raised.
mod newer {
    use actogen::prelude::*;

    #[derive(Debug, RemoteMessage, Serialize, Deserialize)]
    #[remote(name = "calc.Add", reply = "i64")]
    pub(crate) struct Add(pub i64, pub i64, pub i64);

    #[derive(Debug, RemoteMessage, Serialize, Deserialize)]
    #[remote(name = "calc.Multiply", reply = "i64")]
    pub(crate) struct Multiply(pub i64, pub i64);

    #[derive(RemoteActor)]
    #[remote(name = "calc", messages(Add, Multiply))]
    pub(crate) struct Calc;

    impl Actor for Calc {
        type Context = actix::Context<Self>;
    }

    impl Handler<Add> for Calc {
        type Result = i64;
        fn handle(&mut self, Add(a, b, c): Add, _: &mut Self::Context) -> i64 {
            a + b + c
        }
    }

    impl Handler<Multiply> for Calc {
        type Result = i64;
        fn handle(&mut self, Multiply(a, b): Multiply, _: &mut Self::Context) -> i64 {
            a * b
        }
    }
}

/// Fills an answer of this many bytes.
#[derive(Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "calc.Zeros", reply = "Vec<u8>")]
struct Zeros(usize);

#[derive(Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "calc.Note")]
struct Note(Vec<u8>);

/// Answers never.
#[derive(Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "calc.Ponder", reply = "i64")]
struct Ponder;

#[derive(Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "calc.Divide", reply = "i64")]
struct Divide(i64, i64);

#[derive(RemoteActor, Default)]
#[remote(name = "calc", messages(Add, Zeros, Note, Ponder, Divide), spawn)]
struct Calc;

impl Actor for Calc {
    type Context = actix::Context<Self>;
}

impl Handler<Add> for Calc {
    type Result = i64;
    fn handle(&mut self, Add(a, b): Add, _: &mut Self::Context) -> i64 {
        a + b
    }
}

impl Handler<Zeros> for Calc {
    type Result = Vec<u8>;
    fn handle(&mut self, Zeros(count): Zeros, _: &mut Self::Context) -> Vec<u8> {
        vec![0; count]
    }
}

impl Handler<Note> for Calc {
    type Result = ();
    fn handle(&mut self, _: Note, _: &mut Self::Context) {}
}

impl Handler<Ponder> for Calc {
    type Result = ResponseActFuture<Self, i64>;
    fn handle(&mut self, _: Ponder, _: &mut Self::Context) -> Self::Result {
        Box::pin(std::future::pending::<i64>().into_actor(self))
    }
}

impl Handler<Divide> for Calc {
    type Result = i64;
    fn handle(&mut self, Divide(a, b): Divide, _: &mut Self::Context) -> i64 {
        a / b
    }
}

/// An address made by hand, as only a test needs it.
fn at<A>(cx: &Context, address: Address) -> Remote<A> {
    let bytes = Codec::Postcard.encode(&address).unwrap();
    Codec::Postcard.decode::<Remote<A>>(&bytes).unwrap().attach(cx)
}

/// A root and a child in this thread, linked in memory, the child with these limits.
async fn family(limits: Limits) -> (MemoryNetwork, Context, Context) {
    let network = MemoryNetwork::new("test.local", [7; 32]);
    let root = builder(&network, 0).authority(network.authority()).start().await.unwrap();
    let child = builder(&network, 1).limits(limits).connect("0").start().await.unwrap();
    (network, root, child)
}

fn builder(network: &MemoryNetwork, id: u64) -> actogen::ContextBuilder {
    let transport = network.transport(ContextId(id), id.to_string(), Duration::from_secs(10));
    Context::builder()
        .placement(Placement::Inline)
        .transport(|_| Box::pin(async move { Ok(transport) }))
}

#[actogen::test]
async fn an_unknown_handle_is_no_handle(cx: Context) -> actogen::Result<()> {
    let child = cx.launch(Launch::local()).await?;
    // ANCHOR: no_handle
    let nobody: Remote<Calc> = at(&cx, child.place().address(Handle(123_456)));
    let error = nobody.send(Add(2, 3)).await.unwrap_err();
    assert_eq!(error.reason(), Some(DeadReason::NoHandle));
    assert_eq!(error.handled(), Handled::No);
    // ANCHOR_END: no_handle
    Ok(())
}

#[actogen::test]
async fn a_stopped_actor_is_stopped(cx: Context) -> actogen::Result<()> {
    // ANCHOR: stopped
    let calc = cx.start(Calc);
    let watch = cx.watch(&calc);
    cx.stop(&calc, StopReason::Normal);
    assert_eq!(watch.await.stopped(), Some(&StopReason::Normal));

    let error = calc.send(Add(2, 3)).await.unwrap_err();
    assert_eq!(error.reason(), Some(DeadReason::Stopped));
    assert!(matches!(error.into_message(), Some(Add(2, 3))), "it comes back");
    // ANCHOR_END: stopped
    Ok(())
}

#[actogen::test]
async fn a_message_that_the_actor_does_not_list_is_unknown(cx: Context) -> actogen::Result<()> {
    let child = cx.launch(Launch::local()).await?;
    let calc = child.spawn::<Calc>(()).await?;
    // ANCHOR: unknown_message
    // This program is newer than the one at the other end, whose `Calc` cannot multiply yet.
    let calc: Remote<newer::Calc> = at(&cx, calc.address());
    let error = calc.send(newer::Multiply(2, 3)).await.unwrap_err();
    assert_eq!(error.reason(), Some(DeadReason::UnknownMessage));
    // ANCHOR_END: unknown_message
    Ok(())
}

#[actogen::test]
async fn a_body_that_does_not_decode_is_malformed(cx: Context) -> actogen::Result<()> {
    let child = cx.launch(Launch::local()).await?;
    let calc = child.spawn::<Calc>(()).await?;
    // ANCHOR: malformed
    // Somebody added a field to `Add` and forgot to raise its version.
    let calc: Remote<newer::Calc> = at(&cx, calc.address());
    let error = calc.send(newer::Add(2, 3, 4)).await.unwrap_err();
    assert_eq!(error.reason(), Some(DeadReason::Malformed));
    assert!(error.to_string().contains("1 bytes are left over"), "{error}");
    // ANCHOR_END: malformed
    Ok(())
}

#[actogen::test]
async fn a_context_that_never_was_has_no_route(cx: Context) -> actogen::Result<()> {
    // ANCHOR: no_route
    let nowhere = Place { context: ContextId(999), incarnation: Incarnation::new(1, 999) };
    let calc: Remote<Calc> = at(&cx, nowhere.address(Handle(123_456)));
    let error = calc.send(Add(2, 3)).await.unwrap_err();
    assert_eq!(error.reason(), Some(DeadReason::NoRoute));
    // ANCHOR_END: no_route
    Ok(())
}

#[actogen::test]
async fn a_killed_process_is_a_lost_route(cx: Context) -> actogen::Result<()> {
    // ANCHOR: route_lost
    let child = cx.launch(Launch::local()).await?;
    let calc = child.spawn::<Calc>(()).await?;
    let (answer, ()) = tokio::join!(calc.send(Ponder), async {
        // The same lane carries both: when this is answered, the other has arrived.
        calc.send(Add(2, 3)).await.expect("the child lives");
        child.kill().await;
    });
    let error = answer.unwrap_err();
    assert_eq!(error.reason(), Some(DeadReason::RouteLost));
    assert_eq!(error.handled(), Handled::Maybe, "it had arrived, and nobody knows how far it came");

    let error = calc.send(Add(2, 3)).await.unwrap_err();
    assert_eq!(error.reason(), Some(DeadReason::RouteLost));
    assert_eq!(error.handled(), Handled::No, "it has not left");
    // ANCHOR_END: route_lost
    Ok(())
}

#[actogen::test]
async fn an_address_of_an_earlier_life_is_stale() -> actogen::Result<()> {
    let (network, root, child) = family(Limits::default()).await;
    // ANCHOR: stale
    let calc = child.start(Calc).attach(&root);
    child.shutdown().await;
    // The same context begins another life.
    let child = builder(&network, 1).connect("0").start().await?;
    let error = calc.send(Add(2, 3)).await.unwrap_err();
    assert_eq!(error.reason(), Some(DeadReason::Stale));
    // ANCHOR_END: stale
    child.shutdown().await;
    Ok(())
}

#[actogen::test]
async fn a_policy_refuses() -> actogen::Result<()> {
    let (_network, root, child) = family(Limits::default()).await;
    // ANCHOR: refused
    let calc = root.start_with(Calc, Policy::OnlySelf).attach(&child);
    let error = calc.send(Add(2, 3)).await.unwrap_err();
    assert_eq!(error.reason(), Some(DeadReason::Refused));
    let text =
        "context 0 refuses context 1 (authority context 1): the policy `is_self` does not hold";
    assert!(error.to_string().contains(text), "{error}");
    // ANCHOR_END: refused
    Ok(())
}

#[actogen::test]
async fn what_is_too_large_is_too_large_in_either_direction() -> actogen::Result<()> {
    let limits = Limits { max_message: 10_000, ..Limits::default() };
    let (_network, root, child) = family(limits).await;
    // ANCHOR: too_large
    // Here a message may have 10,000 bytes.
    let calc = root.start(Calc).attach(&child);
    let error = calc.send(Note(vec![0; 20_000])).await.unwrap_err();
    assert_eq!((error.reason(), error.handled()), (Some(DeadReason::TooLarge), Handled::No));

    let calc = child.start(Calc).attach(&root);
    let error = calc.send(Zeros(20_000)).await.unwrap_err();
    assert_eq!((error.reason(), error.handled()), (Some(DeadReason::TooLarge), Handled::Yes));
    // ANCHOR_END: too_large
    Ok(())
}

#[actogen::test]
async fn a_full_mailbox_refuses_what_comes_from_afar() -> actogen::Result<()> {
    let limits = Limits { mailbox_messages: 10, ..Limits::default() };
    let (_network, root, child) = family(limits).await;
    // ANCHOR: mailbox_full
    // The mailbox of this actor holds 10 messages, and all 20 are sent before anybody can ask for a pause.
    let calc = child.start(Calc).attach(&root);
    let mut letters = child.dead_letters();
    for _ in 0..20 {
        calc.do_send(Note(Vec::new()));
    }
    let letter = letters.next().await.expect("the child runs").expect("none was missed");
    assert_eq!(letter.dead.reason, DeadReason::MailboxFull);
    // ANCHOR_END: mailbox_full
    Ok(())
}

#[actogen::test]
async fn a_full_lane_is_congested() -> actogen::Result<()> {
    let (_network, root, child) = family(Limits::default()).await;
    // ANCHOR: congested
    // More than the lane holds, and nobody gets a turn to write any of it.
    let calc = child.start(Calc).attach(&root);
    let mut letters = root.dead_letters();
    for _ in 0..20 {
        calc.do_send(Note(vec![0; 60_000]));
    }
    let letter = letters.next().await.expect("the root runs").expect("none was missed");
    assert_eq!(letter.dead.reason, DeadReason::Congested);
    assert!(matches!(calc.try_send(Note(vec![0; 60_000])), Err(SendError::Full(_))));
    calc.tell(Note(vec![0; 60_000])).await.expect("this one waits");
    // ANCHOR_END: congested
    Ok(())
}

#[actogen::test]
async fn a_context_that_ends_answers_with_shutdown() -> actogen::Result<()> {
    let (_network, root, child) = family(Limits::default()).await;
    // ANCHOR: shutdown
    let calc = root.start(Calc).attach(&child);
    child.shutdown().await;
    let error = calc.send(Add(2, 3)).await.unwrap_err();
    assert_eq!((error.reason(), error.handled()), (Some(DeadReason::Shutdown), Handled::No));
    // ANCHOR_END: shutdown
    Ok(())
}

#[actogen::test]
async fn a_request_dropped_by_its_handler_has_no_answer(cx: Context) -> actogen::Result<()> {
    // ANCHOR: no_answer
    let calc = cx.start(Calc);
    let (answer, ()) = tokio::join!(calc.send(Ponder), async {
        calc.send(Add(2, 3)).await.expect("the actor lives");
        cx.stop(&calc, StopReason::Normal);
    });
    let error = answer.unwrap_err();
    assert_eq!((error.reason(), error.handled()), (Some(DeadReason::NoAnswer), Handled::Yes));
    // ANCHOR_END: no_answer
    Ok(())
}

#[actogen::test]
async fn a_request_that_was_given_up_before_its_turn_is_not_handled(
    cx: Context,
) -> actogen::Result<()> {
    // ANCHOR: closed
    let calc = cx.start(Calc);
    // Sent, and given up at once: the actor, on this same thread, has had no turn yet.
    assert!(calc.send(Add(2, 3)).now_or_never().is_none());
    assert_eq!(calc.send(Add(1, 1)).await?, 2);
    assert_eq!(cx.stats().dead_of(DeadReason::Closed), 1);
    // ANCHOR_END: closed
    Ok(())
}

#[actogen::test]
async fn a_panic_is_a_failure_and_a_limit_is_a_timeout(cx: Context) -> actogen::Result<()> {
    let child = cx.launch(Launch::local()).await?;
    let calc = child.spawn::<Calc>(()).await?;
    // ANCHOR: failed
    let watch = cx.watch(&calc);
    let error = calc.send(Divide(1, 0)).await.unwrap_err();
    assert!(matches!(error, SendError::Failed(text) if text == "attempt to divide by zero"));
    assert_eq!(watch.await.to_string(), "panicked: attempt to divide by zero");
    // ANCHOR_END: failed
    let calc = child.spawn::<Calc>(()).await?;
    // ANCHOR: timeout
    let error = calc.send(Ponder).within(Duration::from_millis(50)).await.unwrap_err();
    assert!(matches!(error, SendError::Timeout(_)));
    assert_eq!(error.handled(), Handled::Maybe);
    // ANCHOR_END: timeout
    Ok(())
}

#[actogen::test]
async fn a_watch_says_how_it_ended(cx: Context) -> actogen::Result<()> {
    let child = cx.launch(Launch::local()).await?;
    // ANCHOR: watch
    let calc = child.spawn::<Calc>(()).await?;
    let down = cx.watch(&calc);
    child.kill().await;
    match down.await.ended {
        Ended::Stopped(reason) => println!("the actor ended: {reason}"),
        Ended::ContextLost(dead) => println!("nobody can know more: {dead}"),
        _ => {}
    }

    let nobody: Remote<Calc> = at(&cx, cx.place().address(Handle(123_456)));
    assert_eq!(cx.watch(&nobody).await.stopped(), Some(&StopReason::NeverExisted));
    // ANCHOR_END: watch
    assert_eq!(cx.watch(&calc).await.lost(), Some(DeadReason::RouteLost));
    Ok(())
}
