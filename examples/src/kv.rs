//! A key-value store over processes, which survives the loss of a worker.
//!
//! Each key lives on two workers, those that rendezvous hashing ranks highest for it. What [`Store::set`] has acknowledged is on both. When
//! workers come or go, the next request first copies: of all that the workers have the newest, to the two that are to have it. So
//! a value that was acknowledged is lost only if both of its workers are lost before that. With fewer than two workers writes are refused. A
//! write that fails may have happened or not.
//!
//! One [`Store`] speaks for all clients, one request after another: it sees its own writes, and nobody else's are to be had.

use std::{
    cell::Cell,
    collections::{BTreeMap, HashMap},
    hash::{DefaultHasher, Hash, Hasher},
    time::Duration,
};

use actogen::{ChildSpec, Group, Supervised, Supervision, prelude::*};
use tokio::{sync::Mutex, time::Instant};

/// Workers that keep each value.
const COPIES: usize = 2;

/// Bytes of keys and values that one worker keeps, at most: they must fit into one message.
const ROOM: usize = 8 * 1024 * 1024;

/// How long a request waits before it is tried again.
const PAUSE: Duration = Duration::from_millis(50);

/// A value, and which write it is from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    write: u64,
    value: String,
}

/// What a worker is to have; older values do not replace newer ones.
#[derive(Clone, Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "kv.Put", reply = "Result<(), String>")]
struct Put(Vec<(String, Entry)>);

/// Asks for a value.
#[derive(Clone, Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "kv.Get", reply = "Option<Entry>")]
struct Get(String);

/// Asks for everything.
#[derive(Clone, Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "kv.All", reply = "Vec<(String, Entry)>")]
struct All;

/// Has a worker forget all but these keys.
#[derive(Clone, Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "kv.Keep")]
struct Keep(Vec<String>);

/// Asks for the worker's process.
#[derive(Clone, Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "kv.Process", reply = "u32")]
pub struct Process;

/// A worker: a part of the store.
#[derive(RemoteActor)]
#[remote(name = "kv.shard", messages(Put, Get, All, Keep, Process), spawn = custom)]
pub struct Shard {
    cx: Context,
    entries: BTreeMap<String, Entry>,
}

impl std::fmt::Debug for Shard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shard").field("entries", &self.entries.len()).finish_non_exhaustive()
    }
}

impl Spawn for Shard {
    type Args = ();

    fn spawn((): (), cx: &Context) -> Self {
        Self { cx: cx.clone(), entries: BTreeMap::new() }
    }
}

impl Actor for Shard {
    type Context = actix::Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let Ok(me) = self.cx.bind(&ctx.address()) else { return ctx.stop() };
        let cx = self.cx.clone();
        let joining = async move { shards(&cx).await?.join(&me).await };
        ctx.spawn(joining.into_actor(self).map(|joined, _, ctx| {
            // Its supervisor begins it anew.
            if joined.is_err() {
                ctx.stop();
            }
        }));
    }
}

impl Handler<Put> for Shard {
    type Result = Result<(), String>;

    fn handle(&mut self, Put(entries): Put, _: &mut Self::Context) -> Self::Result {
        let size = |key: &str, entry: &Entry| key.len() + entry.value.len() + 16;
        let held: usize = self.entries.iter().map(|(key, entry)| size(key, entry)).sum();
        let more: usize = entries.iter().map(|(key, entry)| size(key, entry)).sum();
        if held + more > ROOM {
            return Err(format!("the worker is full: it keeps {held} bytes of {ROOM}"));
        }
        for (key, entry) in entries {
            let is_newer = self.entries.get(&key).is_none_or(|old| old.write < entry.write);
            if is_newer {
                self.entries.insert(key, entry);
            }
        }
        Ok(())
    }
}

impl Handler<Get> for Shard {
    type Result = Option<Entry>;

    fn handle(&mut self, Get(key): Get, _: &mut Self::Context) -> Self::Result {
        self.entries.get(&key).cloned()
    }
}

impl Handler<All> for Shard {
    type Result = Vec<(String, Entry)>;

    fn handle(&mut self, _: All, _: &mut Self::Context) -> Self::Result {
        self.entries.clone().into_iter().collect()
    }
}

impl Handler<Keep> for Shard {
    type Result = ();

    fn handle(&mut self, Keep(keys): Keep, _: &mut Self::Context) {
        self.entries.retain(|key, _| keys.binary_search(key).is_ok());
    }
}

impl Handler<Process> for Shard {
    type Result = u32;

    fn handle(&mut self, _: Process, _: &mut Self::Context) -> u32 {
        std::process::id()
    }
}

