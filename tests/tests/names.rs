//! Names that the authority binds to real processes: launched with them, joined with them, and refused with those that it does not know.

#![allow(clippy::unwrap_used, reason = "this is all test code")]

use std::{future::Future, path::Path, time::Duration};

use actogen::{
    ContextId, LaunchError, Limits, Mesh, OffenceKind,
    names::{ContextNames, Holder},
    prelude::*,
};
use actogen_tests::until::{soon, until};

actogen::test_child!();

const HOUR: Duration = Duration::from_secs(3600);

/// Runs a test where actors can be started.
fn run(test: impl Future<Output = actogen::Result<()>>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, test).unwrap();
}

async fn root_of(authority: &Path) -> actogen::Result<Context> {
    Mesh::create_authority("names.test", authority)?;
    Ok(Context::builder().mesh(Mesh::root(authority)?).listen("127.0.0.1:0").start().await?)
}

fn names(texts: &[&str]) -> ContextNames {
    ContextNames::new(texts.iter().copied()).unwrap()
}

/// What a launched process says of itself.
#[derive(Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "names.WhoAreYou", reply = "(Vec<String>, Option<ContextId>)")]
struct WhoAreYou(String);

/// Asks a process to launch one with a name, and for what comes of it.
#[derive(Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "names.Grow", reply = "String")]
struct Grow;

/// Somebody in a process who says what it is named.
#[derive(RemoteActor)]
#[remote(name = "names.Clerk", messages(WhoAreYou, Grow), spawn = custom)]
struct Clerk(Context);

impl Actor for Clerk {
    type Context = actix::Context<Self>;
}

impl Spawn for Clerk {
    type Args = ();
    fn spawn((): (), cx: &Context) -> Self {
        Self(cx.clone())
    }
}

impl Handler<WhoAreYou> for Clerk {
    type Result = ResponseFuture<(Vec<String>, Option<ContextId>)>;
    fn handle(&mut self, WhoAreYou(name): WhoAreYou, _: &mut Self::Context) -> Self::Result {
        let cx = self.0.clone();
        Box::pin(async move { (cx.own_names(), cx.who_has(&name).await.unwrap()) })
    }
}

impl Handler<Grow> for Clerk {
    type Result = ResponseFuture<String>;
    fn handle(&mut self, _: Grow, _: &mut Self::Context) -> Self::Result {
        let cx = self.0.clone();
        Box::pin(async move {
            let launch = Launch::local().certified_name("below");
            cx.launch(launch).await.map(drop).unwrap_err().to_string()
        })
    }
}

/// The root launches a process with names; one that is launched anew takes them over, and the old one is revoked.
#[test]
fn a_relaunched_process_takes_its_name_over() {
    run(async {
        let folder = tempfile::tempdir()?;
        let authority = folder.path().join("ca");
        let root = root_of(&authority).await?;
        let launch = || Launch::local().certified_name("worker").certified_name("west");
        let child = root.launch(launch()).await?;
        let clerk = child.spawn::<Clerk>(()).await?;
        let (own, holder) = soon("an answer", clerk.send(WhoAreYou("west".into()))).await?;
        assert_eq!(own, ["west", "worker"]);
        assert_eq!(holder, Some(child.id()));

        let Err(LaunchError::Name(why)) = root.launch(launch()).await else { panic!("it has it") };
        assert!(why.contains("`west`") && why.contains("in the tree"), "{why}");
        let why = soon("an answer", clerk.send(Grow)).await?;
        assert!(why.contains("is not the root"), "{why}");
        let refused = root.launch(Launch::local().certified_name("x").via(&child)).await;
        let Err(LaunchError::Name(why)) = refused else { panic!("only the root") };
        assert!(why.contains("without `via`"), "{why}");
        let Err(LaunchError::Name(_)) = root.launch(Launch::local().certified_name("X")).await
        else {
            panic!("that is no name")
        };

        child.kill().await;
        until("it is gone", || root.place_of(child.id()).is_none()).await;
        assert_eq!(root.who_has("west").await?, Some(child.id()));
        assert!(!root.is_revoked(child.id()));
        let again = root.launch(Launch::local().certified_name("west")).await?;
        assert_ne!(again.id(), child.id());
        assert!(root.is_revoked(child.id()), "at once");
        assert_eq!(root.who_has("west").await?, Some(again.id()));
        assert_eq!(root.who_has("worker").await?, Some(child.id()));
        let clerk = again.spawn::<Clerk>(()).await?;
        let (own, _) = soon("an answer", clerk.send(WhoAreYou("x".into()))).await?;
        assert_eq!(own, ["west"]);
        root.shutdown().await;
        // What the root has bound is there for the command, and after a restart.
        assert_eq!(Mesh::holder_of(&authority, "west")?, Some(again.id()));
        Ok(())
    });
}

