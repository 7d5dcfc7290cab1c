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
