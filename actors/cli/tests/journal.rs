//! `actogen journal`, as a person runs it.

#![allow(clippy::unwrap_used, reason = "this is all test code")]

use std::{
    io::Write,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use actogen::{
    prelude::*,
    testing::{self, TestMesh},
};
use actogen_journal::{Journal, JournalEvent, Journaled, JournaledActor, Poison, Turn};

#[derive(RemoteMessage, Serialize, Deserialize)]
#[remote(name = "cli.Note", codec = "json")]
struct Note(String);

#[derive(RemoteMessage, Serialize, Deserialize)]
#[remote(name = "cli.Pass")]
struct Pass(Journaled<Notes>);

#[derive(RemoteMessage, Serialize, Deserialize)]
#[remote(name = "cli.Bad")]
struct Bad;

#[derive(Default, JournaledActor, Serialize, Deserialize)]
#[journaled(kind = "notes", messages(Note, Pass, Bad), codec = "json")]
struct Notes {
    notes: Vec<String>,
}

impl Actor for Notes {
    type Context = Turn<Self>;
}

impl Handler<Note> for Notes {
    type Result = ();
    fn handle(&mut self, note: Note, _: &mut Turn<Self>) {
        self.notes.push(note.0);
    }
}

impl Handler<Pass> for Notes {
    type Result = ();
    fn handle(&mut self, pass: Pass, turn: &mut Turn<Self>) {
        turn.send(&pass.0, Bad);
    }
}

impl Handler<Bad> for Notes {
    type Result = ();
    fn handle(&mut self, _: Bad, _: &mut Turn<Self>) {
        panic!("a bad note");
    }
}

/// What has come to it.
#[derive(Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "cli.List", reply = "Vec<String>")]
struct List;

/// The same kind of actor in a newer program.
#[derive(JournaledActor, Default, Serialize, Deserialize)]
#[journaled(kind = "notes", codec = "json", messages(Bad, List))]
struct Mended {
    notes: Vec<String>,
}

impl Actor for Mended {
    type Context = Turn<Self>;
}

impl Handler<Bad> for Mended {
    type Result = ();
    fn handle(&mut self, _: Bad, _: &mut Turn<Self>) {
        self.notes.push("not so bad".to_owned());
    }
}

impl Handler<List> for Mended {
    type Result = MessageResult<List>;
    fn handle(&mut self, _: List, _: &mut Turn<Self>) -> MessageResult<List> {
        MessageResult(self.notes.clone())
    }
}

/// A journal with three turns of one actor, and a dead letter of another.
fn made(file: &Path) {
    let file = file.to_owned();
    testing::run(async move |mesh: &TestMesh| {
        let root = mesh.root().await;
        let journal = Journal::builder(&root, file).node("desk").kind::<Notes>().history(10);
        let journal = journal
            .attempts(1)
            .poison(Poison::Park)
            .retry(Duration::ZERO)
            .write_here()
            .open()
            .await?;
        let (client, mut events) = (journal.client(), journal.events());
        let (one, two) = (journal.actor::<Notes>("one")?, journal.actor::<Notes>("two")?);
        client.send(&one, Note("first".to_owned())).await?;
        client.send(&one, Note("second".to_owned())).await?;
        client.send(&one, Pass(two)).await?;
        while !matches!(events.recv().await?, JournalEvent::DeadLetter { .. }) {}
        journal.close().await;
        Ok(())
    });
}

fn actogen(folder: &Path, arguments: &[&str], input: &str) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_actogen"));
    command.arg("journal").args(arguments).current_dir(folder);
    let streams = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = streams.spawn().unwrap();
    // A command that takes none may have ended.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[test]
fn a_journal_is_looked_into() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    made(&folder.join("j.redb"));
    let (code, out, err) = actogen(folder, &["inspect", "j.redb", "--actors"], "");
    assert_eq!(code, 0, "{err}");
    for part in ["node\tdesk\n", "dead\t1 rows", "notes/one\tturn 3\tversion 1"] {
        assert!(out.contains(part), "{part:?} in {out}");
    }
    let (code, out, _) = actogen(folder, &["inspect", "j.redb", "--json"], "");
    assert!(code == 0 && out.starts_with("{\"node\":\"desk\""), "{out}");
    let (code, out, _) = actogen(folder, &["replay", "j.redb", "notes/one"], "");
    assert_eq!(code, 0);
    let states: Vec<_> = out.lines().map(|line| line.split("-> ").nth(1).unwrap()).collect();
    let both = "{\"notes\":[\"first\",\"second\"]}";
    assert_eq!(states, ["{\"notes\":[\"first\"]}", both, both]);
    let (code, out, _) = actogen(folder, &["dead-letters", "j.redb"], "");
    assert!(code == 0 && out.starts_with("notes/two\t1\t") && out.contains("a bad note"), "{out}");
    let (code, out, _) = actogen(folder, &["verify", "j.redb"], "");
    assert!(code == 0 && out.ends_with("rows are whole\n"), "{out}");
    let (code, out, _) = actogen(folder, &["compact", "j.redb"], "");
    assert!(code == 0 && out.contains("bytes before"), "{out}");
    let (code, _, err) = actogen(folder, &["replay", "j.redb", "notes/three"], "");
    assert!(code == 1 && err.contains("history(turns)"), "{err}");
}

