//! Addresses as values, and names.

use std::collections::{BTreeSet, HashSet};

use actogen::{
    Context, DeadReason, LookupError, RegisterError, Remote, RemoteRecipient, SendError,
};

use crate::{
    actors::{Announce, AskFor, Bomb, Desk, Echo, Herald, Later, Note, Notes, Recorder},
    mesh::{Fabric, Mesh, Outcome},
    until::until_equal,
};

async fn family<F: Fabric>(mesh: &Mesh<F>) -> actogen::Result<[Context; 3]> {
    let root = mesh.root().await?;
    let (one, two) = (mesh.child(&root, 1).await?, mesh.child(&root, 2).await?);
    Ok([root, one, two])
}

/// A clone, and a copy that went through bytes, are the same address: equal, of the same order and hash.
pub async fn an_address_is_a_value<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let [_, one, two] = family(mesh).await?;
    let (desk, other) = (one.start(Desk::default()), two.start(Desk::default()));
    let copy: Remote<Desk> = postcard::from_bytes(&postcard::to_extend(&desk, Vec::new())?)?;
    let same = [desk.clone(), desk.clone().attach(&two), copy];
    assert!(same.iter().all(|address| *address == desk && *address != other));
    let (ordered, hashed): (BTreeSet<_>, HashSet<_>) =
        (same.iter().cloned().collect(), same.iter().cloned().collect());
    assert_eq!((ordered.len(), hashed.len()), (1, 1));
    assert!(desk < other, "addresses order by context first");
    Ok(())
}

/// Printing an address shows its context and a digest, never the handle that gives access.
pub async fn an_address_prints_no_capability<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let [_, one, _] = family(mesh).await?;
    let desk = one.start(Desk::default());
    let handle = desk.address().handle.0;
    for text in [desk.to_string(), format!("{desk:?}"), format!("{:?}", desk.recipient::<Echo>())] {
        let shown = [format!("{handle}"), format!("{handle:x}"), format!("{handle:X}")];
        assert!(shown.iter().all(|secret| !text.contains(secret)), "{text}");
        assert!(text.contains('1'), "{text}");
    }
    Ok(())
}

/// An address that was decoded outside of a message sends nothing until it is attached; the message comes back.
pub async fn an_unattached_address_hands_the_message_back<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let [root, one, _] = family(mesh).await?;
    let bytes = postcard::to_extend(&one.start(Desk::default()), Vec::new())?;
    let desk: Remote<Desk> = postcard::from_bytes(&bytes)?;
    let unattached = desk.send(Echo(vec![1])).await;
    assert!(matches!(unattached, Err(SendError::Unattached(Echo(body))) if body == [1]));
    assert!(matches!(desk.tell(Echo(vec![1])).await, Err(SendError::Unattached(_))));
    assert!(matches!(desk.try_send(Echo(vec![1])), Err(SendError::Unattached(_))));
    assert_eq!(desk.attach(&root).send(Echo(vec![1])).await?, [1]);
    Ok(())
}

/// An address inside a message works in the context that receives it, whoever's it is.
pub async fn an_address_in_a_message_works_in_a_third_context<F: Fabric>(
    mesh: &Mesh<F>,
) -> Outcome {
    let [root, one, two] = family(mesh).await?;
    let herald = two.start(Herald).attach(&root);
    for home in [&one, &root, &two] {
        let recorder = home.start(Recorder::default());
        herald.send(Announce(recorder.clone().attach(&root), 0, 5)).await?;
        until_equal("the herald's notes", (0..5).map(|n| (0, n)).collect(), async || {
            recorder.send(Notes()).await.unwrap_or_default()
        })
        .await;
    }
    Ok(())
}

