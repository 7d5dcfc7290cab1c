//! The snippets of the chapter about the bridge to NATS.

#![allow(clippy::unwrap_used, reason = "this is all test code")]

use std::time::Duration;

use actogen::{AckLevel, Confirmed, ReliableError, prelude::*};
use actogen_nats::{Bridge, BridgeError, Mapping};

#[derive(Clone, Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "shop.Order")]
struct Order {
    number: u64,
}

async fn bridge(cx: &Context, server: &str) -> Result<Bridge, BridgeError> {
    // ANCHOR: bridge
    let mapping = Mapping::new("orders.>", "mesh.orders.>")?;
    let bridge = Bridge::builder(server, "east", mapping).start(cx).await?;
    println!("{}", bridge.stats());
    // ANCHOR_END: bridge
    Ok(bridge)
}

async fn order(cx: &Context) -> Result<Confirmed, ReliableError> {
    // ANCHOR: require
    let publish = cx.publish("orders.new", &Order { number: 7 }).require(["bridge"]);
    let stored = publish.level(AckLevel::Durable).within(Duration::from_secs(10)).await?;
    // ANCHOR_END: require
    Ok(stored)
}

#[test]
fn without_a_server_there_is_no_bridge_and_without_a_bridge_no_success() {
    actogen::testing::run(async |mesh: &actogen::testing::TestMesh| {
        let root = mesh.root().await;
        // Nobody listens at the port of `discard`.
        let error = bridge(&root, "nats://127.0.0.1:9").await.unwrap_err();
        assert!(matches!(error, BridgeError::NoServer { .. }), "{error}");
        let error = order(&root).await.unwrap_err();
        assert_eq!(error, ReliableError::UnknownRecipient(vec!["bridge".into()]));
        Ok(())
    });
}