/// Of two launches with one name at the same time one is refused.
#[test]
fn two_launches_at_once_do_not_share_a_name() {
    run(async {
        let mesh = Mesh::fresh("names.test")?;
        let root = Context::builder().mesh(mesh).listen("127.0.0.1:0").start().await?;
        let launch = || root.launch(Launch::local().certified_name("west"));
        let (first, second) = tokio::join!(launch(), launch());
        let child = first?;
        let Err(LaunchError::Name(why)) = second else { panic!("it was under way") };
        assert!(why.contains("under way"), "{why}");
        assert_eq!(root.who_has("west").await?, Some(child.id()));
        root.shutdown().await;
        Ok(())
    });
}

/// A token brings names to whoever joins, wherever in the tree; they stay in certificates that are renewed.
#[test]
fn a_token_brings_names_that_stay() {
    run(async {
        let mesh = Mesh::fresh_with_lifetime("names.test", Duration::from_secs(4))?;
        let root = Context::builder().mesh(mesh.clone()).listen("127.0.0.1:0").start().await?;
        let join = async |at: &Context, texts: &[&str]| {
            let token = mesh.invite_named(HOUR, &names(texts), Holder::Stays)?;
            let mesh = Mesh::join(&at.endpoint().unwrap(), &token).await?;
            let builder = Context::builder().mesh(mesh).listen("127.0.0.1:0");
            Ok::<_, actogen::Error>(builder.start().await?)
        };
        let child = join(&root, &[]).await?;
        let below = join(&child, &["west"]).await?;
        assert_eq!(below.own_names(), ["west"]);
        assert_eq!(child.who_has("west").await?, Some(below.id()));
        until("it is renewed", || below.renewals() >= 2).await;
        assert_eq!(below.own_names(), ["west"]);
        let signature = below.sign_claim("test.claim", b"claim");
        let certificate = below.certificate();
        let names =
            root.verify_claim("test.claim", below.id(), &certificate, b"claim", &signature)?;
        assert_eq!(names, ["west"]);
        // That one is good no more when its time is over, whatever has come after it.
        let verdict =
            || root.verify_claim("test.claim", below.id(), &certificate, b"claim", &signature);
        until("it expires", || verdict().is_err()).await;
        assert!(verdict().unwrap_err().0.contains("expired"));
        for context in [&below, &child, &root] {
            context.shutdown().await;
        }
        Ok(())
    });
}

/// The root takes nobody whose certificate has names that are not in its record, as after an old copy of that has been put back.
#[test]
fn names_that_are_not_recorded_are_refused_at_the_root() {
    run(async {
        let folder = tempfile::tempdir()?;
        let authority = folder.path().join("ca");
        let root = root_of(&authority).await?;
        let node = folder.path().join("node");
        let (id, names) = (ContextId(2000), names(&["west"]));
        Mesh::issue_named(&authority, &node, id, HOUR, &names, Holder::Stays)?;
        let start = async || {
            // One who is not announced waits in vain for a first answer.
            let limits = Limits { handshake_time: Duration::from_secs(2), ..Limits::default() };
            let builder = Context::builder().mesh(Mesh::from_pem(&node)?).limits(limits);
            let builder = builder.listen("127.0.0.1:0").connect(root.endpoint().unwrap());
            Ok::<_, actogen::Error>(builder.start().await?)
        };
        let honest = start().await?;
        until("the root knows it", || root.place_of(id).is_some()).await;
        let signature = honest.sign_claim("test.claim", b"claim");
        let verify = |judge: &Context| {
            let certificate = honest.certificate();
            judge.verify_claim("test.claim", id, &certificate, b"claim", &signature)
        };
        assert_eq!(verify(&root)?, ["west"]);
        std::fs::write(authority.join("ca-names"), "west 1999\n")?;
        let refused = verify(&root).unwrap_err();
        assert!(refused.0.contains("has not bound"), "{refused}");
        honest.shutdown().await;
        until("it is gone", || root.place_of(id).is_none()).await;

        let refused = soon("an end", start()).await.unwrap_err();
        assert!(refused.to_string().contains("did not answer"), "{refused}");
        assert!(root.offences(OffenceKind::BadSignature) > 0);
        assert_eq!(root.place_of(id), None);
        root.shutdown().await;
        Ok(())
    });
}
