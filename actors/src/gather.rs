//! Several requests or calls at once: the first of them, all of them, or each as it comes.
//!
//! They take whatever resolves: requests to actors, calls of functions, or futures of the author's own. Requests and calls are on their
//! way as soon as they are made, so nothing here starts them; what is dropped here is given up.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{self, Poll},
};

use futures_util::{StreamExt, future::join_all, stream::FuturesUnordered};

/// Waits for the first of several, and gives the others up. It says which one it was by its place, from 0; of several that are there
/// already, one of them. Of none there is no first.
///
/// ```
/// # use actogen::prelude::*;
/// # #[derive(RemoteMessage, Serialize, Deserialize)]
/// # #[remote(name = "calc.Add", reply = "i64")]
/// # struct Add(i64, i64);
/// # #[derive(RemoteActor, Default)]
/// # #[remote(name = "calc", messages(Add))]
/// # struct Calc;
/// # impl Actor for Calc { type Context = actix::Context<Self>; }
/// # impl Handler<Add> for Calc {
/// #     type Result = i64;
/// #     fn handle(&mut self, m: Add, _: &mut Self::Context) -> i64 { m.0 + m.1 }
/// # }
/// # async fn example(here: Remote<Calc>, there: Remote<Calc>) {
/// if let Some((which, sum)) = actogen::select([here.send(Add(1, 2)), there.send(Add(1, 2))]).await {
///     println!("{which} was first: {sum:?}");
/// }
/// # }
/// ```
pub async fn select<F: Future>(several: impl IntoIterator<Item = F>) -> Option<(usize, F::Output)> {
    scatter(several.into_iter().enumerate()).next().await
}

/// Waits for all of several. The outcomes, each its own success or failure, come in the order of what was given.
pub async fn gather<F: Future>(several: impl IntoIterator<Item = F>) -> Vec<F::Output> {
    join_all(several).await
}

/// Waits for several, each under a key of its own, and gives each outcome as it comes.
///
/// ```
/// # use actogen::{Child, prelude::*};
/// # #[actogen::function]
/// # fn hostname() -> String { String::new() }
/// # async fn example(children: Vec<Child>) {
/// let mut names = actogen::scatter(children.iter().map(|child| (child.id(), child.call::<hostname>(()))));
/// while let Some((context, name)) = names.next().await {
///     println!("{context}: {name:?}");
/// }
/// # }
/// ```
pub fn scatter<K, F: Future>(several: impl IntoIterator<Item = (K, F)>) -> Scatter<K, F> {
    let keyed = |(key, future)| Keyed { key: Some(key), future: Box::pin(future) };
    Scatter(several.into_iter().map(keyed).collect())
}

/// Outcomes that are still to come; see [`scatter`]. Dropping it gives up what has not come.
#[must_use = "what nobody waits for is given up"]
pub struct Scatter<K, F: Future>(FuturesUnordered<Keyed<K, F>>);

impl<K, F: Future> Scatter<K, F> {
    /// The next outcome that comes, with its key; `None` when all have come.
    pub async fn next(&mut self) -> Option<(K, F::Output)> {
        self.0.next().await
    }

    /// Waits for one more.
    pub fn add(&mut self, key: K, future: F) {
        self.0.push(Keyed { key: Some(key), future: Box::pin(future) });
    }

    /// How many have not come yet.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether all have come.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<K, F: Future> fmt::Debug for Scatter<K, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Scatter({} to come)", self.len())
    }
}

/// A future that gives its key with its output.
struct Keyed<K, F> {
    key: Option<K>,
    future: Pin<Box<F>>,
}

impl<K, F> Unpin for Keyed<K, F> {}

impl<K, F: Future> Future for Keyed<K, F> {
    type Output = (K, F::Output);

    fn poll(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Self::Output> {
        let outcome = task::ready!(self.future.as_mut().poll(cx));
        let key = self.key.take().expect("a future that is ready is not polled again");
        Poll::Ready((key, outcome))
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use futures_util::FutureExt;
    use tokio::sync::oneshot;

    use super::*;

    #[test]
    fn m14_of_none_there_is_no_first() {
        assert_eq!(select(Vec::<std::future::Ready<u8>>::new()).now_or_never(), Some(None));
        assert!(scatter(Vec::<(u8, std::future::Ready<u8>)>::new()).is_empty());
    }

    #[test]
    fn m14_the_first_is_named_by_its_place() {
        let several = [pending().boxed(), ready('b').boxed(), pending().boxed()];
        assert_eq!(select(several).now_or_never(), Some(Some((1, 'b'))));
    }

    #[test]
    fn all_outcomes_keep_their_places() {
        let several = [ready(Ok(1)), ready(Err("no")), ready(Ok(3))];
        assert_eq!(gather(several).now_or_never(), Some(vec![Ok(1), Err("no"), Ok(3)]));
    }

    #[test]
    fn m14_outcomes_come_in_the_order_of_their_arrival() {
        let (senders, receivers): (Vec<_>, Vec<_>) = (0..3).map(|_| oneshot::channel()).unzip();
        let mut scattered = scatter(receivers.into_iter().enumerate());
        assert_eq!(scattered.next().now_or_never(), None);
        for (key, sender) in senders.into_iter().enumerate().rev() {
            sender.send(key * 10).unwrap();
        }
        for key in (0..3).rev() {
            assert_eq!(scattered.next().now_or_never(), Some(Some((key, Ok(key * 10)))));
        }
        assert_eq!(scattered.next().now_or_never(), Some(None));
    }

    #[test]
    fn what_is_not_waited_for_is_dropped() {
        let (sender, receiver) = oneshot::channel::<()>();
        let never = receiver.map(|_| 'a').boxed();
        assert_eq!(select([never, ready('b').boxed()]).now_or_never(), Some(Some((1, 'b'))));
        assert!(sender.is_closed());
    }
}
