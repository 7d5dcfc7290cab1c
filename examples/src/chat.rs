//! A chat: guests in rooms, each in whatever process. What is said goes by topics, who is there is known by groups.

use actogen::{Group, prelude::*};

/// Something that was said in a room; published under [`topic`].
#[derive(Clone, Debug, PartialEq, Eq, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "chat.Line")]
pub struct Line {
    /// Who said it.
    pub by: String,
    /// What.
    pub text: String,
}

/// Has a guest say something in its room.
#[derive(Clone, Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "chat.Say", reply = "Result<(), String>")]
pub struct Say(pub String);

/// Asks a guest for its name.
#[derive(Clone, Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "chat.Name", reply = "String")]
pub struct Name;

/// Asks a guest for what it has heard.
#[derive(Clone, Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "chat.Heard", reply = "Vec<Line>")]
pub struct Heard;

/// What a guest is made of.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// The room that it enters: a word without dots.
    pub room: String,
}

/// Somebody in a room.
#[derive(RemoteActor)]
#[remote(name = "chat.guest", messages(Line, Say, Name, Heard), spawn = custom)]
pub struct Guest {
    cx: Context,
    entry: Entry,
    heard: Vec<Line>,
}

impl std::fmt::Debug for Guest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Guest").field("entry", &self.entry).finish_non_exhaustive()
    }
}

/// The topic of what is said in a room.
pub fn topic(room: &str) -> String {
    format!("chat.{room}")
}

/// Who is in a room.
///
/// # Errors
/// When the top of the tree cannot be asked.
pub async fn room(cx: &Context, room: &str) -> Result<Group<Guest>, actogen::DirectoryError> {
    cx.group(&format!("chat/{room}")).await
}

impl Spawn for Guest {
    type Args = Entry;

    fn spawn(entry: Entry, cx: &Context) -> Self {
        Self { cx: cx.clone(), entry, heard: Vec::new() }
    }
}

impl Actor for Guest {
    type Context = actix::Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        // Its own address, to give it away.
        let Ok(me) = self.cx.bind(&ctx.address()) else { return };
        let entered = self.cx.subscribe_actor::<Self, Line>(&topic(&self.entry.room), &me);
        if let Err(error) = entered {
            eprintln!("{} hears nothing: {error}", self.entry.name);
        }
        let (cx, entry) = (self.cx.clone(), self.entry.clone());
        let joining = async move { room(&cx, &entry.room).await?.join(&me).await };
        ctx.spawn(joining.into_actor(self).map(|joined, guest, _| {
            if let Err(error) = joined {
                eprintln!("{} is not seen: {error}", guest.entry.name);
            }
        }));
    }
}

impl Handler<Line> for Guest {
    type Result = ();

    fn handle(&mut self, line: Line, _: &mut Self::Context) {
        self.heard.push(line);
    }
}

impl Handler<Say> for Guest {
    type Result = ResponseFuture<Result<(), String>>;

    fn handle(&mut self, Say(text): Say, _: &mut Self::Context) -> Self::Result {
        let (cx, topic) = (self.cx.clone(), topic(&self.entry.room));
        let line = Line { by: self.entry.name.clone(), text };
        Box::pin(async move { cx.publish(&topic, &line).await.map_err(|error| error.to_string()) })
    }
}

impl Handler<Name> for Guest {
    type Result = String;

    fn handle(&mut self, _: Name, _: &mut Self::Context) -> String {
        self.entry.name.clone()
    }
}

impl Handler<Heard> for Guest {
    type Result = Vec<Line>;

    fn handle(&mut self, _: Heard, _: &mut Self::Context) -> Vec<Line> {
        self.heard.clone()
    }
}

#[cfg(test)]
mod tests {
    use actogen::testing::{self, TestMesh};

    use super::*;

    async fn guest(cx: &Context, name: &str) -> Remote<Guest> {
        let entry = Entry { name: name.to_owned(), room: "lobby".to_owned() };
        cx.start(Guest::spawn(entry, cx))
    }

    async fn say(guest: &Remote<Guest>, text: &str) {
        guest.send(Say(text.to_owned())).await.expect("the guest answers").expect("it is said");
    }

    /// Has somebody say the same until another has heard it: word of who listens takes a moment.
    async fn heard(mesh: &TestMesh, by: &Remote<Guest>, from: &Remote<Guest>, text: &str) {
        loop {
            say(from, text).await;
            mesh.pass(std::time::Duration::from_millis(10)).await;
            let heard = by.send(Heard).await.expect("the guest answers");
            if heard.iter().any(|line| line.text == text) {
                return;
            }
        }
    }

    #[test]
    fn guests_hear_each_other_and_see_who_comes_and_goes() {
        testing::run(async |mesh: &TestMesh| {
            let root = mesh.root().await;
            let (east, west) = (mesh.child(&root).await, mesh.child(&root).await);
            let lobby = room(&root, "lobby").await?;
            let mut events = lobby.events();
            let (ann, bob) = (guest(&east, "ann").await, guest(&west, "bob").await);
            for _ in 0..2 {
                assert!(matches!(events.next().await, Some(Ok(actogen::GroupEvent::Joined(_)))));
            }
            heard(mesh, &ann.clone().attach(&root), &bob.clone().attach(&root), "hello").await;
            heard(mesh, &bob.attach(&root), &ann.clone().attach(&root), "hello yourself").await;
            mesh.crash(&west).await;
            assert!(matches!(events.next().await, Some(Ok(actogen::GroupEvent::Left(_)))));
            assert_eq!(lobby.members().len(), 1);
            heard(mesh, &ann.clone().attach(&root), &ann.attach(&root), "anybody there?").await;
            Ok(())
        });
    }
}
