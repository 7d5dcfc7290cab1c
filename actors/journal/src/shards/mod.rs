//! Shards: the actors of one name, spread over journals that whoever is there shares out among themselves.
//!
//! A journal is the home of its actors, and one process has it open. Here there are so many journals, a *shard* each, and every actor's key
//! says which is its own; the members of a group hold the shards between them, each shard one member. When a member comes or is lost, only
//! the shards move that have to. An actor's address names its shard and not who holds it, so it is the same wherever that is.
//!
//! | room | concept |
//! |---|---|
//! | here | [`Shards`], [`ShardMap`] |
//! | `shard` | one of them: opens and closes its journal as its holder changes |
//!
//! Who holds a shard is chosen by rendezvous hashing, from what each member knows of the group. Two who know different things may both mean to
//! hold one: the store decides, which lets in one writer at a time. So the stores must be where every member can open them: in one database
//! (PostgreSQL), or, for processes of one machine, in one folder. Each shard that is held has a thread, and in a database a connection.

mod shard;

use std::{fmt, rc::Rc};

use actix::Actor;
use actogen::{Choice, Context, DirectoryError, Group, Remote, RemoteActor, StopReason};
use tokio::{sync::watch, task::JoinHandle};

use self::shard::Shard;
use crate::{
    actor::JournaledActor,
    id::{ActorId, Journaled, NameError, NodeName},
    journal::JournalBuilder,
};

/// The most shards of one name.
const MOST: u16 = 4096;

/// The names of actors that are spread over shards, without a part in holding them: for whoever asks and sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardMap {
    name: String,
    count: u16,
}

impl ShardMap {
    /// So many shards under a name. The number is for ever: with another one, keys are looked for where they are not.
    ///
    /// # Errors
    /// [`NameError`], of a name of which no nodes can be named.
    ///
    /// # Panics
    /// For none, or more than 4096.
    pub fn new(name: &str, count: u16) -> Result<Self, NameError> {
        assert!((1..=MOST).contains(&count), "there are 1 to {MOST} shards of a name, not {count}");
        let map = Self { name: name.to_owned(), count };
        map.node(count - 1)?;
        Ok(map)
    }

    /// The address of an actor, which begins with its first message.
    ///
    /// # Errors
    /// [`NameError`].
    pub fn actor<A: JournaledActor>(&self, key: &str) -> Result<Journaled<A>, NameError> {
        let actor = ActorId::new(A::KIND, key)?;
        let node = self.node(self.shard_of(&actor))?;
        Ok(Journaled::new(node, actor))
    }

    /// The shard that an actor is in.
    pub fn shard_of(&self, actor: &ActorId) -> u16 {
        let mut head = [0; 8];
        head.copy_from_slice(&blake3::hash(actor.as_str().as_bytes()).as_bytes()[..8]);
        (u64::from_le_bytes(head) % u64::from(self.count)) as u16
    }

    /// The name of a shard's node.
    ///
    /// # Errors
    /// [`NameError`].
    pub fn node(&self, shard: u16) -> Result<NodeName, NameError> {
        NodeName::new(&format!("{}.{shard}", self.name))
    }

    /// How many shards there are.
    pub fn count(&self) -> u16 {
        self.count
    }

    fn group(&self) -> String {
        format!("actogen.shards/{}", self.name)
    }
}

/// Stands for a member of the group that holds the shards.
#[derive(RemoteActor)]
#[remote(name = "actogen.shards", messages())]
struct Member;

impl Actor for Member {
    type Context = actix::Context<Self>;
}

/// How a shard's journal is opened, by its node's name.
pub(crate) type Open = dyn Fn(&NodeName) -> JournalBuilder;

/// A part in holding the shards of a name, from [`Shards::open`] until [`Shards::close`]; or until it is dropped, which closes them as well and does
/// not wait for it.
#[must_use = "it holds its shards as long as it is kept"]
pub struct Shards {
    map: ShardMap,
    group: Group<Member>,
    held: watch::Receiver<Vec<bool>>,
    following: Following,
    shards: Vec<Shard>,
    membership: Membership,
}

/// The task that follows the group; ends with this.
struct Following(JoinHandle<()>);

impl Drop for Following {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The member of the group; ends with this.
struct Membership {
    context: Context,
    member: Remote<Member>,
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.context.stop(&self.member, StopReason::Normal);
    }
}

impl fmt::Debug for Shards {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shards")
            .field("name", &self.map.name)
            .field("held", &self.held())
            .finish_non_exhaustive()
    }
}

impl Shards {
    /// Takes part in holding the shards, on this thread: whichever are this context's are opened by what `journal` gives for their node's
    /// name, and closed when they are another's. That goes on until this is closed; a shard that cannot be opened is tried again, and logged.
    ///
    /// # Errors
    /// [`DirectoryError`], when the group could not be joined.
    ///
    /// # Panics
    /// Outside of a `LocalSet` or actix `System`.
    pub async fn open(
        context: &Context,
        map: &ShardMap,
        journal: impl Fn(&NodeName) -> JournalBuilder + 'static,
    ) -> Result<Self, DirectoryError> {
        let open: Rc<Open> = Rc::new(journal);
        let group = context.group::<Member>(&map.group()).await?;
        let membership = Membership { context: context.clone(), member: context.start(Member) };
        group.join(&membership.member).await?;
        let (holds, held) = watch::channel(vec![false; usize::from(map.count)]);
        let nodes: Vec<_> = (0..map.count).filter_map(|shard| map.node(shard).ok()).collect();
        let begin = |(number, node): (usize, &NodeName)| {
            Shard::begin(number, node.clone(), open.clone(), holds.clone())
        };
        let shards: Vec<_> = nodes.iter().enumerate().map(begin).collect();
        let wishes = shards.iter().map(Shard::wish).collect();
        let following = follow(group.clone(), membership.member.clone(), nodes, wishes);
        let following = Following(tokio::task::spawn_local(following));
        Ok(Self { map: map.clone(), group, held, following, shards, membership })
    }

    /// The address of an actor, wherever its shard is held.
    ///
    /// # Errors
    /// [`NameError`].
    pub fn actor<A: JournaledActor>(&self, key: &str) -> Result<Journaled<A>, NameError> {
        self.map.actor(key)
    }

    /// The shards whose journals are open here.
    pub fn held(&self) -> Vec<u16> {
        let held = self.held.borrow();
        let numbers = held.iter().enumerate().filter(|(_, held)| **held);
        numbers.map(|(number, _)| number as u16).collect()
    }

    /// Gives the shards up, in good order: others take them over at once.
    pub async fn close(self) {
        let Self { group, shards, following, membership, .. } = self;
        drop(following);
        // Whoever cannot be told learns by the member's end.
        let _ = group.leave(&membership.member).await;
        for shard in &shards {
            shard.want(false);
        }
        for shard in shards {
            shard.end().await;
        }
    }
}

/// Says to each shard whether it is this member's, as the group changes.
async fn follow(
    group: Group<Member>,
    member: Remote<Member>,
    nodes: Vec<NodeName>,
    wishes: Vec<watch::Sender<bool>>,
) {
    let mut events = group.events();
    loop {
        for (node, wish) in nodes.iter().zip(&wishes) {
            let chosen = group.pick(Choice::ByKey(node.as_str().as_bytes()));
            let is_own = chosen.is_some_and(|chosen| chosen == member);
            wish.send_if_modified(|wished| std::mem::replace(wished, is_own) != is_own);
        }
        // Missed ones are as good a reason to look.
        if events.next().await.is_none() {
            return;
        }
    }
}
