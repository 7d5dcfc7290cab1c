//! How contexts find their parents, over the network in memory.

use std::time::Duration;

use actogen_runtime::{
    AdoptError, Context, Place, Placement, StartError,
    core::{ContextId, Limits},
    memory::MemoryNetwork,
};

const DETECTION: Duration = Duration::from_secs(1);
const CHILD: ContextId = ContextId(7);

fn network() -> MemoryNetwork {
    MemoryNetwork::new("joining.test", [1; 32])
}

fn builder(network: &MemoryNetwork, id: ContextId, endpoint: &str) -> actogen_runtime::Builder {
    let transport = network.transport(id, endpoint, DETECTION);
    let limits = Limits { handshake_time: Duration::from_secs(2), ..Limits::default() };
    Context::builder()
        .placement(Placement::Inline)
        .limits(limits)
        .transport(|_| Box::pin(async move { Ok(transport) }))
}

async fn root(network: &MemoryNetwork) -> Context {
    let root =
        builder(network, ContextId::ROOT, "root").authority(network.authority()).start().await;
    root.expect("a root needs nobody")
}

async fn in_local_set<T>(test: impl Future<Output = T>) -> T {
    tokio::task::LocalSet::new().run_until(test).await
}

async fn reaches(from: &Context, to: Place) {
    from.ping(to).await.expect("it can be reached");
}

#[tokio::test]
async fn a_waiting_context_is_adopted_by_the_root() {
    in_local_set(async {
        let network = network();
        let root = root(&network).await;
        let waiting =
            builder(&network, CHILD, "child").await_parent(Duration::from_secs(5)).start();
        let (child, place) = tokio::join!(waiting, root.adopt("child", CHILD));
        let (child, place) = (child.unwrap(), place.unwrap());
        assert_eq!((place.context, place.incarnation), (CHILD, child.incarnation()));
        reaches(&root, place).await;
        reaches(&child, root.place()).await;
        assert_eq!(child.family().ancestors, [ContextId::ROOT]);
    })
    .await;
}

#[tokio::test]
async fn r21_simultaneous_dials_end_in_one_link_and_no_deadlock() {
    in_local_set(async {
        for round in 0..50 {
            let network = network();
            let root = root(&network).await;
            let waiting = builder(&network, CHILD, "child")
                .connect("root", Some(ContextId::ROOT))
                .await_parent(Duration::from_secs(5))
                .start();
            // Each round lets the two dials meet at another point of their openings.
            let adopting = async {
                for _ in 0..round {
                    tokio::task::yield_now().await;
                }
                root.adopt("child", CHILD).await
            };
            let (child, place) = tokio::join!(waiting, adopting);
            let (child, place) = (child.unwrap(), place.unwrap());
            assert_eq!(place.incarnation, child.incarnation(), "round {round}");
            reaches(&root, place).await;
            reaches(&child, root.place()).await;
            assert_eq!(
                (root.holdings().await.router.links, child.holdings().await.router.links),
                (1, 1),
                "round {round}"
            );
        }
    })
    .await;
}

#[tokio::test]
async fn what_cannot_be_is_refused_with_a_reason() {
    in_local_set(async {
        let network = network();
        let root = root(&network).await;
        let alone = builder(&network, CHILD, "child").start().await;
        assert!(matches!(alone, Err(StartError::NoParent(CHILD))), "{alone:?}");
        let with_parent = builder(&network, ContextId::ROOT, "other").authority(network.authority());
        let with_parent = with_parent.connect("root", None).start().await;
        assert!(matches!(with_parent, Err(StartError::RootWithParent)), "{with_parent:?}");
        let nobody = builder(&network, CHILD, "child").await_parent(Duration::from_millis(20)).start().await;
        assert!(matches!(nobody, Err(StartError::NoParentCame(_))), "{nobody:?}");
        let child = builder(&network, CHILD, "child").connect("root", None).start().await.unwrap();
        let other = child.adopt("root", ContextId(9)).await;
        assert!(matches!(other, Err(AdoptError::NotRoot(CHILD))), "{other:?}");
        let twice = builder(&network, ContextId(9), "nine").connect("child", Some(ContextId::ROOT)).start().await;
        assert!(matches!(&twice, Err(StartError::Dial(error)) if error.to_string().contains("not context 0")), "{twice:?}");
        let place = root.adopt("child", CHILD).await.unwrap();
        assert_eq!(place.incarnation, child.incarnation(), "it is attached already");
    })
    .await;
}

#[tokio::test]
async fn a_shutdown_is_told_upwards_and_downwards() {
    in_local_set(async {
        let network = network();
        let root = root(&network).await;
        let middle =
            builder(&network, CHILD, "middle").connect("root", None).start().await.unwrap();
        let leaf =
            builder(&network, ContextId(8), "leaf").connect("middle", None).start().await.unwrap();
        let mut events = root.events();
        let mut phase = leaf.phase();
        let leaving = tokio::task::spawn_local(async move {
            phase.wait_for(|phase| *phase != actogen_runtime::Phase::Running).await.unwrap();
            leaf.shutdown().await;
        });
        middle.shutdown().await;
        leaving.await.unwrap();
        let mut down = Vec::new();
        while down.len() < 2 {
            if let Some(Ok(actogen_runtime::events::ContextEvent::Down { context, .. })) =
                events.next().await
            {
                down.push(context);
            }
        }
        down.sort_unstable();
        assert_eq!(down, [CHILD, ContextId(8)]);
        assert_eq!(root.holdings().await.router.routes, 0);
    })
    .await;
}