/// A recipient knows one message of an actor; it answers near, far, and inside a message.
pub async fn a_recipient_answers_near_far_and_in_a_message<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let [root, one, two] = family(mesh).await?;
    let desk = one.start(Desk::default());
    for from in [&one, &root, &two] {
        let echo: RemoteRecipient<Echo> = desk.clone().attach(from).into();
        assert_eq!(echo.send(Echo(vec![3])).await?, [3]);
        echo.tell(Echo(vec![3])).await?;
        echo.try_send(Echo(vec![3]))?;
        echo.do_send(Echo(vec![3]));
        assert_eq!(echo.context_id(), one.id());
        let herald = two.start(Herald).attach(from);
        assert_eq!(herald.send(AskFor(echo, vec![4])).await?, Ok(vec![4]));
    }
    assert_eq!(desk.clone().recipient::<Later>().send(Later(1)).await?, 2);
    Ok(())
}

/// An actor is found by its name, near and far; an unknown name, and an actor of another kind, are told apart.
pub async fn lookup_finds_by_name_and_kind<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let [root, one, two] = family(mesh).await?;
    let desk = one.start(Desk::default());
    one.register("the desk", &desk)?;
    for from in [&one, &root, &two] {
        let found: Remote<Desk> = from.lookup_in(one.place(), "the desk").await?;
        assert_eq!(found, desk);
        assert_eq!(found.send(Echo(vec![1])).await?, [1]);
        let unknown = from.lookup_in::<Desk>(one.place(), "no desk").await;
        let expected = LookupError::Unknown { name: "no desk".into(), context: one.id() };
        assert_eq!(unknown, Err(expected));
        let other = from.lookup_in::<Recorder>(one.place(), "the desk").await;
        let expected = LookupError::OtherKind {
            name: "the desk".into(),
            kind: "test.desk".into(),
            expected: "test.recorder",
        };
        assert_eq!(other, Err(expected));
        let nowhere = actogen::Place { context: actogen::ContextId(77), ..one.place() };
        let dead = from.lookup_in::<Desk>(nowhere, "the desk").await;
        let Err(LookupError::Dead(dead)) = dead else { panic!("{dead:?}") };
        assert_eq!(dead.reason, DeadReason::NoRoute);
    }
    Ok(())
}

/// A name belongs to one living actor of its context at a time, and must be a name.
pub async fn a_name_belongs_to_one_living_actor<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let [root, one, _] = family(mesh).await?;
    let (first, second) = (one.start(Desk::default()), one.start(Desk::default()));
    one.register("desk", &first)?;
    one.register("desk", &first)?;
    let taken = Err(RegisterError::Taken { name: "desk".into() });
    assert_eq!(one.register("desk", &second), taken);
    assert!(matches!(one.register("", &second), Err(RegisterError::BadName { .. })));
    assert!(matches!(one.register(&"x".repeat(257), &second), Err(RegisterError::BadName { .. })));
    assert_eq!(root.register("desk", &first), Err(RegisterError::NotBound));
    one.unbind(&first);
    crate::until::until("the first has ended", || one.stopped(first.address().handle).is_some())
        .await;
    assert_eq!(one.register("desk", &first), Err(RegisterError::NotBound));
    one.register("desk", &second)?;
    assert_eq!(root.lookup_in::<Desk>(one.place(), "desk").await?, second);
    Ok(())
}

/// A parent starts registered actors below itself; it learns which the program lacks.
pub async fn a_parent_starts_registered_actors_below_itself<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let [root, one, _] = family(mesh).await?;
    let below = mesh.child(&one, 5).await?;
    for place in [one.place(), below.place(), root.place()] {
        let recorder = root.spawn_in::<Recorder>(place, ()).await?;
        assert_eq!(recorder.context_id(), place.context);
        recorder.tell(Note(1, 1)).await?;
        assert_eq!(recorder.send(Notes()).await?, [(1, 1)]);
        let bomb = root.spawn_in::<Bomb>(place, ()).await?;
        assert_eq!(bomb.send(Later(1)).await?, 2);
    }
    Ok(())
}