async fn shards(cx: &Context) -> Result<Group<Shard>, actogen::DirectoryError> {
    cx.group("kv/shards").await
}

/// Workers in processes of their own; one that is lost begins anew, empty.
pub fn workers(cx: &Context, count: usize) -> Supervised {
    let mut tree = Supervision::new(actogen::Strategy::OneForOne);
    for n in 1..=count {
        let process = format!("process {n}");
        let shard = ChildSpec::spawned::<Shard>(format!("shard {n}"), ()).in_context(&process);
        tree = tree.child(ChildSpec::context(process, Launch::local)).child(shard);
    }
    cx.supervise(tree)
}

/// Why a request was not done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Too few are there to keep it safe.
    #[error(
        "only {there} of the {COPIES} workers that must keep each value are there: try again when another has come"
    )]
    TooFew {
        /// How many there are.
        there: usize,
    },
    /// A worker did not do its part.
    #[error("{worker} did not answer for it ({why}): it may be written or not; try again")]
    Worker {
        /// The worker's address.
        worker: String,
        /// What is known.
        why: String,
    },
}

/// The way to the store, for all clients.
#[derive(Debug)]
pub struct Store {
    shards: Group<Shard>,
    /// How long a request is tried again.
    patience: Duration,
    writes: Cell<u64>,
    /// Whom everything is on as it should be.
    settled: Mutex<Vec<Remote<Shard>>>,
}

impl Store {
    /// The store of this mesh. A request that fails is tried again for so long: a worker that is lost is replaced meanwhile.
    ///
    /// # Errors
    /// When the top of the tree cannot be asked.
    pub async fn open(cx: &Context, patience: Duration) -> Result<Self, actogen::DirectoryError> {
        let (writes, settled) = (Cell::new(0), Mutex::default());
        Ok(Self { shards: shards(cx).await?, patience, writes, settled })
    }

    /// Waits until so many workers are there.
    pub async fn has_workers(&self, count: usize) {
        let mut events = self.shards.events();
        while self.shards.members().len() < count && events.next().await.is_some() {}
    }

    /// Writes a value.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn set(&self, key: &str, value: &str) -> Result<(), StoreError> {
        self.try_for_long(async |members| {
            if members.len() < COPIES {
                return Err(StoreError::TooFew { there: members.len() });
            }
            self.writes.set(self.writes.get() + 1);
            let entry = Entry { write: self.writes.get(), value: value.to_owned() };
            for keeper in keepers(key, members) {
                put(keeper, vec![(key.to_owned(), entry.clone())]).await?;
            }
            Ok(())
        })
        .await
    }

    /// The newest value.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn get(&self, key: &str) -> Result<Option<String>, StoreError> {
        self.try_for_long(async |members| {
            let mut newest: Option<Entry> = None;
            // A write that failed may have reached the second alone.
            for keeper in keepers(key, members) {
                let found = keeper.send(Get(key.to_owned())).await;
                let found = found.map_err(|error| lost(keeper, error))?;
                newest = newest.into_iter().chain(found).max_by_key(|entry| entry.write);
            }
            Ok(newest.map(|entry| entry.value))
        })
        .await
    }

    /// Who keeps a key.
    pub fn keepers(&self, key: &str) -> Vec<Remote<Shard>> {
        keepers(key, &self.shards.members()).cloned().collect()
    }

    /// One request after another, each when everything is where it should be.
    async fn try_for_long<T>(
        &self,
        request: impl AsyncFn(&[Remote<Shard>]) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut settled = self.settled.lock().await;
        let begun = Instant::now();
        loop {
            let members = self.shards.members();
            let outcome = async {
                if *settled != members {
                    settle(&members).await?;
                    settled.clone_from(&members);
                }
                request(&members).await
            };
            match outcome.await {
                Err(error) if begun.elapsed() < self.patience => {
                    tracing::info!("once more: {error}");
                    tokio::time::sleep(PAUSE).await;
                }
                outcome => return outcome,
            }
        }
    }
}

/// The workers that rank highest for a key; those stay when others come and go.
fn keepers<'a>(
    key: &str,
    members: &'a [Remote<Shard>],
) -> impl Iterator<Item = &'a Remote<Shard>> + use<'a> {
    let rank = |member: &Remote<Shard>| {
        let mut hasher = DefaultHasher::new();
        (key, member.address()).hash(&mut hasher);
        hasher.finish()
    };
    let mut ranked: Vec<_> = members.iter().map(|member| (rank(member), member)).collect();
    ranked.sort_by_key(|(rank, _)| std::cmp::Reverse(*rank));
    ranked.into_iter().take(COPIES).map(|(_, member)| member)
}

