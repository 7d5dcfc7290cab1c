//! The snippets about test meshes.

#![allow(clippy::unwrap_used, reason = "this is all test code")]

// ANCHOR: partition
use actogen::{
    DeadReason,
    prelude::*,
    testing::{self, TestMesh},
};

#[derive(RemoteMessage, Serialize, Deserialize)]
#[remote(name = "stock.Take", reply = "u64")]
struct Take(u64);

#[test]
fn a_shop_that_is_cut_off_is_told_and_comes_back() {
    testing::run(async |mesh: &TestMesh| {
        let store = mesh.root().await;
        let parents = [store.endpoint().unwrap()];
        let shop = mesh.child_with(&store, |shop| shop.other_parents(parents)).await;
        let mut stock = mesh.probe_with::<Take>(&store, |take| 100 - take.0);
        let from_shop = stock.remote().attach(&shop);
        assert_eq!(from_shop.send(Take(1)).await?, 99);
        assert_eq!(stock.expect().await.0, 1);

        mesh.partition(&[&store], &[&shop]);
        let dead = from_shop.send(Take(2)).await.unwrap_err();
        assert_eq!(dead.reason(), Some(DeadReason::RouteLost));
        mesh.heal();
        while from_shop.send(Take(3)).await.is_err() {
            mesh.pass(std::time::Duration::from_millis(100)).await;
        }
        assert_eq!(stock.expect().await.0, 3);
        Ok(())
    });
}
// ANCHOR_END: partition

// ANCHOR: networks
use actogen::testing::{Conditions, Network};
use std::time::Duration;

async fn all_is_taken(mesh: &TestMesh) -> actogen::Result<()> {
    let store = mesh.root().await;
    let shop = mesh.child(&store).await;
    mesh.disturb(&store, &shop, Conditions { loss: 0.1, reorder: 0.2, ..Conditions::GOOD });
    let stock = mesh.probe_with::<Take>(&store, |take| 100 - take.0);
    let from_shop = stock.remote().attach(&shop);
    for number in 0..50 {
        assert_eq!(from_shop.send(Take(number)).await?, 100 - number);
    }
    Ok(())
}

#[test]
fn nothing_is_lost_in_memory_nor_over_a_bad_network() {
    for network in [Network::Memory, Network::Udp] {
        testing::over(network).seed(7).run(all_is_taken);
    }
}
// ANCHOR_END: networks

// ANCHOR: relay
use actogen::{Limits, Mesh, testing::Relay};

actogen::test_child!();

#[derive(RemoteActor, Default)]
#[remote(name = "stock.Counter", messages(Take), spawn)]
struct Counter(u64);

impl Actor for Counter {
    type Context = actix::Context<Self>;
}

impl Handler<Take> for Counter {
    type Result = u64;
    fn handle(&mut self, Take(taken): Take, _: &mut Self::Context) -> u64 {
        self.0 += taken;
        self.0
    }
}

#[test]
fn a_process_behind_a_relay_bears_losses_and_not_a_cut() {
    actix::System::new().block_on(async {
        let relay = Relay::new(7).unwrap();
        relay.set(Conditions { loss: 0.05, ..Conditions::GOOD });
        let root = Context::builder()
            .mesh(Mesh::fresh("stock.example").unwrap())
            .limits(Limits { detection_time: Duration::from_secs(1), ..Limits::default() })
            .quic(|options| relay.stand_before(options));
        let root = root.start().await.unwrap();
        let child = root.launch(Launch::local()).await.unwrap();
        let counter = child.spawn::<Counter>(()).await.unwrap();
        for number in 1..=20 {
            assert_eq!(counter.send(Take(1)).await.unwrap(), number);
        }
        relay.partition();
        let dead = counter.send(Take(1)).await.unwrap_err();
        assert_eq!(dead.reason(), Some(DeadReason::RouteLost));
        root.shutdown().await;
    });
}
// ANCHOR_END: relay
