//! Identities issued beforehand, as the chapter about security shows them.

use std::time::Duration;

use actogen::{
    ContextId, Mesh,
    names::{ContextNames, Holder},
    prelude::*,
};

#[derive(RemoteMessage, Serialize, Deserialize)]
#[remote(name = "echo.Say", reply = "String")]
struct Say(String);

#[derive(RemoteActor, Default)]
#[remote(name = "echo", messages(Say))]
struct Echo;

impl Actor for Echo {
    type Context = actix::Context<Self>;
}

impl Handler<Say> for Echo {
    type Result = String;

    fn handle(&mut self, Say(text): Say, _: &mut Self::Context) -> String {
        text
    }
}

#[actogen::test]
async fn a_context_joins_with_an_identity_issued_beforehand() -> actogen::Result<()> {
    let temp = tempfile::tempdir()?;
    let (authority, seven) = (temp.path().join("authority"), temp.path().join("seven"));
    // ANCHOR: issue
    // Once, on the machine of the root. `authority` holds the mesh's key: keep it there.
    Mesh::create_authority("fleet.example", &authority)?;
    // For each other context. Bring the folder `seven` to its machine.
    Mesh::issue(&authority, &seven, ContextId(7), Duration::from_secs(90 * 86_400))?;
    // ANCHOR_END: issue

    // ANCHOR: root
    let root = Context::builder()
        .mesh(Mesh::root(&authority)?)
        .listen("127.0.0.1:0") // in earnest an address of this machine, such as "10.0.0.1:4433"
        .start()
        .await?;
    root.register("echo", &root.start(Echo))?;
    // ANCHOR_END: root
    let endpoint = root.endpoint().expect("the root listens");

    // ANCHOR: join
    let cx = Context::builder()
        .mesh(Mesh::from_pem(&seven)?)
        .connect_to(endpoint, ContextId::ROOT)
        .start()
        .await?;
    let place = cx.place_of(ContextId::ROOT).expect("it is the parent");
    let echo: Remote<Echo> = cx.lookup_in(place, "echo").await?;
    assert_eq!(echo.send(Say("hello".into())).await?, "hello");
    // ANCHOR_END: join
    cx.shutdown().await;
    root.shutdown().await;
    Ok(())
}

#[actogen::test]
async fn a_name_in_a_certificate_says_who_signed() -> actogen::Result<()> {
    let temp = tempfile::tempdir()?;
    let (authority, seven) = (temp.path().join("authority"), temp.path().join("seven"));
    Mesh::create_authority("fleet.example", &authority)?;
    // ANCHOR: named
    let names = ContextNames::new(["west"])?;
    let days = Duration::from_secs(90 * 86_400);
    Mesh::issue_named(&authority, &seven, ContextId(7), days, &names, Holder::Stays)?;
    // ANCHOR_END: named
    let mesh = Mesh::root(&authority)?;
    let root = Context::builder().mesh(mesh).listen("127.0.0.1:0").start().await?;
    let endpoint = root.endpoint().expect("the root listens");
    let cx = Context::builder().mesh(Mesh::from_pem(&seven)?).connect(endpoint).start().await?;
    // ANCHOR: named
    // Later, in the context itself, and anywhere:
    assert_eq!(cx.own_names(), ["west"]);
    assert_eq!(cx.who_has("west").await?, Some(ContextId(7)));
    // ANCHOR_END: named

    // ANCHOR: claim
    let order = b"open the gate";
    let (certificate, signature) = (cx.certificate(), cx.sign_claim("gate.order", order));
    // Wherever it arrives:
    let names = root.verify_claim("gate.order", cx.id(), &certificate, order, &signature)?;
    assert_eq!(names, ["west"]);
    // ANCHOR_END: claim
    cx.shutdown().await;
    root.shutdown().await;
    Ok(())
}

#[actogen::test]
async fn contexts_of_different_meshes_refuse_each_other() -> actogen::Result<()> {
    let temp = tempfile::tempdir()?;
    let (authority, stranger) = (temp.path().join("authority"), temp.path().join("stranger"));
    Mesh::create_authority("other.example", &authority)?;
    Mesh::issue(&authority, &stranger, ContextId(7), Duration::from_secs(3600))?;
    let root = Context::builder()
        .mesh(Mesh::fresh("fleet.example")?)
        .listen("127.0.0.1:0")
        .start()
        .await?;
    let endpoint = root.endpoint().expect("the root listens");
    // ANCHOR: refused
    let refused = Context::builder()
        .mesh(Mesh::from_pem(&stranger)?)
        .connect(endpoint)
        .start()
        .await
        .unwrap_err()
        .to_string();
    assert!(refused.contains("fleet.example") && refused.contains("other.example"), "{refused}");
    // ANCHOR_END: refused
    root.shutdown().await;
    Ok(())
}