/// Opens the journal with an actor that takes what was bad before; gives how its state is then.
fn mended(file: &Path) -> Vec<String> {
    let file = file.to_owned();
    let told = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
    let tells = told.clone();
    testing::run(async move |mesh: &TestMesh| {
        let root = mesh.root().await;
        let journal = Journal::builder(&root, file).node("desk").kind::<Mended>().write_here();
        let journal = journal.open().await?;
        let two = journal.actor::<Mended>("two")?;
        for _ in 0..1000 {
            *tells.borrow_mut() = journal.client().send(&two, List).await?;
            if !tells.borrow().is_empty() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        journal.close().await;
        Ok(())
    });
    told.take()
}

#[test]
fn a_dead_letter_is_sent_again_or_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    made(&folder.join("j.redb"));
    let letters = |arguments: &[&str]| {
        let all = [&["dead-letters", "j.redb"], arguments].concat();
        actogen(folder, &all, "")
    };
    let (code, _, err) = letters(&["--actor", "notes/one", "--discard"]);
    assert!(code == 1 && err.contains("no such dead letter"), "{err}");
    let (code, _, err) = letters(&["--number", "1"]);
    assert!(code == 2 && err.contains("--actor"), "{err}");
    assert_eq!(letters(&["--send-again", "--discard"]).0, 2);
    let (code, out, err) = letters(&["--actor", "notes/two", "--number", "1", "--send-again"]);
    assert!(code == 0 && out.starts_with("notes/two\t1\t"), "{out}{err}");
    assert_eq!(letters(&[]).1, "");
    assert_eq!(mended(&folder.join("j.redb")), ["not so bad"]);
    // It is handled once.
    assert_eq!(mended(&folder.join("j.redb")), ["not so bad"]);

    std::fs::remove_file(folder.join("j.redb")).unwrap();
    made(&folder.join("j.redb"));
    let (code, out, err) = letters(&["--discard"]);
    assert!(code == 0 && out.starts_with("notes/two\t1\t"), "{out}{err}");
    assert_eq!(letters(&[]).1, "");
}

#[test]
fn a_journal_goes_elsewhere_by_export_and_import() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    made(&folder.join("j.redb"));
    let (code, rows, _) = actogen(folder, &["export", "j.redb"], "");
    assert_eq!(code, 0);
    let (code, out, err) = actogen(folder, &["import", "copy.redb"], &rows);
    assert!(code == 0 && out.starts_with("rows: "), "{out}{err}");
    assert_eq!(actogen(folder, &["export", "copy.redb"], "").1, rows);
    let (code, _, err) = actogen(folder, &["import", "copy.redb"], &rows);
    assert!(code == 1 && err.contains("import into a new file"), "{err}");
    // What was broken off leaves nothing behind.
    let half: String = rows.lines().skip(1).map(|row| format!("{row}\n")).collect();
    let (code, _, err) = actogen(folder, &["import", "half.redb"], &half);
    assert!(code == 1 && err.contains("no whole journal"), "{err}");
    assert!(!folder.join("half.redb").exists());
}

#[test]
fn what_is_no_journal_or_is_open_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (code, _, err) = actogen(folder, &["inspect", "nothing.redb"], "");
    assert!(code == 1 && err.contains("nothing.redb is not there"), "{err}");
    assert!(!folder.join("nothing.redb").exists());
    let open = actogen_journal::store::FileStore::open(folder.join("j.redb")).unwrap();
    let (code, _, err) = actogen(folder, &["verify", "j.redb"], "");
    assert!(code == 1 && err.contains("is open in another process"), "{err}");
    drop(open);
    assert_eq!(actogen(folder, &["burn", "j.redb"], "").0, 2);
}
