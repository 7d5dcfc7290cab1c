//! A release goes out only when it is signed and archived: whoever builds it requires both, and does not go on before both have processed it.

use std::time::Duration;

use actogen::{Child, Consumer, Delivery, ReliableError, Verdict, prelude::*};

#[derive(Clone, Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "train.Release")]
struct Release {
    version: u32,
    is_tested: bool,
}

/// Signs what is tested.
struct Signer;

impl Consumer<Release> for Signer {
    async fn handle(&mut self, release: &mut Delivery<Release>) -> Verdict {
        match release.message().is_tested {
            true => Verdict::Ok,
            false => Verdict::Drop("it is not tested".into()),
        }
    }
}

/// Keeps what comes.
struct Archive(Vec<u32>);

impl Consumer<Release> for Archive {
    async fn handle(&mut self, release: &mut Delivery<Release>) -> Verdict {
        self.0.push(release.message().version);
        Verdict::Ok
    }
}

/// What the process of a name does.
#[actogen::function]
fn serve(cx: Context, name: String) -> Result<(), actogen::PublishError> {
    let consume = cx.consume::<Release>("release.*");
    match name.as_str() {
        "signer" => drop(consume.run(Signer)?),
        _ => drop(consume.run(Archive(Vec::new()))?),
    }
    Ok(())
}

/// A process to which the mesh's authority binds the name: nobody else can acknowledge by it.
async fn launch(cx: &Context, name: &str) -> actogen::Result<Child> {
    let child = cx.launch(Launch::local().certified_name(name)).await?;
    child.call::<serve>(name.to_owned()).await?;
    Ok(child)
}

#[actogen::main]
async fn main(cx: Context) -> actogen::Result<()> {
    let (_signer, archive) = (launch(&cx, "signer").await?, launch(&cx, "archive").await?);
    let publish = |release: &Release| {
        let publish = cx.publish("release.built", release).require(["signer", "archive"]);
        publish.within(Duration::from_secs(2))
    };

    let one = Release { version: 1, is_tested: true };
    let confirmed = publish(&one).await?;
    println!("release 1 goes out: processed by {:?}", confirmed.acked.keys());

    let two = Release { version: 2, is_tested: false };
    match publish(&two).await {
        Err(ReliableError::Rejected(partial)) => {
            println!("release 2 stays: {:?}", partial.rejected);
        }
        other => return Err(format!("release 2: {other:?}").into()),
    }

    archive.kill().await;
    let three = Release { version: 3, is_tested: true };
    let id = match publish(&three).await {
        Err(ReliableError::Timeout(partial)) => {
            println!("release 3 waits for {:?}", partial.missing);
            partial.id
        }
        other => return Err(format!("release 3: {other:?}").into()),
    };
    // The new process takes the name over. Under the same id the signer does not sign it twice.
    let _archive = launch(&cx, "archive").await?;
    let confirmed = publish(&three).id(id).await?;
    println!("release 3 goes out: processed by {:?}", confirmed.acked.keys());
    Ok(())
}
