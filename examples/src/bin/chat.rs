//! A chat room over several processes: guests come, talk, and go, one of them because its process is killed.
//!
//! ```sh
//! cargo run -p actogen-examples --bin chat
//! ```

use std::{collections::HashMap, time::Duration};

use actogen::{Address, GroupEvent, prelude::*};
use actogen_examples::chat::{Entry, Guest, Line, Name, Say, room, topic};

const ROOM: &str = "lobby";

#[actogen::main]
async fn main(cx: Context) -> actogen::Result<()> {
    let lobby = room(&cx, ROOM).await?;
    let mut presence = lobby.events();
    let mut lines = cx.subscribe::<Line>(&topic(ROOM))?;
    // Whoever comes is asked for a name; who has gone cannot be.
    let mut names: HashMap<Address, String> = HashMap::new();
    let mut homes = Vec::new();
    for name in ["ann", "bob", "eve"] {
        let home = cx.launch(Launch::local()).await?;
        let entry = Entry { name: name.to_owned(), room: ROOM.to_owned() };
        let guest = home.spawn::<Guest>(entry).await?;
        if let Some(Ok(GroupEvent::Joined(address))) = presence.next().await {
            let joined = lobby.members().into_iter().find(|member| member.address() == address);
            let name = joined.ok_or("it has just joined")?.send(Name).await?;
            println!("* {name} has come, from {}", home.id());
            names.insert(address, name);
        }
        homes.push((home, guest));
    }
    for (_, guest) in &homes {
        guest.send(Say("hello!".to_owned())).await??;
        let heard = tokio::time::timeout(Duration::from_secs(5), lines.next()).await;
        let heard = heard.map_err(|_| "nothing was heard")??;
        println!("<{}> {}", heard.message.by, heard.message.text);
    }
    // Nobody has to say goodbye.
    homes[1].0.kill().await;
    if let Some(Ok(GroupEvent::Left(address))) = presence.next().await {
        println!("* {} has gone", names.get(&address).map_or("somebody", String::as_str));
    }
    println!("* {} are here", lobby.members().len());
    Ok(())
}