/// Brings everything to those who are to have it, and takes it from the others.
async fn settle(members: &[Remote<Shard>]) -> Result<(), StoreError> {
    let mut newest: HashMap<String, Entry> = HashMap::new();
    for member in members {
        for (key, entry) in member.send(All).await.map_err(|error| lost(member, error))? {
            let old = newest.entry(key).or_insert_with(|| entry.clone());
            if old.write < entry.write {
                *old = entry;
            }
        }
    }
    let mut parts = vec![Vec::new(); members.len()];
    for (key, entry) in newest {
        for keeper in keepers(&key, members) {
            let part = members.iter().position(|member| member == keeper);
            parts[part.expect("a keeper is a member")].push((key.clone(), entry.clone()));
        }
    }
    // Nobody forgets anything before all have what they are to have.
    for (member, part) in members.iter().zip(&parts) {
        put(member, part.clone()).await?;
    }
    for (member, part) in members.iter().zip(parts) {
        let mut keys: Vec<_> = part.into_iter().map(|(key, _)| key).collect();
        keys.sort_unstable();
        member.send(Keep(keys)).await.map_err(|error| lost(member, error))?;
    }
    Ok(())
}

async fn put(member: &Remote<Shard>, entries: Vec<(String, Entry)>) -> Result<(), StoreError> {
    let full = |why| StoreError::Worker { worker: member.context_id().to_string(), why };
    member.send(Put(entries)).await.map_err(|error| lost(member, error))?.map_err(full)
}

fn lost<M>(member: &Remote<Shard>, error: SendError<M>) -> StoreError
where
    SendError<M>: std::fmt::Display,
{
    StoreError::Worker { worker: member.context_id().to_string(), why: error.to_string() }
}

#[cfg(test)]
mod tests {
    use actogen::testing::{self, Network, TestMesh};

    use super::*;

    async fn shard(mesh: &TestMesh, root: &Context) -> (Context, Remote<Shard>) {
        let parents = [root.endpoint().expect("it can be dialled")];
        let cx = mesh.child_with(root, |child| child.other_parents(parents)).await;
        let shard = cx.start(Shard::spawn((), &cx)).attach(root);
        (cx, shard)
    }

    /// The request is refused while one side is too small, and what was acknowledged before is there again afterwards.
    async fn writes_are_refused_in_a_partition(mesh: &TestMesh) -> actogen::Result<()> {
        let root = mesh.root().await;
        let (east, _) = shard(mesh, &root).await;
        let _west = shard(mesh, &root).await;
        let store = Store::open(&root, Duration::ZERO).await?;
        store.has_workers(2).await;
        store.set("tea", "green").await?;

        mesh.partition(&[&root], &[&east]);
        let refused = store.set("tea", "black").await.unwrap_err();
        assert!(matches!(refused, StoreError::Worker { .. }), "{refused}");
        while store.shards.members().len() > 1 {
            mesh.pass(PAUSE).await;
        }
        assert_eq!(store.set("tea", "black").await, Err(StoreError::TooFew { there: 1 }));
        let seen = store.get("tea").await?;

        mesh.heal();
        store.has_workers(2).await;
        assert_eq!(store.get("tea").await?, seen);
        store.set("tea", "white").await?;
        for keeper in store.keepers("tea") {
            assert_eq!(
                keeper.send(Get("tea".into())).await?.map(|e| e.value),
                Some("white".into())
            );
        }
        assert_eq!(store.keepers("tea").len(), COPIES);
        Ok(())
    }

    #[test]
    fn a_partition_in_memory_refuses_writes() {
        testing::over(Network::Memory).run(writes_are_refused_in_a_partition);
    }

    #[test]
    fn a_partition_of_udp_refuses_writes() {
        testing::over(Network::Udp).run(writes_are_refused_in_a_partition);
    }

    #[test]
    fn what_a_lost_worker_kept_is_on_two_others() {
        testing::run(async |mesh: &TestMesh| {
            let root = mesh.root().await;
            let mut all = Vec::new();
            for _ in 0..4 {
                all.push(shard(mesh, &root).await);
            }
            let store = Store::open(&root, Duration::from_secs(60)).await?;
            store.has_workers(4).await;
            for n in 0..100 {
                store.set(&format!("key {n}"), &n.to_string()).await?;
            }
            for (gone, _) in all.drain(..2) {
                mesh.crash(&gone).await;
                for n in 0..100 {
                    let found = store.get(&format!("key {n}")).await?;
                    assert_eq!(found, Some(n.to_string()));
                }
            }
            let mut copies = 0;
            for (_, shard) in &all {
                copies += shard.send(All).await?.len();
            }
            assert_eq!(copies, 200);
            Ok(())
        });
    }
}
